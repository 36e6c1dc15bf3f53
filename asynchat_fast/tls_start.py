"""The start of TLS: on a connection that a server has accepted, or on a channel, perhaps after data was exchanged."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from .addresses import name_of
from .arguments import check_limit
from .borrowed import queue_of
from .tls import Engine, check_context, reason_of
from .tls_handshake import Handshake, Occasion
from .tls_socket import TLSSocket
from .transport import BYTES_LIKE

__all__ = ["accepter", "failure_of", "start"]


def accepter(context: Any, timeout: float | None) -> Callable[[Any, Any, Any], Handshake]:
    """Return a function of a server, a socket that it has accepted and its address, which starts TLS on that socket.

    *context* is the server's ``ssl.SSLContext``, *timeout* the seconds (None: no limit) for each handshake; TypeError
    and ValueError for others.
    """
    check_context(context, server_side=True)
    check_limit("handshake_timeout", timeout)

    def accept(server: Any, sock: Any, addr: Any) -> Handshake:
        sock.setblocking(False)
        face = TLSSocket(sock, Engine(context, True))
        occasion = Occasion(
            opened=lambda face: server.handle_accepted(face, addr),
            failed=lambda error: server.log_info(failure_of(addr, error), "error"),
            handle_error=server.handle_error,
        )
        handshake = Handshake(face, server._map, occasion, timeout)
        handshake.enter_map()
        return handshake

    return accept


def start(
    channel: Any,
    context: Any,
    server_side: bool,
    server_hostname: str | None,
    timeout: float | None,
    occasion: Occasion | None = None,
) -> None:
    """Switch *channel* to TLS; the arguments and errors are those of ``async_chat.start_tls()``.

    *occasion* is told the outcome; None tells the channel.
    """
    sock = channel.socket
    if sock is None:
        raise RuntimeError("start_tls() needs a socket: call create_socket() first")
    if isinstance(sock, TLSSocket):
        raise RuntimeError("TLS has been started already")
    check_limit("handshake_timeout", timeout)
    engine = Engine(context, server_side, server_hostname)
    plain = b""
    if channel.connected:
        plain = _take_output(channel)
        # Not ac_in_buffer, which has the argument of a collect_incoming_data() that calls this.
        received = channel._ac_input.undelivered if channel._ac_holds_input else bytes(channel.ac_in_buffer)
        channel.ac_in_buffer = b""
        engine.feed(received)  # commands that a peer has sent behind STARTTLS fail the handshake
    channel.socket = face = TLSSocket(sock, engine, plain)
    if occasion is None:
        failed = partial(_failed, channel, server_side)
        occasion = Occasion(lambda face: channel.handle_tls(), failed, channel.handle_error)
    handshake = Handshake(face, channel._map, occasion, timeout)
    handshake.join(channel)
    if channel.connected and (received or not server_side):
        handshake.go_on()


def _failed(channel: Any, server_side: bool, error: OSError) -> None:
    """Tell *channel*, whose start_tls() began the handshake, that it has failed with *error*."""
    if server_side:
        channel.log_info(failure_of(channel.addr, error), "error")
        channel.handle_close()
        return
    try:
        raise error
    except OSError:
        channel.handle_error()


def _take_output(channel: Any) -> bytes:
    """Remove the bytes that wait in the output queue of *channel*, and return them.

    RuntimeError if a producer or the end waits there, too, or if a send() that is not over holds the queue.
    """
    queue = queue_of(channel)
    if not queue:
        return b""
    for _ in range(1000):
        if queue.begin(1) is not None:
            break
        time.sleep(0.001)  # another thread is in the middle of send()
    else:
        raise RuntimeError("start_tls() cannot be called from within send()")
    try:
        items = list(queue.items)
        if not all(isinstance(item, BYTES_LIKE) or (isinstance(item, str) and channel.use_encoding) for item in items):
            raise RuntimeError("start_tls() while a producer, or the end by close_when_done(), waits to be sent")
        for _ in items:
            queue.items.popleft()
        queue.forget_held()
    finally:
        queue.end(None, 0)
    return b"".join(item.encode(channel.encoding) if isinstance(item, str) else item for item in items)


def failure_of(addr: Any, error: OSError) -> str:
    """Return a message for the log: the handshake with the peer at *addr* has failed with *error*."""
    return f"no TLS with {name_of(addr)}: {reason_of(error)}"
