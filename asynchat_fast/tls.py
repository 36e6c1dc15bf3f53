"""TLS without a socket: an Engine turns plaintext into ciphertext and ciphertext into plaintext.

It holds an ``ssl.SSLObject`` between two ``MemoryBIO``s.  An SSLSocket cannot take its place: after a failed write
it needs the same bytes again, and it keeps the rest of a record where no poller sees it.
"""

import contextlib
import errno
import ssl
from typing import Any

__all__ = ["Engine", "check_context", "reason_of"]

_RECORD = 16384  # bytes of plaintext in a record, at most


def check_context(context: Any) -> None:
    """Raise TypeError unless *context* is an ``ssl.SSLContext``."""
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"TLS takes an ssl.SSLContext, not {context!r}")


def reason_of(error: BaseException) -> str:
    """Return the reason of *error* in words: OpenSSL's, where there is one."""
    if isinstance(error, ssl.SSLEOFError):
        return "the peer closed the connection in the handshake"
    return str(error) or type(error).__name__


class Engine:
    """One end of a TLS connection.

    *context* is an ``ssl.SSLContext``, *server_hostname* the name (str) that a client asks for and checks.
    ValueError if the context does check names, and there is none.
    """

    __slots__ = (
        "_incoming",
        "_is_over",
        "_object",
        "_outgoing",
        "_read",
        "_write",
        "end",
        "has_begun",
        "input_ended",
        "is_closed",
        "is_complete",
        "plaintext",
        "take",
        "truncated",
    )

    def __init__(self, context: ssl.SSLContext, server_side: bool, server_hostname: str | None = None) -> None:
        check_context(context)
        if context.check_hostname and not server_side and not server_hostname:
            raise ValueError("a context with check_hostname needs the server_hostname that the certificate is to have")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        # As they are, since each call in between is felt in what a request costs.
        self._read, self._write = self._object.read, self._object.write
        self.take = self._outgoing.read
        """Return the ciphertext that is to be sent to the peer, none if there is nothing to say."""
        self.plaintext = b""  # what is decrypted, and not read
        self.end: ssl.SSLError | bool = False  # what read() has still to tell after that
        self._is_over = False  # no more plaintext will come
        self.has_begun = False  # handshake() has been called
        self.is_complete = False  # the handshake is
        self.input_ended = False  # no more ciphertext will come
        self.is_closed = False  # close() has been called
        self.truncated = False  # the end came without the peer's close_notify

    @property
    def object(self) -> ssl.SSLObject:
        """The object that has the certificate of the peer, the cipher, and the like."""
        return self._object

    @property
    def has_input(self) -> bool:
        """Whether read() has something to tell (bool)."""
        return bool(self.plaintext or self.end)

    @property
    def has_output(self) -> bool:
        """Whether there is ciphertext to take (bool)."""
        return bool(self._outgoing.pending)

    # The handshake and the end

    def handshake(self) -> bool:
        """Go on with the handshake, and tell whether it is complete; ssl.SSLError if it fails.

        A server's is to be called once something was received: OpenSSL's buffers take 32 KiB from then on.
        """
        self.has_begun = True
        if self.input_ended:
            self._incoming.write_eof()
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.is_complete = True
        if self._incoming.pending:
            self.receive(b"")
        return True

    def close(self) -> None:
        """Say to the peer that nothing more will be written (close_notify); the peer is not waited for."""
        if self.is_complete and not self.is_closed:
            self.is_closed = True
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._object.unwrap()

    # Plaintext

    def receive(self, data: Any) -> None:
        """Take *data* (bytes-like), ciphertext from the peer, and decrypt the records that are whole."""
        if self._is_over:  # or it would be kept, and never be read
            return
        self._incoming.write(data)
        if not self.is_complete:
            return
        parts = [self.plaintext] if self.plaintext else []
        try:
            while plain := self._read(_RECORD):
                parts.append(plain)
                if not self._incoming.pending:  # or OpenSSL would raise SSLWantReadError, which takes longer
                    break
            else:
                self._note_end(True)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._note_end(True)
        except ssl.SSLError as error:
            if self.is_closed:  # OpenSSL reads no more once our close_notify has met data that was under way
                self._incoming.read()
            else:
                self._note_end(error)
        self.plaintext = b"".join(parts)

    def receive_eof(self) -> None:
        """Note that no more ciphertext will come."""
        self.input_ended = True
        if self.is_complete and not self._is_over:
            # OpenSSL is not told of the end: as contexts ignore an unexpected one, it would pass for close_notify.
            self.truncated = True
            self._note_end(True)

    def _note_end(self, end: ssl.SSLError | bool) -> None:
        self.end = end
        self._is_over = True

    def read(self, size: int) -> bytes | None:
        """Return at most *size* bytes of plaintext: ``b""`` at the end, None if no whole record has come.

        ssl.SSLError for what the peer must not send, and for its alerts.
        """
        data = self.plaintext
        if data:
            self.plaintext = data[size:]
            return data[:size]
        end, self.end = self.end, False
        if isinstance(end, ssl.SSLError):
            raise end
        return b"" if self._is_over else None

    def write(self, data: Any) -> int:
        """Encrypt *data* (bytes-like), and return how many bytes of it were taken: all, but while keys are exchanged.

        BlockingIOError if none were, BrokenPipeError after close(), ssl.SSLError as read() has it or will have it.
        """
        if self.is_closed:
            raise BrokenPipeError(errno.EPIPE, "the end has been said")
        sent, whole = 0, len(data)
        try:
            sent = self._write(data)
            if sent < whole:
                view = memoryview(data)
                while sent < whole:
                    sent += self._write(view[sent:])
        except ssl.SSLWantReadError:
            if not sent:
                raise BlockingIOError(errno.EAGAIN, "the peer is to speak first") from None
        except ssl.SSLError as error:
            if isinstance(self.end, ssl.SSLError):  # found behind what is to be read; OpenSSL has forgotten it
                raise self.end from None
            raise error
        return sent
