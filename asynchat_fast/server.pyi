from collections.abc import Callable
from os import PathLike
from socket import socket
from typing import Any

from ._asyncore import asyncore

__all__ = ["chat_server", "inherited_sockets"]

class chat_server(asyncore.dispatcher):
    channel_class: Callable[..., Any]
    nodelay: bool
    max_connections: int | None
    path: str | bytes | None
    addr: Any
    _channel_options: dict[str, Any]
    _map: dict[int, Any]

    def __init__(
        self,
        address: tuple[Any, ...] | str | bytes | PathLike[str] | PathLike[bytes] | socket,
        channel_class: Callable[..., Any],
        *,
        map: dict[int, Any] | None = None,
        backlog: int = 1024,
        reuse_port: bool = False,
        nodelay: bool = True,
        max_connections: int | None = None,
    ) -> None: ...
    def readable(self) -> bool: ...
    def writable(self) -> bool: ...
    def handle_accept(self) -> None: ...
    def make_channel(self, sock: socket, addr: Any) -> Any: ...
    def handle_accepted(self, sock: socket, addr: Any) -> None: ...
    def handle_close(self) -> None: ...
    def close(self) -> None: ...

def inherited_sockets() -> list[socket]: ...
