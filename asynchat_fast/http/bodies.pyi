from typing import Any

from .fields import Fields
from .heads import Heads

__all__ = ["Bodies"]

class Bodies(Heads):
    max_body: int
    max_trailers: int
    max_chunk_extensions: int
    stream_body: bool
    body: bytes
    trailers: Fields
    cgi_data: Any

    def __init__(self) -> None: ...
    def body_data(self, view: memoryview) -> None: ...
    def parse_body(self, headers: Fields, octets: bytes) -> Any: ...
    def _http_begin_body(self, length: int) -> None: ...
    def _http_body_seconds(self) -> float: ...
