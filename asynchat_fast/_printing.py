"""The output of the command lines, whose reader may end first: ``asynchat-fast --benchmark | head -3``."""

import contextlib
import errno
import sys
from collections.abc import Iterator

__all__ = ["printing"]

_NO_READER = (errno.EPIPE, errno.EINVAL)  # the second on Windows


@contextlib.contextmanager
def printing(program: str) -> Iterator[None]:
    """End *program* (its name) with status 1 if its output cannot be written; quietly if nobody reads the output."""
    try:
        try:
            yield
        finally:  # also before the SystemExit of argparse
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        sys.stdout = None  # else the interpreter would try again at its end, and print a traceback
        sys.exit(1 if error.errno in _NO_READER else f"{program}: the output cannot be written: {error.strerror}")
