"""A dispatcher whose words can go to a logger of Python's, rather than where asyncore prints them."""

from typing import TYPE_CHECKING

from ._asyncore import asyncore

if TYPE_CHECKING:
    import logging

__all__ = ["logged_dispatcher"]

_LEVELS = {"error": 40, "warning": 30}  # logging's, whose import would delay the start of programs that do without it
_INFO = 20


class logged_dispatcher(asyncore.dispatcher):
    """What the channels and acceptors of this package derive from."""

    ac_logger: "logging.Logger | None" = None
    """Where all goes that this object logs (logging.Logger), with the traceback of a callback that failed.

    None is asyncore's way: ``log_info()`` prints errors to the standard output and drops warnings.
    """

    def log(self, message: str) -> None:
        """Log *message*."""
        if self.ac_logger is None:
            super().log(message)
        else:
            self.ac_logger.info("%s", message)

    def log_info(self, message: str, type: str = "info") -> None:
        """Log *message* at the level *type*: "info", "warning" or "error"."""
        if self.ac_logger is None:
            super().log_info(message, type)
        else:
            self.ac_logger.log(_LEVELS.get(type, _INFO), "%s", message)

    def handle_error(self) -> None:
        """Log the exception that is being handled, and close, unless overridden."""
        if self.ac_logger is None:
            super().handle_error()
        else:
            self.ac_logger.exception("closing %r: uncaught exception", self)
            self.handle_close()
