"""asynchat for Python 3.10 and later: the documented API, on a compiled InputBuffer.

``import asynchat_fast as asynchat`` is all a program needs to change; ``install()`` saves even
that.  See ``async_chat`` for channels and ``InputBuffer`` for framing without asyncore.
"""

from collections import deque
from typing import TYPE_CHECKING, Any

from ._asyncore import asyncore
from ._version import __version__ as __version__
from .channel import async_chat
from .eventloop import call_later, loop
from .eventloop.maps import SocketMap
from .framing import COMPILED, InputBuffer, find_prefix_at_end
from .producers import FileChanged, fifo, file_producer, simple_producer
from .server import chat_server, inherited_sockets
from .swap import install, uninstall

if TYPE_CHECKING:
    from .http import http_request_handler as http_request_handler

__all__ = [
    "COMPILED",
    "FileChanged",
    "InputBuffer",
    "SocketMap",
    "async_chat",
    "asyncore",
    "call_later",
    "chat_server",
    "deque",
    "fifo",
    "file_producer",
    "find_prefix_at_end",
    "inherited_sockets",
    "install",
    "loop",
    "simple_producer",
    "uninstall",
]


def __getattr__(name: str) -> Any:
    if name == "http_request_handler":  # only who wants HTTP is to wait for its import
        from .http import http_request_handler

        return http_request_handler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
