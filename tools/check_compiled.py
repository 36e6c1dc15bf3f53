"""Fail unless each compiled module of the package that is installed is there and loads, or with "plain" none is.

    python tools/check_compiled.py compiled|plain

To be run with -W error::RuntimeWarning: then it fails, too, where the package warns of being plain, and on a
free-threaded Python where a module brings the GIL back.
"""

import importlib.util
import sys
from pathlib import Path

import asynchat_fast

PACKAGE = Path(asynchat_fast.__file__).parent


def module_name(source: Path) -> str:
    return ".".join(source.relative_to(PACKAGE.parent).with_suffix("").parts)


def main() -> None:
    wanted = {"compiled": True, "plain": False}[sys.argv[1]]
    names = [module_name(source) for source in PACKAGE.rglob("*.pyx")]
    if not names:
        sys.exit(f"{PACKAGE} has no source of a compiled module")
    for name in names:
        if (importlib.util.find_spec(name) is not None) is not wanted:
            sys.exit(f"{name} is {'missing' if wanted else 'there'}")
        if wanted:
            importlib.import_module(name)
    if asynchat_fast.COMPILED is not wanted:
        sys.exit(f"COMPILED is {asynchat_fast.COMPILED}")


if __name__ == "__main__":
    main()
