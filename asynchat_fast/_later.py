"""The names of the package that are imported at their first use, because their modules take long to import."""

from importlib import import_module
from typing import Any

__all__ = ["ROOMS", "fetch"]

ROOMS = {
    "aio": "aio",
    "chat_client": "client",
    "chat_server": "server",
    "dump_on": "eventloop.watching",
    "http_request_handler": "http",
    "inherited_sockets": "addresses",
    "loop_counters": "eventloop.status",
    "status": "eventloop.status",
    "testing": "testing",
    "watch": "eventloop.watching",
    "workers": "workers",
}
"""The module of each name, or the same name for a module (dict of str to str)."""


def fetch(name: str) -> Any:
    """Return the object *name* (str) of the package; AttributeError if there is none."""
    if name not in ROOMS:
        raise AttributeError(f"module {__package__!r} has no attribute {name!r}")
    module = import_module(f"{__package__}.{ROOMS[name]}")
    return module if name == ROOMS[name] else getattr(module, name)
