"""``python -m asynchat_fast``: a program must not be able to tell it from ``python``, but for asynchat."""

import compileall
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import zipapp
from pathlib import Path

import pytest

import asynchat_fast

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])}
SWAPPED = [sys.executable, "-m", "asynchat_fast"]
SAFE = "-P" if sys.version_info >= (3, 11) else "-I"  # nothing is put first on the path
cpython = pytest.mark.skipif(sys.implementation.name != "cpython", reason="PyPy's command line is not the same here")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and symbolic links")

PROGRAMS = {
    "arguments": "import sys; print(sys.argv)",
    "path": "import sys; print(sys.path)",
    "namespace": """
        import re
        # Addresses differ; __annotations__ is made when it is needed.
        for name, value in sorted(globals().items()):
            if name not in ("__annotations__", "re"):
                print(name, re.sub("0x[0-9a-fA-F]+", "", repr(value)))
        """,
    "main module": "import sys, __main__; print(__main__ is sys.modules['__main__'], vars(__main__) is globals())",
    "guard": "print('guarded' if __name__ == '__main__' else 'not guarded')",
    "flags of its own": "def f(x: unknown): pass",
    "excepthook": "import sys; print(sys.excepthook is sys.__excepthook__)",
    "standard input": "print(input())",
    "pickle": """
        import pickle
        class Thing: pass
        print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)
        """,
    "source": """
        import inspect
        def function(): return 'source'
        print(inspect.getsource(function))
        """,
    "processes": """
        import multiprocessing
        def work(number): return number * 2
        if __name__ == '__main__':
            for method in multiprocessing.get_all_start_methods():
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(method, pool.map(work, [1, 2, 3]))
        """,
    "threads and atexit": """
        import atexit, threading
        atexit.register(lambda: print('atexit', greeting))
        started, ended = threading.Event(), threading.Event()
        def run():
            started.set()
            ended.wait()
            print('thread', greeting)
        greeting = 'hello'
        threading.Thread(target=run).start()
        started.wait()
        print('end of program')
        ended.set()
        """,
    "exit status": "import sys; sys.exit(3)",
    "exit text": "import sys; sys.exit('text')",
    "exit nothing": "import sys; sys.exit()",
    "exit error in a function": """
        def f():
            try:
                1 / 0
            except ZeroDivisionError:
                raise SystemExit(4)
        f()
        """,
    "syntax error": "x = (1,\ny = 2\n",
    "indentation error": "if 1:\nx = 2\n",
    "syntax warning": "import warnings; x = 1 is 1",
    "exception": "def f():\n    1 / 0\nf()",
    "exception without text": "raise Exception",
    "exception with notes": "e = ValueError('x'); e.__notes__ = ['note']; raise e",
    "exceptions in turn": """
        try:
            1 / 0
        except ZeroDivisionError:
            int('x')
        """,
    "exceptions, one the cause": """
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise ValueError('x') from error
        """,
    "exception raised again": """
        try:
            1 / 0
        except ZeroDivisionError as error:
            kept = error
        raise kept
        """,
    "exception in a generator": "def g():\n    yield 1 / 0\nlist(g())",
    "exception that names a missing module": "import nothing_of_this_name",
    "exception, then atexit": "import atexit; atexit.register(print, 'atexit'); 1 / 0",
    "exception in a thread": "import threading; threading.Thread(target=lambda: 1 / 0, name='t').start()",
    "exception in another module": "import json; json.loads('{')",
    "interrupted": "raise KeyboardInterrupt",
    "hook of its own": """
        import sys, traceback
        def hook(kind, error, trace):
            print('hook', kind, len(traceback.extract_tb(trace)), error.__traceback__ is trace)
            sys.__excepthook__(kind, error, trace)
        sys.excepthook = hook
        1 / 0
        """,
}
if sys.version_info >= (3, 11):
    PROGRAMS["exception group"] = "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])"


def run(*command, cwd, **options):
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60} | options
    options["env"] = ENVIRONMENT | options.get("env", {})
    return subprocess.run([*map(str, command)], cwd=cwd, **options)


def outcome(process):
    return process.returncode, process.stdout, process.stderr


def write(path, program):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(program))
    return path


@pytest.fixture
def assert_same(tmp_path):
    """A function that runs a command line as it is and with asynchat_fast, and compares all there is to see."""

    def compare(*arguments, flags=(), cwd=tmp_path, **options):
        theirs = run(sys.executable, *flags, *arguments, cwd=cwd, **options)
        for bytecode in cwd.rglob("__pycache__"):  # with it, no warning of the compiler is shown
            shutil.rmtree(bytecode)
        ours = run(sys.executable, *flags, "-m", "asynchat_fast", *arguments, cwd=cwd, **options)
        assert outcome(ours) == outcome(theirs)
        return ours

    return compare


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_script(tmp_path, assert_same, program):
    write(tmp_path / "prog.py", program)
    assert_same("prog.py", "-x", "--", "y z", input="typed\n", stdin=None)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_module(tmp_path, assert_same, program):
    write(tmp_path / "prog.py", program)
    assert_same("-m", "prog", "-x", "--", "y z", input="typed\n", stdin=None)


def test_the_cases_test_the_named_situations(tmp_path, assert_same):
    write(tmp_path / "prog.py", PROGRAMS["exit status"])
    assert assert_same("prog.py").returncode == 3
    write(tmp_path / "prog.py", PROGRAMS["exception"])
    frames = re.findall(r'File "(.+)", line', assert_same("prog.py").stderr)
    assert {Path(file).name for file in frames} == {"prog.py"}  # and none of ours
    write(tmp_path / "prog.py", PROGRAMS["interrupted"])
    assert assert_same("prog.py").returncode == (-signal.SIGINT if os.name == "posix" else 0xC000013A)


SHOWN = "\n".join(textwrap.dedent(PROGRAMS[name]) for name in ("arguments", "path", "namespace"))


@pytest.mark.parametrize("name", ["below/prog.py", "./below/prog.py", "below/../below/prog.py", "below/no-suffix"])
def test_script_elsewhere(tmp_path, assert_same, name):
    write(tmp_path / name, SHOWN)
    assert_same(name)
    assert_same(tmp_path / name)


@posix
def test_script_by_symbolic_link(tmp_path, assert_same):
    write(tmp_path / "real" / "prog.py", SHOWN)
    (tmp_path / "link.py").symlink_to(tmp_path / "real" / "prog.py")
    assert repr(str((tmp_path / "real").resolve())) in assert_same("link.py").stdout


def test_compiled_script(tmp_path, assert_same):
    write(tmp_path / "prog.py", SHOWN + "\n1 / 0")
    compileall.compile_file(tmp_path / "prog.py", legacy=True, quiet=1)
    assert_same("prog.pyc")
    (tmp_path / "other.pyc").write_bytes(b"\0\0\r\n" + bytes(12))
    assert_same("other.pyc")


@cpython
def test_compiled_script_without_suffix(tmp_path, assert_same):
    write(tmp_path / "prog.py", SHOWN)
    compileall.compile_file(tmp_path / "prog.py", legacy=True, quiet=1)
    (tmp_path / "prog.pyc").rename(tmp_path / "no-suffix")
    assert_same("no-suffix")


def test_encodings_of_the_source(tmp_path, assert_same):
    (tmp_path / "declared.py").write_bytes("# coding: latin-1\nprint(ascii('é'))\n".encode("latin-1"))
    assert assert_same("declared.py").stdout == "'\\xe9'\n"
    (tmp_path / "marked.py").write_bytes("\N{ZERO WIDTH NO-BREAK SPACE}print(ascii('é'))\r\n".encode())
    assert assert_same("marked.py").stdout == "'\\xe9'\n"


@pytest.mark.parametrize("name", ["app", pytest.param("./app/", marks=cpython)])
def test_directory(tmp_path, assert_same, name):
    write(tmp_path / "app" / "__main__.py", SHOWN + "\nimport beside")
    write(tmp_path / "app" / "beside.py", "print(__name__); 1 / 0")
    assert_same(name, "a", "b")
    assert_same(tmp_path / name)


def test_zip_file(tmp_path, assert_same):
    write(tmp_path / "app" / "__main__.py", SHOWN + "\nimport beside")
    write(tmp_path / "app" / "beside.py", "print(__name__); 1 / 0")
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
    assert_same("app.pyz", "a", "b")


def test_package(tmp_path, assert_same):
    write(tmp_path / "pkg" / "__init__.py", "print('the package')")
    write(tmp_path / "pkg" / "__main__.py", SHOWN + "\nfrom . import sub")
    write(tmp_path / "pkg" / "sub.py", SHOWN + "\nfrom .sub2 import thing")
    assert_same("-m", "pkg", "a")
    assert_same("-m", "pkg.sub", "a")
    assert_same("-m", "pkg.__main__", "a")


@pytest.mark.parametrize("arguments", [["prog.py"], ["app"], ["-m", "prog"]], ids=" ".join)
def test_safe_path(tmp_path, assert_same, arguments):
    if run(sys.executable, SAFE, "-c", "import asynchat_fast", cwd=tmp_path).returncode:
        pytest.skip(f"asynchat_fast is not installed, so that python {SAFE} does not find it")
    write(tmp_path / "prog.py", SHOWN)
    write(tmp_path / "app" / "__main__.py", SHOWN)
    assert_same(*arguments, flags=[SAFE])


@cpython
def test_inspecting_afterwards(tmp_path, assert_same):
    write(tmp_path / "prog.py", "secret = 'found'")
    assert "found" in assert_same("prog.py", flags=["-i"], input="print(secret)\n", stdin=None).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["nothing.py"], marks=cpython),
        pytest.param(["./nothing.py"], marks=cpython),
        pytest.param(["below/nothing"], marks=cpython),
        ["empty"],
        ["-m", "nothing"],
        ["-m", "nothing.below"],
        ["-m", "pkg"],
        ["-m", "pkg.nothing"],
        ["-m", "prog.py"],
        ["-m", ".prog"],
        ["-m", "broken"],
    ],
    ids=" ".join,
)
def test_nothing_to_run(tmp_path, assert_same, arguments):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "pkg" / "__init__.py", "")
    write(tmp_path / "prog.py", "")
    write(tmp_path / "broken" / "__init__.py", "1 / 0")
    write(tmp_path / "broken" / "__main__.py", "")
    assert assert_same(*arguments).returncode


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read every file, and runs these tests")
def test_unreadable_program(tmp_path, assert_same):
    write(tmp_path / "prog.py", "").chmod(0)
    assert "Permission denied" in assert_same("prog.py").stderr


@posix
@pytest.mark.parametrize("arguments", [["prog.py"], ["-m", "prog"]], ids=" ".join)
def test_interrupt(tmp_path, arguments):
    write(
        tmp_path / "prog.py",
        """
        import os
        def wait():
            print('waiting', flush=True); os.read(0, 1)
        wait()
        """,
    )
    outcomes = []
    for command in [sys.executable], SWAPPED:
        with subprocess.Popen(
            [*command, *arguments],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A process that ignores Ctrl-C, as the one that runs the tests may, has children that ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            try:
                assert process.stdout.readline() == "waiting\n"
                process.send_signal(signal.SIGINT)
                _, shown = process.communicate(timeout=30)
            finally:
                process.kill()
        # The marks below a line of the traceback depend on where in it the signal arrived.
        outcomes.append((process.returncode, [line for line in shown.splitlines() if line.strip(" ~^")]))
    theirs, ours = outcomes
    assert ours == theirs
    assert ours[0] == -signal.SIGINT


@pytest.mark.parametrize("arguments", [["prog.py"], ["-m", "prog"]], ids=" ".join)
def test_asynchat_is_asynchat_fast(tmp_path, arguments):
    write(
        tmp_path / "prog.py",
        """
        import asynchat, asyncore, asynchat_fast
        from asynchat import async_chat
        assert asynchat is asynchat_fast
        assert asynchat.asyncore is asyncore
        assert async_chat.__module__ == 'asynchat_fast.channel'
        assert issubclass(async_chat, asyncore.dispatcher)
        """,
    )
    assert outcome(run(sys.executable, "-W", "error", *SWAPPED[1:], *arguments, cwd=tmp_path)) == (0, "", "")


def test_modules_the_program_imports_are_served_too(tmp_path):
    write(tmp_path / "library.py", "import asynchat\nclass Channel(asynchat.async_chat): pass")
    write(tmp_path / "prog.py", "import library; print(library.Channel.__bases__[0].__module__)")
    assert outcome(run(*SWAPPED, "prog.py", cwd=tmp_path)) == (0, "asynchat_fast.channel\n", "")


@pytest.mark.parametrize("arguments", [["prog.py"], ["-m", "prog"]], ids=" ".join)
def test_loop(tmp_path, arguments):
    write(
        tmp_path / "prog.py",
        "import asyncore, asynchat_fast, sys; print(asyncore.loop is asynchat_fast.loop, sys.argv[1:])",
    )
    assert outcome(run(*SWAPPED, *arguments, "--loop", cwd=tmp_path)) == (0, "False ['--loop']\n", "")
    assert outcome(run(*SWAPPED, "--loop", *arguments, cwd=tmp_path)) == (0, "True []\n", "")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import asynchat", "used as asynchat by __main__"),
        ("from asynchat import async_chat as chat", "used as asynchat by __main__"),
        ("def main():\n    import asynchat\n    class Own(asynchat.async_chat): pass\n    return Own\nkept = main()",
         "used as asynchat by __main__"),
        ("import library, collections", "used as asynchat by library"),
        ("import asyncore", "not used: no module has imported asynchat"),
        ("import sys; sys.exit(3)", "not used: no module has imported asynchat"),
    ],
)  # fmt: skip
def test_verbose(tmp_path, program, said):
    write(tmp_path / "library.py", "import asynchat\nclass Channel(asynchat.async_chat): pass")
    write(tmp_path / "prog.py", f"import atexit; atexit.register(print, 'end')\n{program}")
    status, text, errors = outcome(run(*SWAPPED, "-v", "prog.py", cwd=tmp_path))
    assert (status, text) == (3 if "exit(3)" in program else 0, "end\n")
    assert errors.splitlines()[-1] == f"asynchat-fast: {said}"


@pytest.mark.parametrize("options", [["-v", "--loop"], ["--loop", "-v"]], ids=" ".join)
def test_verbose_about_the_loop(tmp_path, options):
    write(tmp_path / "prog.py", "import asyncore; asyncore.loop(map={}); asyncore.loop(map={})")
    _, _, errors = outcome(run(*SWAPPED, *options, "prog.py", cwd=tmp_path))
    assert errors.splitlines()[-1].endswith("; its loop() ran 2 times as asyncore.loop()")


def test_help(tmp_path):
    texts = {outcome(run(*SWAPPED, *arguments, cwd=tmp_path)) for arguments in ([], ["-h"], ["--help"])}
    assert len(texts) == 1
    status, text, errors = texts.pop()
    assert (status, errors) == (0, "")
    assert text.startswith("usage: asynchat-fast")
    assert max(map(len, text.splitlines())) < 100


@pytest.mark.parametrize(
    ("environment", "compiled"),
    [({}, asynchat_fast.COMPILED), ({"ASYNCHAT_FAST_NO_EXTENSIONS": "1"}, False)],
    ids=["default", "plain"],
)
def test_version(tmp_path, environment, compiled):
    status, text, errors = outcome(run(*SWAPPED, "--version", cwd=tmp_path, env=environment))
    assert (status, errors) == (0, "")
    assert f"asynchat_fast {asynchat_fast.__version__}\n" in text
    assert platform.python_version() in text
    assert ("compiled" in text, "plain Python" in text) == (compiled, not compiled)


@pytest.mark.parametrize("option", ["--help", "--version", "--benchmark"])
@pytest.mark.parametrize("flags", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_output_that_nobody_reads_is_no_error(tmp_path, option, flags):
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as output:
        command = [sys.executable, *flags, *SWAPPED[1:], option]
        process = run(*command, cwd=tmp_path, capture_output=False, stdout=output, stderr=subprocess.PIPE)
    assert (process.returncode, process.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_said_in_a_line(tmp_path):
    with open("/dev/full", "wb") as full:
        process = run(*SWAPPED, "--help", cwd=tmp_path, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert process.returncode == 1
    assert re.fullmatch("asynchat-fast: the output cannot be written: .+\n", process.stderr)


@pytest.mark.parametrize(
    "arguments", [["--nothing"], ["-x", "prog.py"], ["-"], ["-m"], ["--version", "prog.py"]], ids=" ".join
)
def test_mistaken_options(tmp_path, arguments):
    write(tmp_path / "prog.py", "print('run')")
    status, text, errors = outcome(run(*SWAPPED, *arguments, cwd=tmp_path))
    assert (status, text) == (2, "")
    assert errors.startswith("asynchat-fast: ")
    assert errors.count("\n") == 1
    assert arguments[0] in errors


@pytest.mark.parametrize(
    ("arguments", "given"),
    [(["-u", "prog.py"], "-u"), (["-W", "error", "prog.py"], "-W error"), (["-Xdev", "-m", "prog"], "-Xdev")],
)
def test_options_of_python_are_shown_their_place(tmp_path, arguments, given):
    status, text, errors = outcome(run(*SWAPPED, *arguments, cwd=tmp_path))
    assert (status, text) == (2, "")
    assert f"  python {given} -m asynchat_fast ..." in errors


@pytest.mark.parametrize("arguments", [["prog.py", "a"], ["-m", "prog", "a"]], ids=" ".join)
def test_console_script(tmp_path, arguments):
    script = shutil.which("asynchat-fast", path=Path(sys.executable).parent)
    if script is None:
        pytest.skip("the console script is not installed beside this Python")
    write(tmp_path / "prog.py", SHOWN + "\nimport asyncore\n1 / 0")
    assert outcome(run(script, *arguments, cwd=tmp_path)) == outcome(run(*SWAPPED, *arguments, cwd=tmp_path))
    shown = run(script, "--version", cwd=tmp_path).stdout
    assert shown == run(*SWAPPED, "--version", cwd=tmp_path).stdout
