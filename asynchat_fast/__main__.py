"""Run an unmodified program with asynchat_fast in the place of ``asynchat``.

The program is ``__main__``, and has the same ``sys.argv``, first directory on the path, exit status
and tracebacks as without asynchat_fast.
"""

import atexit
import builtins
import io
import marshal
import os
import pkgutil
import platform
import re
import runpy
import sys
import types
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from importlib.util import MAGIC_NUMBER
from itertools import takewhile
from typing import Any, NoReturn

from . import COMPILED, __version__, install
from ._printing import printing
from .swap import Usage

__all__ = ["main"]

HELP = """\
usage: asynchat-fast [-v] [--loop] program [arguments]
       asynchat-fast [-v] [--loop] -m module [arguments]

Run a program that was written for asynchat on asynchat_fast, unchanged: in it and in all it
imports, "import asynchat" means asynchat_fast, and on Python 3.12 and later it works again.

  program     a Python file, or a directory or zip file with a __main__.py
  -m module   a module or package, as for "python -m"
  --benchmark measure for ten seconds how fast asynchat_fast is on this machine and this Python
  --loop      let asynchat_fast.loop() run in the place of asyncore.loop(), too
  -v          say at the end what of asynchat_fast was used, and by which modules
  --version   show the versions and which InputBuffer runs
  -h, --help  show this help

An FTP server, for example, after "pip install pyftpdlib":  asynchat-fast -m pyftpdlib
Options of Python go to Python:  python -u -m asynchat_fast -m pyftpdlib
"""

PYTHON_OPTIONS = "bBdEiIOPqsSuWxX"


def main() -> None:
    """Do what the command line says."""
    try:
        _obey(sys.argv[1:])
    except BaseException:
        _hide_our_frames()
        raise


def _obey(arguments: list[str]) -> None:
    match arguments:
        case [] | ["-h" | "--help", *_]:
            with printing("asynchat-fast"):
                print(HELP, end="")
        case ["--version" | "--benchmark" as option, more, *_]:
            _fail(f"asynchat-fast: {option} takes no arguments, such as {more}")
        case ["--version"]:
            with printing("asynchat-fast"):
                print(f"asynchat_fast {__version__}")
                print(f"{platform.python_implementation()} {platform.python_version()}")
                print(f"InputBuffer: {'compiled' if COMPILED else 'plain Python'}")
        case ["--benchmark"]:
            from . import benchmark  # here, because it would delay the start of other programs

            with printing("asynchat-fast"):
                benchmark.main()
        case ["-v" | "--loop", "--benchmark", *_]:
            _fail("asynchat-fast: --benchmark measures channels without a loop: it goes alone")
        case ["-v" | "--loop", *_]:
            options = [*takewhile({"-v", "--loop"}.__contains__, arguments)]
            install(loop="--loop" in options)
            if "-v" in options:
                usage = Usage()
                atexit.register(lambda: print(f"asynchat-fast: {usage.tell()}", file=sys.stderr))
            _obey(arguments[len(options) :])
        case ["-m", module, *rest]:
            _run_module(module, rest)
        case ["-m"]:
            _fail("asynchat-fast: -m must be followed by the name of a module")
        case [option, *rest] if re.match(f"-[{PYTHON_OPTIONS}]", option):
            with_value = rest[:1] if option in ("-W", "-X") else []
            given = " ".join([option, *with_value])
            _fail(f"asynchat-fast: {option} is an option of Python:  python {given} -m asynchat_fast ...")
        case [option, *_] if option.startswith("-"):
            _fail(f"asynchat-fast: unknown option {option} (--help lists those there are)")
        case [program, *rest]:
            _run_program(program, rest)


def _run_module(name: str, arguments: list[str]) -> None:
    _become_main(["-m", *arguments], os.getcwd())
    # The interpreter itself calls this for -m, so the messages of errors are the same.
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def _run_program(name: str, arguments: list[str]) -> None:
    path = os.path.join(os.getcwd(), name)  # not normalised: __file__ is not, either
    if pkgutil.get_importer(path):
        _become_main([name, *arguments], path, even_if_safe=True)
        runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]
    else:
        namespace = _become_main([name, *arguments], os.path.dirname(os.path.realpath(path)))
        _run_file(path, namespace)


def _run_file(path: str, namespace: dict[str, Any]) -> None:
    try:
        with io.open_code(path) as file:
            data = file.read()
    except OSError as error:
        _fail(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}")
    if data.startswith(MAGIC_NUMBER):
        loader: type[SourceFileLoader | SourcelessFileLoader] = SourcelessFileLoader
        code = marshal.loads(data[16:])  # noqa: S302 - as trusted as source
    elif path.endswith(".pyc"):
        raise RuntimeError("Bad magic number in .pyc file")
    else:
        loader = SourceFileLoader
        code = compile(data, path, "exec", dont_inherit=True)
    namespace.update(__file__=path, __loader__=loader("__main__", path))
    if sys.version_info < (3, 15):
        namespace["__cached__"] = None
    exec(code, namespace)  # noqa: S102 - running it is what we were asked for


def _become_main(argv: list[str], directory: str, even_if_safe: bool = False) -> dict[str, Any]:
    """Give the process to the program, and return the namespace of its ``__main__``."""
    install()
    sys.argv = argv
    safe = getattr(sys.flags, "safe_path", sys.flags.isolated)  # then sys.path[0] is not our directory: leave it
    if not safe:
        sys.path[0] = directory
    elif even_if_safe:
        sys.path.insert(0, directory)
    program = sys.modules["__main__"] = types.ModuleType("__main__")
    vars(program)["__builtins__"] = builtins
    return vars(program)


def _hide_our_frames() -> None:
    """Remove our frames from the traceback of the exception that ends the process.

    The program's own excepthook, if there is one, gets the shortened traceback, too.  This is done at the end, so that
    a running program does not see an excepthook of ours.
    """
    hook = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, traceback: types.TracebackType | None) -> None:
        sys.excepthook = hook
        while traceback and traceback.tb_frame.f_globals is not globals():
            traceback = traceback.tb_next
        while traceback and traceback.tb_frame.f_globals is globals():
            traceback = traceback.tb_next
        hook(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = show


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
