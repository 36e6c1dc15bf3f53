"""asynchat for Python 3.10 and later: the documented API, on a compiled InputBuffer.

``import asynchat_fast as asynchat`` is all a program needs to change; ``install()`` saves even
that.  See ``async_chat`` for channels and ``InputBuffer`` for framing without asyncore.
"""

from collections import deque
from typing import TYPE_CHECKING

from ._asyncore import asyncore
from ._later import ROOMS as _ROOMS
from ._later import fetch as _fetch
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
    from .client import chat_client as chat_client
    from .eventloop.status import loop_counters as loop_counters
    from .eventloop.status import status as status
    from .eventloop.watching import dump_on as dump_on
    from .eventloop.watching import watch as watch
    from .http import http_request_handler as http_request_handler
    from .server import chat_server as chat_server

# Only asynchat's names: "from asynchat import *" after "from asyncore import *" must not replace loop().
__all__ = ["async_chat", "asyncore", "deque", "fifo", "find_prefix_at_end", "simple_producer"]


__getattr__ = _fetch


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
