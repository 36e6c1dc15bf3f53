"""The one asyncore of this process: the interpreter's own up to Python 3.11, pyasyncore's after it.

It is always the module in ``sys.modules``, so that there is one ``socket_map``.  Import it from here: only
this module tells how to mend an installation in which it is missing.
"""

import warnings

__all__ = ["asyncore"]

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
