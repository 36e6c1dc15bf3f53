"""The one asyncore of this process: the interpreter's own up to Python 3.11, pyasyncore's after it.

It is always the module in ``sys.modules``, so that there is one ``socket_map``.  Import it from here, because this
module's error says how to mend an installation in which it is missing.
"""

import sys
import warnings

__all__ = ["asyncore", "is_polling"]

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.11 announces the removal in 3.12
    try:
        import asyncore
    except ModuleNotFoundError as error:
        if error.name != "asyncore":
            raise
        raise ModuleNotFoundError(
            "asynchat_fast needs asyncore, which Python 3.12 and later leave to the package pyasyncore. It is not "
            "installed, or another package that brings the folder asyncore/ has taken it along when it was "
            "uninstalled. The command 'pip install --force-reinstall pyasyncore' mends both.",
            name="asyncore",
        ) from None


def is_polling() -> bool:
    """Return whether any thread is in a pass of asyncore's own loop, over any map."""
    passes = [getattr(function, "__code__", None) for function in (asyncore.poll, asyncore.poll2)]
    for frame in sys._current_frames().values():
        below = frame
        while below is not None:
            if below.f_code in passes:
                return True
            below = below.f_back
    return False
