"""asynchat for Python 3.10 and later: the documented API, on a compiled InputBuffer.

``import asynchat_fast as asynchat`` is all a program needs to change; ``install()`` saves even
that.  See ``async_chat`` for channels and ``InputBuffer`` for framing without asyncore.
"""

from collections import deque
from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from ._asyncore import asyncore
from ._version import __version__ as __version__
from .channel import async_chat
from .eventloop import call_later as call_later
from .eventloop import loop as loop
from .eventloop.maps import SocketMap as SocketMap
from .framing import COMPILED as COMPILED
from .framing import InputBuffer as InputBuffer
from .framing import find_prefix_at_end
from .producers import FileChanged as FileChanged
from .producers import fifo, simple_producer
from .producers import file_producer as file_producer
from .swap import install as install
from .swap import uninstall as uninstall

if TYPE_CHECKING:
    from .addresses import inherited_sockets as inherited_sockets
    from .http import http_request_handler as http_request_handler
    from .server import chat_server as chat_server

# Those of asynchat: with more of them, "from asynchat import *" after "from asyncore import *" would exchange loop().
__all__ = ["async_chat", "asyncore", "deque", "fifo", "find_prefix_at_end", "simple_producer"]


# Imported when they are used, as they take longer than all the rest: logging and HTTP.
_LATER = {"chat_server": ".server", "http_request_handler": ".http", "inherited_sockets": ".addresses"}


def __getattr__(name: str) -> Any:
    if name in ("aio", "workers"):
        return _import_module(f".{name}", __name__)
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(_LATER[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "aio", "workers"})
