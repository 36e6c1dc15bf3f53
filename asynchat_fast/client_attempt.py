"""One attempt to connect: look the name up, then connect to its addresses until one connection is made.

Source: RFC 8305, "Happy Eyeballs Version 2", as far as getaddrinfo() allows.
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

_STAGGER = 0.25  # seconds from one address to the next, while neither has connected (RFC 8305, section 5)
_IN_PROGRESS = {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK} | ({errno.EINVAL} if os.name == "nt" else set())

_UNIX: Any = getattr(socket, "AF_UNIX", None)  # which Windows lacks

_Info = tuple[int, int, int, str, Any]  # as getaddrinfo() gives them


class Lookup:
    """Looks up *address*, a pair of host and port, or the path of a unix socket."""

    def __init__(self, address: Any) -> None:
        self._address = address
        self._done: Callable[[], object] | None = None
        self._is_running = False
        self.infos: list[Any] | None = None  # as getaddrinfo() returns them; None until then, and after an error
        self.error: OSError | None = None

    def begin(self, done: Callable[[], object]) -> None:
        """Begin the lookup; *done* is called once ``infos`` or ``error`` is set, in another thread or at once.

        If an earlier lookup is still running, its result is taken: so a resolver that hangs holds one thread only.
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
        except RuntimeError as error:  # the system allows no more threads
            self._is_running = False
            self.error = OSError(errno.EAGAIN, str(error))
            done()

    def forget(self) -> None:
        """Do not call *done* any more."""
        self._done = None

    def _run(self) -> None:
        host, port = self._address[:2]
        try:
            self.infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            self.error = error
        except Exception as error:  # such as UnicodeError, for a name that cannot be one
            self.error = OSError(errno.EINVAL, str(error))
        self._is_running = False
        done = self._done
        if done is not None:
            done()


class Race:
    """Connects to the addresses in *infos*: attempts overlap, and the first connection is taken.

    Its sockets are in *map* meanwhile; *bell* calls back when it is time for the next address.  At the end either
    *won* is called with the connected socket and its address, or *lost* with the last OSError.
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
        """Begin to connect to the next address, and set the time at which the one after it follows."""
        while self._waiting:
            try:
                contender = _Contender(self, self._waiting.popleft())
            except OSError as error:
                self._error = error
                continue
            except (OverflowError, ValueError) as error:  # such as a port above 65535
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
        """Act upon the outcome of *contender*: it is connected if *error* is None."""
        self._running.discard(contender)
        if error is None and _is_connected_to_itself(contender.socket):
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
        """Close all sockets that are connecting, and begin no more."""
        self._waiting.clear()
        self._bell.lift(self.begin)
        while self._running:
            contender = self._running.pop()
            contender.leave_map()
            contender.socket.close()


class _Contender:
    """A socket that connects to one address, as a dispatcher of the loop."""

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
            # EAGAIN of a unix socket means that the server's backlog is full: it does not connect later.
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
        """Leave the map; return False if this was not there any more."""
        if self._race.map.get(self._fd) is not self:
            return False
        del self._race.map[self._fd]
        return True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def handle_write_event(self) -> None:
        if self.leave_map():  # else its outcome is known already: poll() reports one error by several events
            try:
                code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            except OSError as error:  # the program has closed the descriptor
                self._race.end(self, error)
            else:
                self._race.end(self, OSError(code, os.strerror(code)) if code else None)

    handle_read_event = handle_expt_event = handle_write_event

    def handle_close(self) -> None:
        """Act upon the outcome: the loop may report a failed connect() as a hangup."""
        self.handle_write_event()

    def handle_error(self) -> None:
        """Do nothing: the callbacks of the race handle their own exceptions."""

    def close(self) -> None:
        """Stop the race: asyncore's ``close_all()`` calls this."""
        self._race.stop()


def _is_connected_to_itself(sock: socket.socket) -> bool:
    """Return whether *sock* is connected to itself.

    On Linux, this happens if the client's own port happens to be the one that it connects to on this machine, and no
    server listens there.  Kept open, the connection would also prevent the server from listening.
    """
    try:
        return sock.family != _UNIX and bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False


def _interleaved(infos: Iterable[_Info]) -> list[_Info]:
    """Return *infos* with alternating address families, that of the first one first (RFC 8305, section 4)."""
    families: dict[int, list[_Info]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    return [info for info in chain.from_iterable(zip_longest(*families.values())) if info is not None]
