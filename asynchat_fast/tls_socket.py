"""The socket of a channel on TLS: the channel reads and writes plaintext, the socket below carries ciphertext."""

import contextlib
import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

from .tls import Engine, State
from .transport_socket import asks_for_reset

if TYPE_CHECKING:
    from .tls_place import Place

__all__ = ["TLSSocket"]

_OPEN = State.OPEN
_FILE_PIECE = 65536  # bytes of a file to encrypt and send at once: four records
_FILE_MOST = 8 * _FILE_PIECE  # bytes of a file in one call, so that other channels have their turn


class TLSSocket:
    """A connection on TLS, with the methods of a non-blocking socket, and those of ``ssl.SSLSocket`` that inspect it.

    Any thread may send.  There is no ``dup()``, ``detach()`` or ``makefile()``: nothing else may read the ciphertext.
    """

    # No __getattr__() that delegates to the socket below: it would slow down each access to an attribute.
    __slots__ = (
        "__weakref__",
        "_ac_engine",
        "_ac_failure",
        "_ac_place",
        "_ac_reads",
        "_ac_resets",
        "_ac_shuts",
        "_ac_socket",
        "_ac_unsent",
    )

    def __init__(self, sock: socket.socket, engine: Engine, plain: bytes = b"") -> None:
        self._ac_socket = sock
        self._ac_engine = engine
        self._ac_place: Place  # the dispatcher in the map, which sets this itself
        self._ac_unsent: Any = plain  # bytes that the socket below has still to send, without encrypting them
        self._ac_shuts = False  # shut down the output of the socket below once they are sent
        self._ac_resets = False  # close() is to reset the connection, without a close_notify
        self._ac_reads = 0  # how many times the channel has called recv()
        self._ac_failure: OSError | None = None  # the reason why the handshake, or TLS later, has failed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.version() or 'before the handshake'} over {self._ac_socket!r}>"

    # Plaintext

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return at most *size* bytes of plaintext, ``b""`` at the end of input; BlockingIOError if none have come."""
        self._ac_reads += 1
        try:
            data = self._ac_engine.read(size)
        except ssl.SSLError as error:
            raise self._ac_failed(error) from None
        if data is None:
            raise BlockingIOError(errno.EAGAIN, "no whole record has come")
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        """Send *data* (bytes-like), and return how many bytes were taken; BlockingIOError if none can be now."""
        engine = self._ac_engine
        lock = engine.lock
        lock.acquire()
        try:
            if self._ac_unsent or engine.state is not _OPEN:
                raise engine.refusal()
            sent = engine.write(data)
            if sent < len(data):
                sent = engine.write_rest(data, sent)
            records = engine.take()
            try:  # _ac_flush() inlined, for speed
                taken = self._ac_socket.send(records)
            except OSError as error:
                taken = self._ac_not_sent(error)
            if taken < len(records):
                self._ac_keep(records, taken)
            return sent
        except ssl.SSLWantReadError:
            raise engine.refusal() from None
        except ssl.SSLError as error:
            # receive() may have met the cause, which OpenSSL does not repeat.
            raise self._ac_failed(engine.end if isinstance(engine.end, ssl.SSLError) else error) from None
        finally:
            lock.release()

    if hasattr(os, "pread"):

        def _ac_send_file(self, fileno: int, offset: int, count: int) -> int:
            """Send *count* bytes, or the first of them, of the file *fileno* from *offset* on.

            Return how many were taken (int), BlockingIOError if none can be now.
            """
            sent, most = 0, min(count, _FILE_MOST)
            while sent < most and not (sent and self._ac_unsent):
                data = os.pread(fileno, min(most - sent, _FILE_PIECE), offset + sent)
                if not data:
                    break
                sent += self.send(data)
            return sent

    def _ac_failed(self, error: OSError) -> OSError:
        """Note *error*, which ends TLS on this connection, and return the exception to raise for it."""
        self._ac_failure = error
        with contextlib.suppress(OSError):
            self._ac_flush()  # sends the alert
        return self._ac_place.report_error(error)

    def pending(self) -> int:
        """Return 1 if there is plaintext to read, or the end of it, which select() and poll() do not see; else 0."""
        return int(self._ac_engine.has_input)

    def shutdown(self, how: int) -> None:
        """Send a close_notify after what waits to be sent, unless *how* is SHUT_RD; OSError if the peer has gone."""
        if how != socket.SHUT_RD and not self._ac_end_output():
            raise OSError(errno.ENOTCONN, "the peer has gone")

    def close(self) -> None:
        """Send what waits, and a close_notify, then close; if the peer is slow, the loop does so after this call."""
        self._ac_place.finish()

    # Ciphertext

    def _ac_flush(self) -> bool:
        """Send the bytes that wait; return whether all were taken (bool), OSError if the connection is lost."""
        with self._ac_engine.lock:
            records = bytes(self._ac_unsent) + self._ac_engine.take()
            if records:
                self._ac_unsent = b""
                try:
                    taken = self._ac_socket.send(records)
                except OSError as error:
                    taken = self._ac_not_sent(error)
                if taken < len(records):
                    self._ac_keep(records, taken)
                    return False
            if self._ac_shuts:
                self._ac_shuts = False
                self._ac_socket.shutdown(socket.SHUT_WR)
        return True

    def _ac_not_sent(self, error: OSError) -> int:
        """Return 0 if *error*, of the socket below, means "not now"; OSError if the connection is lost."""
        if isinstance(error, (BlockingIOError, InterruptedError)):
            return 0
        self._ac_unsent = b""
        engine = self._ac_engine
        engine.receive(self._ac_socket)  # a peer that refuses sends an alert, with the reason, before it closes
        alert = engine.end
        raise (alert if isinstance(alert, ssl.SSLError) else error) from None

    def _ac_keep(self, records: bytes, taken: int) -> None:
        """Keep the *records* after the first *taken* bytes, which the socket below has taken, to be sent later."""
        self._ac_unsent = memoryview(records)[taken:]
        self._ac_place.report_output(taken)

    def _ac_end_output(self) -> bool:
        """Send a close_notify, and shut down the output behind it; return False if the connection is lost."""
        with self._ac_engine.lock:
            self._ac_engine.close()
            self._ac_shuts = True
            try:
                self._ac_flush()
            except OSError:
                return False
        return True

    # Of TLS

    @property
    def truncated(self) -> bool:
        """Whether the connection ended without the peer's close_notify (bool): the last data may be incomplete."""
        return self._ac_engine.truncated

    @property
    def context(self) -> Any:
        """The ``ssl.SSLContext``: a server's SNI callback may have replaced the first one."""
        return self._ac_engine.object.context

    @property
    def server_hostname(self) -> str | None:
        """The host name that this client has asked for (str), None on a server."""
        return self._ac_engine.object.server_hostname

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the certificate of the peer, as ``ssl.SSLSocket`` does."""
        return self._ac_engine.object.getpeercert(binary_form)

    def version(self) -> str | None:
        """Return "TLSv1.3" or the like, None before the handshake."""
        return self._ac_engine.object.version()

    def cipher(self) -> Any:
        """Return the cipher, as ``ssl.SSLSocket`` does."""
        return self._ac_engine.object.cipher()

    def selected_alpn_protocol(self) -> str | None:
        """Return the protocol that was agreed upon by ALPN (str), None if none was."""
        return self._ac_engine.object.selected_alpn_protocol()

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """Return the channel binding data of this connection, as ``ssl.SSLSocket`` does."""
        return self._ac_engine.object.get_channel_binding(cb_type)

    # Of the socket below

    @property
    def family(self) -> socket.AddressFamily:
        """The address family."""
        return self._ac_socket.family

    @property
    def type(self) -> socket.SocketKind:
        """The kind of the socket."""
        return self._ac_socket.type

    @property
    def proto(self) -> int:
        """The number of the protocol."""
        return self._ac_socket.proto

    @property
    def _ac_map(self) -> Any:
        """The map that a channel on this socket must join: that of an asyncio transport; None if any map will do."""
        return getattr(self._ac_socket, "_ac_map", None)

    @property
    def _ac_proxy(self) -> Any:
        """The PROXY header that came before TLS, None if none did."""
        return getattr(self._ac_socket, "_ac_proxy", None)

    def fileno(self) -> int:
        """Return the descriptor (int), -1 once it is closed.  To read or write it would break the connection."""
        return self._ac_socket.fileno()

    def connect_ex(self, address: Any) -> int:
        """Connect the socket below to *address*, and return an errno (int), 0 once connected."""
        return self._ac_socket.connect_ex(address)

    def bind(self, address: Any) -> None:
        """Bind the socket below to the local *address*."""
        self._ac_socket.bind(address)

    def getpeername(self) -> Any:
        """Return the address of the peer."""
        return self._ac_socket.getpeername()

    def getsockname(self) -> Any:
        """Return the local address."""
        return self._ac_socket.getsockname()

    def getsockopt(self, *args: Any) -> Any:
        """Return an option of the socket below."""
        return self._ac_socket.getsockopt(*args)

    def setsockopt(self, *args: Any) -> None:
        """Set an option of the socket below."""
        resets = asks_for_reset(args)
        if resets is not None:
            self._ac_resets = resets
        self._ac_socket.setsockopt(*args)

    def setblocking(self, flag: bool) -> None:
        """Accept a false *flag*, and do nothing; ValueError for a true one."""
        if flag:
            raise ValueError("a TLSSocket does not block")

    def gettimeout(self) -> float:
        """Return 0.0, as this does not block."""
        return 0.0
