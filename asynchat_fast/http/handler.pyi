from io import BytesIO
from socket import socket
from typing import Any

from ..channel import async_chat
from .requests import Requests

__all__ = ["http_request_handler"]

class http_request_handler(Requests, async_chat):
    head_timeout: float
    body_timeout: float
    min_body_rate: float
    keep_alive_timeout: float
    write_timeout: float
    linger_timeout: float
    log_format: str
    addr: Any
    sessions: Any
    log: Any
    obuffer: bytes

    def __init__(
        self,
        conn: socket | None = None,
        addr: Any = None,
        sessions: Any = None,
        log: Any = None,
        *,
        sock: socket | None = None,
        map: dict[int, Any] | None = None,
    ) -> None: ...
    def handle_request(self) -> None: ...
    @property
    def rfile(self) -> BytesIO: ...
    @property
    def requestline(self) -> str: ...
    @property
    def request_version(self) -> str: ...
    @property
    def client_address(self) -> Any: ...
    def address_string(self) -> str: ...
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...
    def log_message(self, format: str, *args: object) -> None: ...
    def log_error(self, format: str, *args: object) -> None: ...
    def log_info(self, message: object, type: str = "info") -> None: ...
    def recv(self, buffer_size: int) -> bytes: ...
    def handle_error(self) -> None: ...
