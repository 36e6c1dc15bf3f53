"""Build the compiled modules, one of each .pyx in the package; everything else stands in pyproject.toml.

A compilation that fails is an error: the slow package is for those only that ask for it.
ASYNCHAT_FAST_NO_EXTENSIONS=1 builds plain Python and marks the package, which is then silent about it;
"fallback" builds the same without the mark, for the wheel that pip takes where it finds no compiled one.
"""

import os
import platform
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import BaseError, CCompilerError, CompileError

PACKAGE = Path("asynchat_fast")
MARK = "_plain_build.py"  # asynchat_fast/_compiled.py looks for it
ASKED = os.environ.get("ASYNCHAT_FAST_NO_EXTENSIONS", "") or "0"

HELP = (
    "asynchat_fast has C extensions: install a C compiler and the headers of this Python (Debian: apt-get install gcc "
    "python3-dev; Fedora: dnf install gcc python3-devel; macOS: xcode-select --install; Windows: Visual Studio Build "
    "Tools), or set ASYNCHAT_FAST_NO_EXTENSIONS=1 to build plain Python, which is several times slower."
)


class BuildExtensions(build_ext):
    """Compile, and end with what to install where that fails."""

    def run(self):
        try:
            super().run()
        except (BaseError, CCompilerError) as error:
            raise CompileError(f"{error}\n\n{HELP}") from error


class BuildModules(build_py):
    """Copy the modules, with the mark of a plain build if one was asked for."""

    def run(self):
        super().run()
        mark = Path("" if self.editable_mode else self.build_lib) / PACKAGE / MARK
        if ASKED in ("0", "fallback"):
            mark.unlink(missing_ok=True)  # of an earlier build
        else:
            mark.write_text('"""This package was built with ASYNCHAT_FAST_NO_EXTENSIONS=1."""\n', encoding="utf-8")


def extensions():
    if platform.python_implementation() != "CPython" or ASKED != "0":
        return []
    headers = sorted(str(path) for pattern in ("*.h", "*.pxd") for path in PACKAGE.rglob(pattern))
    # Not through CFLAGS, which would replace -O3 -DNDEBUG; -g0 keeps builds reproducible.
    flags = [] if sys.platform == "win32" else ["-g0"]
    return [
        Extension(
            ".".join(source.with_suffix("").parts), [source.as_posix()], depends=headers, extra_compile_args=flags
        )
        for source in sorted(PACKAGE.rglob("*.pyx"))
    ]


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions, "build_py": BuildModules})
