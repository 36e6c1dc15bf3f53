"""The exception for a request that is not served, with the status of its response."""

__all__ = ["HTTPError"]


class HTTPError(Exception):
    """Raised to refuse a request: the response has *status* (int), a page with *reason* (str), and *headers*.

    *headers* are more fields, pairs of name and value (str).  The connection is closed after the response.
    """

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status, reason)
        self.status = status  #: The status (int).
        self.reason = reason  #: The text of the page (str).
        self.headers = headers  #: More fields (pairs of str).

    def __str__(self) -> str:
        return self.reason
