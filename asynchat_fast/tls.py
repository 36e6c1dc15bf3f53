"""TLS as a matter of bytes: an Engine has ciphertext on one side and plaintext on the other, and knows no socket.

It holds an ``ssl.SSLObject`` between two ``MemoryBIO``s.  An SSLSocket would not do: it wants a write that failed
to be repeated with the same bytes, and keeps what is left of a record where no poller sees it.
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
    """Return in words why there is no TLS, by *error*: OpenSSL's reason where there is one."""
    if isinstance(error, ssl.SSLEOFError):
        return "the peer closed the connection in the handshake"
    return str(error) or type(error).__name__


class Engine:
    """One end of a TLS connection.

    *context* is an ``ssl.SSLContext``, *server_hostname* the name (str) that a client asks for and checks.
    ValueError if the context does check names, and there is none.
    """

    __slots__ = (
        "_end",
        "_incoming",
        "_object",
        "_outgoing",
        "_plain",
        "has_begun",
        "has_input",
        "input_ended",
        "is_closed",
        "is_complete",
        "is_finished",
        "truncated",
    )

    def __init__(self, context: ssl.SSLContext, server_side: bool, server_hostname: str | None = None) -> None:
        check_context(context)
        if context.check_hostname and not server_side and not server_hostname:
            raise ValueError("a context with check_hostname needs the server_hostname that the certificate is to have")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        self._end: ssl.SSLError | bool = False  # what read() is to tell once the plaintext before it is read
        self._plain = b""  # what is decrypted of a record, and not read
        # Whether read() may have something to tell without more ciphertext (bool).  A part of a record counts until
        # read() is called: OpenSSL takes it out of the BIO then.
        self.has_input = False
        self.has_begun = False  # handshake() has been called
        self.is_complete = False  # the handshake is
        self.input_ended = False  # no more ciphertext will come
        self.is_finished = False  # read() has told the end
        self.is_closed = False  # close() has been called
        self.truncated = False  # the end came without the peer's close_notify

    @property
    def object(self) -> ssl.SSLObject:
        """What knows the certificate of the peer, the cipher, and the like."""
        return self._object

    # Ciphertext

    def receive(self, data: Any) -> None:
        """Take *data* (bytes-like), ciphertext from the peer."""
        if not self.is_finished:  # or it would be kept, and never be read
            self._incoming.write(data)
            self.has_input = True

    def receive_eof(self) -> None:
        """Note that no more ciphertext will come."""
        self.input_ended = True
        self.has_input = not self.is_finished

    def take(self) -> bytes:
        """Return the ciphertext that is to be sent to the peer, none if there is nothing to say."""
        return self._outgoing.read() if self._outgoing.pending else b""

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
        return True

    def close(self) -> None:
        """Say to the peer that nothing more will be written (close_notify); the peer is not waited for."""
        if self.is_complete and not self.is_closed:
            self.is_closed = True
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._object.unwrap()

    # Plaintext

    def decrypt(self) -> bool:
        """Decrypt the next record unless one is decrypted already, and tell whether read() has something to tell."""
        if not self._plain and not self._end:
            self._plain = self._read_record()
        return bool(self._plain or self._end) and not self.is_finished

    def read(self, size: int) -> bytes | None:
        """Return at most *size* bytes of plaintext: ``b""`` at the end, None if no whole record has come.

        ssl.SSLError for what the peer must not send, and for its alerts.
        """
        if not self.decrypt():
            return b"" if self.is_finished else None
        data, self._plain = self._plain, b""
        if data:
            self.has_input = self.input_ended or self._incoming.pending > 0
            if self.has_input and len(data) < size:
                data = self._read_on(data, size)
            if len(data) > size:
                data, self._plain = data[:size], data[size:]
                self.has_input = True
            return data
        end = self._end
        self.is_finished = self._end = True
        self.has_input = False
        if isinstance(end, ssl.SSLError):
            raise end
        return b""

    def _read_on(self, data: bytes, size: int) -> bytes:
        """Return *data* and what follows it in whole records, until it is *size* bytes or more."""
        parts = [data]
        left = size - len(data)
        while data and left > 0 and self.has_input and not self._end:
            data = self._read_record()
            parts.append(data)
            left -= len(data)
            self.has_input = bool(self.input_ended or self._end or self._incoming.pending)
        return b"".join(parts)

    def _read_record(self) -> bytes:
        """Return the plaintext of the next record; none if no whole one is there, or at the end (noted)."""
        try:
            data = self._object.read(_RECORD)
        except ssl.SSLWantReadError:
            # OpenSSL is not told of the end: as contexts ignore an unexpected one, it would pass for close_notify.
            if self.input_ended:
                self.truncated = self._end = True
            self.has_input = self.input_ended
            return b""
        except ssl.SSLZeroReturnError:
            self._end = True
            return b""
        except ssl.SSLError as error:
            if self.is_closed:  # OpenSSL reads no more once our close_notify has met data that was under way
                self._incoming.read()
                self._end = self.has_input = self.input_ended
            else:
                self._end = error
            return b""
        if not data:
            self._end = True
        return data

    def write(self, data: Any) -> int:
        """Encrypt *data* (bytes-like), and return how many bytes of it were taken: all, but while keys are exchanged.

        BlockingIOError if none were, BrokenPipeError after close(), ssl.SSLError as read() has it or will have it.
        """
        if self.is_closed:
            raise BrokenPipeError(errno.EPIPE, "the end has been said")
        sent, whole = 0, len(data)
        try:
            sent = self._object.write(data)
            if sent < whole:
                view = memoryview(data)
                while sent < whole:
                    sent += self._object.write(view[sent:])
        except ssl.SSLWantReadError:
            if not sent:
                raise BlockingIOError(errno.EAGAIN, "the peer is to speak first") from None
        except ssl.SSLError as error:
            if isinstance(self._end, ssl.SSLError):  # found behind what was read last; OpenSSL has forgotten it
                raise self._end from None
            raise error
        return sent
