"""Tells whether compiled modules are wanted, and warns if one is missing.

The modules that choose between a compiled module and its plain twin ask here, so that none of
them chooses silently: a broken compiled module is an error, a missing one is worth a warning,
unless the package was built to be plain.
"""

import importlib.util
import os
import platform
import warnings

__all__ = ["is_wanted", "report_missing"]


def is_wanted() -> bool:
    """Tell whether compiled modules are to be used: ASYNCHAT_FAST_NO_EXTENSIONS=1 in the environment asks for none."""
    return os.environ.get("ASYNCHAT_FAST_NO_EXTENSIONS", "") in ("", "0")


def report_missing(missing: ModuleNotFoundError, module: str) -> None:
    """Warn on CPython that *module* (str, its full name) is not there; raise *missing* again if it names another."""
    if missing.name != module:
        raise missing
    if platform.python_implementation() == "CPython" and not _was_built_plain():
        warnings.warn(
            f"asynchat_fast runs without its compiled module {module}, many times slower: install a wheel made for "
            "this Python, or build from source (a source tree shadows an installed package when Python is started in "
            "it).  ASYNCHAT_FAST_NO_EXTENSIONS=1 in the environment asks for plain Python, and silences this.",
            RuntimeWarning,
            stacklevel=3,
        )


def _was_built_plain() -> bool:
    """Tell whether setup.py was told to build plain Python: it then leaves a module as a mark."""
    return importlib.util.find_spec(f"{__package__}._plain_build") is not None
