from collections.abc import Callable
from typing import Any

from .answers import Answering
from .fields import Fields, Method

__all__ = ["HEAD_END", "Heads"]

HEAD_END: bytes

class Heads(Answering):
    max_request_line: int
    max_head: int
    max_fields: int
    max_payload: int | None
    ibuffer: list[bytes]
    reading_headers: bool
    op: Method | str
    target: str
    path: str
    host: str
    headers: Fields

    def __init__(self) -> None: ...
    def collect_incoming_data(self, data: Any) -> None: ...
    def found_terminator(self) -> None: ...
    def handle_overlong_payload(self) -> None: ...
    def parse_headers(self, octets: bytes) -> None: ...
    def _ac_collect_partial(self, data: Any) -> bool: ...
    def _http_receive(
        self,
        terminator: bytes | int | None,
        complete: Callable[[], object] | None,
        sink: Callable[[Any], object] | None = None,
        check: Callable[[bytes], object] | None = None,
    ) -> None: ...
    def _http_take_collected(self) -> bytes: ...
    def _http_forget_request(self, octets: bytes) -> None: ...
