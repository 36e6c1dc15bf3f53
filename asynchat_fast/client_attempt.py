"""One attempt to connect: the name is looked up, and its addresses race.

Source: RFC 8305, "Happy Eyeballs Version 2", as far as a system has but getaddrinfo().
"""

import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from typing import Any

from .client_bell import Bell

__all__ = ["Lookup", "Race"]

_STAGGER = 0.25  # seconds that an address has before the next is tried, too (RFC 8305, section 5)
_IN_PROGRESS = {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK} | ({errno.EINVAL} if os.name == "nt" else set())

_UNIX: Any = getattr(socket, "AF_UNIX", None)  # which Windows lacks

_Info = tuple[int, int, int, str, Any]  # as getaddrinfo() gives them


class Lookup:
    """The addresses of *address*: a pair of host and port, or the path of a unix socket."""

    def __init__(self, address: Any) -> None:
        self._address = address
        self._done: Callable[[], object] | None = None
        self._is_running = False
        self.infos: list[Any] | None = None  # None until they are known, or for an error
        self.error: OSError | None = None

    def begin(self, done: Callable[[], object]) -> None:
        """Look it up; *done* is called, in another thread, once ``infos`` or ``error`` is known.

        A lookup that is not done yet goes on instead: a resolver that hangs does not get one thread after the other.
        """
        self._done = done
        if self._is_running:
            return
        self.infos = self.error = None
        if isinstance(self._address, (str, bytes)):
            self.infos = [(_UNIX, socket.SOCK_STREAM, 0, "", self._address)]
            done()
            return
        self._is_running = True
        try:
            threading.Thread(target=self._run, name="asynchat_fast lookup", daemon=True).start()
        except RuntimeError as error:  # no more threads can be had
            self._is_running = False
            self.error = OSError(errno.EAGAIN, str(error))
            done()

    def forget(self) -> None:
        """Call nobody any more."""
        self._done = None

    def _run(self) -> None:
        host, port = self._address[:2]
        try:
            self.infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            self.error = error
        except Exception as error:  # such as UnicodeError, for a name that is none
            self.error = OSError(errno.EINVAL, str(error))
        self._is_running = False
        done = self._done
        if done is not None:
            done()


class Race:
    """Connects to all of *infos* until one connection stands: attempts overlap, and the first to connect wins.

    Its sockets are in *map* meanwhile; *bell* tells when the next is to begin.  *won* is called with the
    connected socket and its address, or *lost* with an OSError.
    """

    def __init__(
        self,
        infos: Iterable[_Info],
        map: dict[int, Any],
        bell: Bell,
        won: Callable[[socket.socket, Any], object],
        lost: Callable[[OSError], object],
    ) -> None:
        self.map = map
        self._waiting = deque(_interleaved(infos))
        self._running: set[_Contender] = set()
        self._bell = bell
        self._won = won
        self._lost = lost
        self._error = OSError(errno.EADDRNOTAVAIL, "the name has no addresses")

    def begin(self) -> None:
        """Begin with the next address, and have those after it begin in time."""
        while self._waiting:
            try:
                contender = _Contender(self, self._waiting.popleft())
            except OSError as error:
                self._error = error
                continue
            except (OverflowError, ValueError) as error:  # for a port that is none
                self._error = OSError(errno.EINVAL, str(error))
                continue
            self._running.add(contender)
            if contender.is_connected:
                self.end(contender, None)
                return
            contender.enter_map()
            if self._waiting:
                self._bell.set(self.begin, _STAGGER)
            return
        if not self._running:
            self._lost(self._error)

    def end(self, contender: "_Contender", error: OSError | None) -> None:
        """Act upon the end of *contender*: it is connected if *error* is None."""
        self._running.discard(contender)
        if error is None and _is_loop(contender.socket):
            error = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        if error is None:
            self.stop()
            self._won(contender.socket, contender.address)
            return
        contender.socket.close()
        self._error = error
        self._bell.lift(self.begin)
        self.begin()

    def stop(self) -> None:
        """Let go of all that runs."""
        self._waiting.clear()
        self._bell.lift(self.begin)
        while self._running:
            contender = self._running.pop()
            contender.leave_map()
            contender.socket.close()


class _Contender:
    """A socket that connects: a dispatcher, to the loop."""

    accepting = connected = False
    connecting = True

    def __init__(self, race: Race, info: _Info) -> None:
        family, kind, proto, _, self.address = info
        self._race = race
        self.socket = socket.socket(family, kind, proto)
        try:
            self.socket.setblocking(False)
            if family != _UNIX:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            code = self.socket.connect_ex(self.address)
            # A unix socket whose backlog is full does not connect later: EAGAIN is the end.
            if code and (code not in _IN_PROGRESS or (code == errno.EAGAIN and family == _UNIX)):
                raise OSError(code, os.strerror(code))
        except BaseException:
            self.socket.close()
            raise
        self.is_connected = code == 0
        self._fd = self.socket.fileno()

    def enter_map(self) -> None:
        self._race.map[self._fd] = self

    def leave_map(self) -> bool:
        """Leave the map; return False if that was done before."""
        if self._race.map.get(self._fd) is not self:
            return False
        del self._race.map[self._fd]
        return True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def handle_write_event(self) -> None:
        if self.leave_map():  # else it is over: poll() tells of an error in more than one word
            try:
                code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            except OSError as error:  # closed behind our back
                self._race.end(self, error)
            else:
                self._race.end(self, OSError(code, os.strerror(code)) if code else None)

    handle_read_event = handle_expt_event = handle_write_event

    def handle_close(self) -> None:
        """Act upon the end of this, which a socket that is not connected has no other word for."""
        self.handle_write_event()

    def handle_error(self) -> None:
        """Do nothing: what is called from here handles its own."""

    def close(self) -> None:
        """Let go of it, as asyncore's ``close_all()`` does."""
        self._race.stop()


def _is_loop(sock: socket.socket) -> bool:
    """Tell whether *sock* is connected to itself.

    The system may do that where nobody listens at a port of this machine, if it has given the same one to the client;
    the server could not listen there then.
    """
    try:
        return sock.family != _UNIX and bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False


def _interleaved(infos: Iterable[_Info]) -> list[_Info]:
    """Return *infos* with the address families by turns, that of the first at first (RFC 8305, section 4)."""
    families: dict[int, list[_Info]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    return [info for info in chain.from_iterable(zip_longest(*families.values())) if info is not None]
