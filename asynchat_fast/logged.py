"""A dispatcher whose messages go to its ``logging.Logger``, or are printed as asyncore does if it has none."""

from typing import TYPE_CHECKING

from ._asyncore import asyncore

if TYPE_CHECKING:
    import logging

__all__ = ["logged_dispatcher"]

# The levels of logging, which is not imported here because it would delay programs that do not use it.
_LEVELS = {"error": 40, "warning": 30}
_INFO = 20


class logged_dispatcher(asyncore.dispatcher):
    """The base class of the channels and acceptors of this package."""

    ac_logger: "logging.Logger | None" = None
    """The logger for all messages of this object, and the tracebacks of failed callbacks (logging.Logger).

    None logs as asyncore does: errors are printed to the standard output, and warnings are dropped.
    """

    def log(self, message: str) -> None:
        """Log *message* (str) at the level INFO."""
        if self.ac_logger is None:
            super().log(message)
        else:
            self.ac_logger.info("%s", message)

    def log_info(self, message: str, type: str = "info") -> None:
        """Log *message* (str) at the level *type*: "info", "warning" or "error"."""
        if self.ac_logger is None:
            super().log_info(message, type)
        else:
            self.ac_logger.log(_LEVELS.get(type, _INFO), "%s", message)

    def handle_error(self) -> None:
        """Act upon the exception that a callback has raised: log it and close, unless overridden."""
        if self.ac_logger is None:
            super().handle_error()
        else:
            self.ac_logger.exception("closing %r: uncaught exception", self)
            self.handle_close()
