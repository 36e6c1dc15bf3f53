"""HTTP/1.1 on asynchat: ``http_request_handler``, named after the example in asynchat's documentation."""

from typing import TYPE_CHECKING, Any

from .errors import HTTPError
from .fields import Fields
from .handler import http_request_handler
from .head import COMPILED
from .server import http_server

if TYPE_CHECKING:
    from .files import file_handler as file_handler

__all__ = ["COMPILED", "Fields", "HTTPError", "http_request_handler", "http_server"]


def __getattr__(name: str) -> Any:
    if name == "file_handler":  # not every server needs the modules that it imports
        from .files import file_handler

        return file_handler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
