"""TLS: an Engine turns plaintext into ciphertext, and the ciphertext that it receives into plaintext.

It holds an ``ssl.SSLObject`` between two ``MemoryBIO``s.  An ``ssl.SSLSocket`` would not do: after a failed write it
must be given the same bytes again, and it buffers the rest of a record where select() and poll() do not see it.
"""

import contextlib
import errno
import ssl
from collections.abc import Callable
from enum import Enum
from threading import RLock
from typing import Any

__all__ = ["Engine", "State", "check_context", "reason_of"]

_RECORD = 16384  # bytes of plaintext in a record, at most
_READ = 65536  # bytes of ciphertext to receive at once


def check_context(context: Any, server_side: bool) -> None:
    """Raise TypeError unless *context* is an ``ssl.SSLContext``, ValueError if it is one of the other side."""
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"TLS takes an ssl.SSLContext, not {context!r}")
    if context.protocol == (ssl.PROTOCOL_TLS_CLIENT if server_side else ssl.PROTOCOL_TLS_SERVER):
        side, purpose = ("server", "CLIENT_AUTH") if server_side else ("client", "SERVER_AUTH")
        raise ValueError(f"a {side} takes a context such as ssl.create_default_context(ssl.Purpose.{purpose}) makes")


def reason_of(error: BaseException) -> str:
    """Return a message (str) that explains *error*: OpenSSL's own, where it has one."""
    if isinstance(error, ssl.SSLEOFError):
        return "the peer closed the connection in the handshake"
    return str(error) or type(error).__name__


class State(Enum):
    """The state of an Engine, which only the Engine changes, to the next one each time."""

    NEW = "handshake() has not been called"
    HANDSHAKE = "the handshake has begun"
    OPEN = "the handshake has succeeded"
    CLOSED = "close() has been called after that"


# Module names, because each access to a member of an Enum is a function call on CPython before 3.12.
_OPEN, _CLOSED = State.OPEN, State.CLOSED


class Engine:
    """One end of a TLS connection.

    *context* is an ``ssl.SSLContext``.  *server_hostname* (str) is the name that a client sends by SNI, and that the
    certificate must have.  ValueError if it is missing while the context checks host names, or for a *context* of the
    other side.
    """

    __slots__ = (
        "_incoming",
        "_is_over",
        "_object",
        "_outgoing",
        "_read",
        "end",
        "input_ended",
        "lock",
        "plaintext",
        "state",
        "take",
        "truncated",
        "write",
    )

    def __init__(self, context: ssl.SSLContext, server_side: bool, server_hostname: str | None = None) -> None:
        check_context(context, server_side)
        if server_hostname is not None and not isinstance(server_hostname, (str, bytes)):
            raise TypeError(f"server_hostname must be a str, not {server_hostname!r}")
        if context.check_hostname and not server_side and not server_hostname:
            raise ValueError("a context with check_hostname needs the server_hostname that the certificate is to have")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        # Bound methods of the object that SSLObject wraps: a Python call more for each read and write would slow down
        # every request.  A program's own subclass, an ``SSLContext.sslobject_class``, is called itself.
        best: Any = self._object
        if type(best) is ssl.SSLObject:
            best = getattr(best, "_sslobj", best)
        self._read = best.read
        self.write: Callable[[Any], int] = best.write
        """``ssl.SSLObject.write()``: encrypts at most a record of the argument; see ``refusal()``, ``write_rest()``."""
        self.take = self._outgoing.read
        """Remove and return the ciphertext (bytes) that is to be sent to the peer, ``b""`` if there is none."""
        # One thread at a time: OpenSSL allows no more, and records must be sent in the order in which they were made.
        self.lock = RLock()
        self.state = State.NEW
        self.plaintext = b""  # decrypted, and not yet read
        self.end: OSError | bool = False  # the error, or end of input, that read() reports after the plaintext
        self._is_over = False  # no more plaintext will come
        self.input_ended = False  # no more ciphertext will come
        self.truncated = False  # input ended without the peer's close_notify

    @property
    def object(self) -> ssl.SSLObject:
        """The ``ssl.SSLObject``, which knows the peer's certificate, the cipher, and so on."""
        return self._object

    @property
    def has_input(self) -> bool:
        """Whether read() would return plaintext or report the end of input (bool)."""
        return bool(self.plaintext or self.end)

    @property
    def has_output(self) -> bool:
        """Whether there is ciphertext to take (bool)."""
        return bool(self._outgoing.pending)

    # The handshake and the end

    def handshake(self) -> bool:
        """Continue the handshake as far as the received ciphertext allows.

        Return whether it is complete (bool); ssl.SSLError, or the error of ``sock.recv()``, if it fails.  On a
        server, do not call this before something was received: the first call makes OpenSSL allocate 32 KiB, which an
        idle client would hold.
        """
        self.state = State.HANDSHAKE
        if isinstance(self.end, OSError):
            raise self.end
        if self.input_ended:
            self._incoming.write_eof()
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.state = _OPEN
        if self._incoming.pending:
            self._receive_rest(None)
        return True

    def close(self) -> None:
        """Queue a close_notify, by which the peer learns that no more data will come; do not wait for the peer's."""
        if self.state is _OPEN:
            self.state = _CLOSED
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._object.unwrap()

    # Plaintext

    def feed(self, data: Any) -> None:
        """Take *data* (bytes-like), the first ciphertext of the peer, for ``handshake()``."""
        self._incoming.write(data)

    def receive(self, sock: Any) -> None:
        """Take the ciphertext that ``sock.recv()`` returns, and decrypt the records that are complete."""
        lock = self.lock
        lock.acquire()  # takes half the time of a with statement
        try:
            data = sock.recv(_READ)
            if not data:
                self.receive_eof()
            elif not self._is_over:  # data after the end would be stored, and never read
                self._incoming.write(data)
                if self.state is _OPEN or self.state is _CLOSED:
                    plain = self._read(_RECORD)
                    if plain and not (self._incoming.pending or self.plaintext):  # nearly always
                        self.plaintext = plain
                    else:
                        self._receive_rest(plain)
        except ssl.SSLError as error:
            self._note_failure(error)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self.receive_eof(error)
        finally:
            lock.release()

    def _receive_rest(self, plain: bytes | None) -> None:
        """Add *plain*, the first record unless it is None, and those that follow it to the plaintext."""
        parts = [self.plaintext]
        try:
            if plain is None:
                plain = self._read(_RECORD)
            while plain:
                parts.append(plain)
                if not self._incoming.pending:  # one more read would raise SSLWantReadError, which is slower
                    break
                plain = self._read(_RECORD)
            else:
                self._note_end(True)
        except ssl.SSLError as error:
            self._note_failure(error)
        self.plaintext = b"".join(parts)

    def _note_failure(self, error: ssl.SSLError) -> None:
        """Act upon *error*, by which OpenSSL says that there is no further plaintext, for now or for ever."""
        if isinstance(error, ssl.SSLWantReadError):
            return
        if isinstance(error, ssl.SSLZeroReturnError):
            self._note_end(True)
        elif self.state is _CLOSED:  # after our close_notify, OpenSSL refuses data that was under way: discard it
            self._incoming.read()
        else:
            self._note_end(error)

    def receive_eof(self, error: OSError | None = None) -> None:
        """Note that no more ciphertext will come; *error* is the reason, None for a connection closed by the peer."""
        self.input_ended = True
        if self.state is not _OPEN and self.state is not _CLOSED:
            self.end = error or False
        elif not self._is_over:
            # Do not tell OpenSSL of the end: by default contexts ignore unexpected ones, so that it could not be told
            # from a close_notify.
            self.truncated = True
            self._note_end(error or True)

    def _note_end(self, end: OSError | bool) -> None:
        self.end = end
        self._is_over = True

    def read(self, size: int) -> bytes | None:
        """Return at most *size* bytes of plaintext, ``b""`` at the end of input, None if no whole record has come.

        ssl.SSLError if the peer has violated the protocol or sent an alert, another OSError if ``sock.recv()`` has.
        """
        data = self.plaintext
        if data:
            self.plaintext = data[size:]
            return data[:size]
        end, self.end = self.end, False
        if isinstance(end, OSError):
            raise end
        return b"" if self._is_over else None

    def refusal(self) -> OSError:
        """Return the exception for data that cannot be taken: BlockingIOError, or BrokenPipeError after close()."""
        if self.state is _CLOSED:
            return BrokenPipeError(errno.EPIPE, "close_notify has been sent")
        return BlockingIOError(errno.EAGAIN, "the handshake, or bytes that wait, must come first")

    def write_rest(self, data: Any, sent: int) -> int:
        """Encrypt *data* (bytes-like) from the byte *sent* on, and return how many bytes of *data* were taken (int).

        All of them are, unless OpenSSL must first receive, as in a renegotiation.
        """
        view = memoryview(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            while sent < len(data):
                sent += self.write(view[sent:])
        return sent
