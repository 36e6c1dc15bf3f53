"""Build the compiled InputBuffer and head parser; everything else stands in pyproject.toml.

ASYNCHAT_FAST_NO_EXTENSIONS=1 leaves it out, for the wheel of plain Python.  Otherwise a
compilation that fails is an error: nobody is to get the slow package by accident.
"""

import os
import platform
import sys

from setuptools import Extension, setup

extensions = []
if platform.python_implementation() == "CPython" and os.environ.get("ASYNCHAT_FAST_NO_EXTENSIONS", "") in ("", "0"):
    # Not through CFLAGS, which would replace -O3 -DNDEBUG; -g0 keeps builds reproducible.
    flags = [] if sys.platform == "win32" else ["-g0"]
    extensions += [
        Extension("asynchat_fast._framing", ["asynchat_fast/_framing.pyx"], depends=["asynchat_fast/_search.h"], extra_compile_args=flags),
        Extension("asynchat_fast._output_queue", ["asynchat_fast/_output_queue.pyx"], extra_compile_args=flags),
        Extension("asynchat_fast.http._head", ["asynchat_fast/http/_head.pyx"], extra_compile_args=flags),
    ]

setup(ext_modules=extensions)
