"""The one exception for a request that is not to be served, with the status of the response."""

__all__ = ["HTTPError"]


class HTTPError(Exception):
    """Answer *status* (int) for *reason* (str), with *headers* (pairs of str) more, and close."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers

    def __str__(self) -> str:
        return self.reason
