from collections.abc import Iterable, Mapping
from typing import BinaryIO, Protocol, TypeAlias

from .pieces import WriteFile

__all__ = ["DONE", "HEAD", "Answering"]

DONE: int
HEAD: int

_Octets: TypeAlias = bytes | bytearray | memoryview
_Value: TypeAlias = str | bytes | int
_Headers: TypeAlias = Mapping[str, _Value] | Iterable[tuple[str, _Value]]

class _Producer(Protocol):
    def more(self) -> _Octets | str: ...

class Answering:
    server_version: str
    default_content_type: str
    close_connection: bool
    command: str
    minor_version: int
    _http_stage: int

    def __init__(self) -> None: ...
    def respond(
        self,
        status: int,
        body: _Octets | str | BinaryIO | _Producer | Iterable[_Octets | str] = b"",
        headers: _Headers = (),
        content_type: str | None = None,
    ) -> None: ...
    def send_response(self, code: int, message: str | None = None) -> None: ...
    def send_response_only(self, code: int, message: str | None = None) -> None: ...
    def send_header(self, keyword: str, value: _Value) -> None: ...
    def end_headers(self) -> None: ...
    @property
    def wfile(self) -> WriteFile: ...
    def write(self, data: _Octets | str) -> None: ...
    def finish(self) -> None: ...
    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None, headers: _Headers = ()
    ) -> None: ...
    def error_page(self, code: int, message: str | None = None, explain: str | None = None) -> str: ...
    def _http_new_answer(self) -> None: ...
    def _http_settle(self) -> None: ...
