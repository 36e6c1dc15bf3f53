"""Health checks, by which proxies learn whether to send requests to a server."""

from typing import Any

from ..graceful_end import Life

__all__ = ["Health"]

_FIELDS = [("Cache-Control", "no-store")]


class Health:
    """The response to health checks at *path* (str): whether *server* wants more requests."""

    __slots__ = ("_path", "_server")

    def __init__(self, path: str, server: Any) -> None:
        if not isinstance(path, str):
            raise TypeError(f"health is a path such as '/healthz', not {path!r}")
        if not path.startswith("/") or "?" in path:
            raise ValueError(f"health is a path such as '/healthz', without a query, not {path!r}")
        self._path = path
        self._server = server

    def is_asked(self, command: str, target: str) -> bool:
        """Return whether a request by *command* (str) for *target* (str), path and query, is a health check."""
        return target.partition("?")[0] == self._path and command in ("GET", "HEAD")

    def response(self) -> tuple[int, str, list[tuple[str, str]]]:
        """Return status, body and fields of the response: 200, or 503 once the server has begun to end."""
        is_well = self._server._ac_end.life is Life.LISTENING
        return (200, "ok\n", _FIELDS) if is_well else (503, "ending\n", _FIELDS)
