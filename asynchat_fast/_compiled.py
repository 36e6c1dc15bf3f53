"""Whether compiled modules are wanted, and what is said where one is missing.

The modules that choose between a compiled one and its plain twin ask here, so that none of
them does so silently: a broken compiled module is an error, a missing one worth a warning.
"""

import os
import platform
import warnings

__all__ = ["is_wanted", "report_missing"]


def is_wanted() -> bool:
    """Tell whether the environment leaves the choice to us: ASYNCHAT_FAST_NO_EXTENSIONS=1 asks for plain Python."""
    return os.environ.get("ASYNCHAT_FAST_NO_EXTENSIONS", "") in ("", "0")


def report_missing(missing: ModuleNotFoundError, module: str) -> None:
    """Raise *missing* again unless it is *module* (str, its full name) that is not there; on CPython, warn of that."""
    if missing.name != module:
        raise missing
    if platform.python_implementation() == "CPython":
        warnings.warn(
            f"asynchat_fast runs without its compiled module {module}, many times slower: install a wheel made for "
            "this Python, or build from source (a source tree shadows an installed package when Python is started in "
            "it).  ASYNCHAT_FAST_NO_EXTENSIONS=1 says that plain Python is meant.",
            RuntimeWarning,
            stacklevel=3,
        )
