"""Decides whether compiled modules are used, and warns if one is missing.

Each module that has a compiled version calls these functions when it chooses between the two.  A broken compiled
module is an error; a missing one gets a warning, unless the package was built without compiled modules.
"""

import importlib.util
import os
import platform
import warnings

__all__ = ["is_wanted", "report_missing"]


def is_wanted() -> bool:
    """Return whether compiled modules are to be used: not with ASYNCHAT_FAST_NO_EXTENSIONS=1 in the environment."""
    return os.environ.get("ASYNCHAT_FAST_NO_EXTENSIONS", "") in ("", "0")


def report_missing(missing: ModuleNotFoundError, module: str) -> None:
    """Warn, on CPython, that *module* (str, its full name) is missing; raise *missing* again if it is about another."""
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
    """Return whether the package was built without compiled modules: setup.py then adds a module as a mark."""
    return importlib.util.find_spec(f"{__package__}._plain_build") is not None
