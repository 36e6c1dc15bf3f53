"""``import asynchat_fast``: the names it offers, the modules it imports, and its warning about slowness."""

import importlib
import inspect
import os
import platform
import re
import shutil
import sys
from collections import deque
from pathlib import Path

import pytest

import asynchat_fast

ON_CPYTHON = platform.python_implementation() == "CPython"


PUBLIC = {
    name
    for name in dir(asynchat_fast)
    if not name.startswith("_")
    and name not in ("TYPE_CHECKING", "Any")
    and not inspect.ismodule(getattr(asynchat_fast, name))
}


def test_a_star_import_brings_the_names_of_asynchat_and_no_others():
    """A program that did the same with asyncore before keeps the loop() from there."""
    namespace = {}
    exec("from asyncore import *; theirs = loop; from asynchat_fast import *", namespace)
    assert namespace["loop"] is namespace["theirs"]
    documented = {"async_chat", "simple_producer", "fifo", "find_prefix_at_end", "asyncore", "deque"}
    assert set(asynchat_fast.__all__) == documented
    assert all(namespace[name] is getattr(asynchat_fast, name) for name in documented)
    assert asynchat_fast.deque is deque


def test_all_public_names_are_there():
    assert {"COMPILED", "InputBuffer", "call_later", "install", "loop", "uninstall"} <= PUBLIC
    assert {"chat_client", "chat_server"} <= PUBLIC
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", asynchat_fast.__version__)


def test_asyncore_is_the_one_and_only():
    """A program has one socket_map, in whichever order its modules are imported."""
    assert asynchat_fast.asyncore is sys.modules["asyncore"]
    assert asynchat_fast.asyncore is importlib.import_module("asyncore")
    assert issubclass(asynchat_fast.async_chat, asynchat_fast.asyncore.dispatcher)


@pytest.mark.parametrize("first", ["asyncore", "asynchat_fast"])
def test_asyncore_is_the_same_whichever_is_imported_first(run_python, first):
    code = f"""
import warnings
warnings.simplefilter("ignore")
import {first}
import asyncore, asynchat_fast, sys
assert asynchat_fast.asyncore is asyncore is sys.modules["asyncore"]
"""
    process = run_python("-c", code)
    assert process.returncode == 0, process.stderr


def test_a_missing_asyncore_is_an_error_that_says_how_to_mend_it(run_python):
    """Another package that owns the folder asyncore/ takes it along when it is uninstalled, and pip notices nothing."""
    process = run_python("-c", "import sys; sys.modules['asyncore'] = None; import asynchat_fast")
    assert process.returncode == 1
    *_, said = process.stderr.splitlines()
    assert said.startswith("ModuleNotFoundError: asynchat_fast needs asyncore")
    assert "pip install --force-reinstall pyasyncore" in said


def test_public_classes_are_python_classes():
    """Programs patch classes of the package, and compiled ones could not be patched."""
    for kind in (asynchat_fast.async_chat, asynchat_fast.simple_producer, asynchat_fast.fifo):
        kind.a_programs_own = 1
        assert kind.a_programs_own == 1
        del kind.a_programs_own


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("ac_in_buffer_size", None),
        ("close_when_done", "()"),
        ("collect_incoming_data", "(data)"),
        ("discard_buffers", "()"),
        ("found_terminator", "()"),
        ("get_terminator", "()"),
        ("handle_close", "()"),
        ("handle_overlong_payload", "()"),
        ("handle_read", "()"),
        ("handle_write", "()"),
        ("initiate_send", "()"),
        ("push", "(data)"),
        ("push_with_producer", "(producer)"),
        ("readable", "()"),
        ("set_terminator", "(term)"),
        ("writable", "()"),
        ("_collect_incoming_data", "(data)"),
        ("_get_data", "()"),
    ],
)
def test_members_of_a_channel(name, signature):
    member = getattr(asynchat_fast.async_chat(map={}), name)
    if signature is None:
        assert not callable(member)
        return
    parameters = [each.replace(annotation=each.empty) for each in inspect.signature(member).parameters.values()]
    assert str(inspect.Signature(parameters)) == signature
    assert callable(getattr(asynchat_fast.async_chat, name))
    assert name.startswith("_") or inspect.getdoc(member)


def test_signatures_of_the_constructors():
    def defaults(kind):
        return {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}

    assert defaults(asynchat_fast.async_chat) == {"sock": None, "map": None, "conn": None}
    assert defaults(asynchat_fast.simple_producer) == {"data": inspect.Parameter.empty, "buffer_size": 512}
    assert defaults(asynchat_fast.fifo) == {"list": None}


def test_public_names_are_documented():
    for name in PUBLIC - {"InputBuffer"}:  # whose documentation is in its stub
        thing = getattr(asynchat_fast, name)
        assert inspect.getdoc(thing), name


def test_importing_takes_nothing_heavy_with_it(run_python):
    code = """
import sys, warnings
warnings.simplefilter("ignore")
import asyncore
before = set(sys.modules)
import asynchat_fast
heavy = {"ssl", "asyncio", "http", "email", "logging", "multiprocessing", "inspect"}
print(*sorted(heavy & (set(sys.modules) - before)))
"""
    process = run_python("-c", code)
    assert (process.returncode, process.stdout.strip()) == (0, ""), process.stderr


def test_a_channel_converses_without_ssl(run_python):
    """Would-block errors of TLS sockets are recognised without an import of ssl, which is slow."""
    code = """
import socket, sys
import asynchat_fast
channel = asynchat_fast.async_chat(map={})
channel.connected = True
channel.handle_error = lambda: print("error")
channel.recv = channel.send = lambda argument: (_ for _ in ()).throw(OSError("broken"))
channel.handle_read()
channel.push(b"bytes")
assert "ssl" not in sys.modules
"""
    process = run_python("-W", "error", "-c", code, ASYNCHAT_FAST_NO_EXTENSIONS="1")
    assert (process.returncode, process.stdout.split()) == (0, ["error", "error"]), process.stderr


# Which InputBuffer runs, and the warning about it

TELL = """
import asynchat_fast
print(asynchat_fast.COMPILED, asynchat_fast.InputBuffer.__module__)
assert asynchat_fast.find_prefix_at_end.__module__ in (asynchat_fast.InputBuffer.__module__, None)
"""


# An editable install leads back to the modules compiled in its tree.
TELL_BY_PATH = (
    """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, PathFinder]
"""
    + TELL
)


def test_compiled_says_which_one_runs():
    module = "_framing" if asynchat_fast.COMPILED else "framing"
    chosen = importlib.import_module(f"asynchat_fast.{module}")
    assert asynchat_fast.InputBuffer is chosen.InputBuffer
    assert asynchat_fast.find_prefix_at_end is chosen.find_prefix_at_end
    assert asynchat_fast.framing.COMPILED is asynchat_fast.COMPILED


@pytest.mark.skipif(not ON_CPYTHON, reason="the compiled module is for CPython")
@pytest.mark.parametrize("setting", [{}, {"ASYNCHAT_FAST_NO_EXTENSIONS": ""}, {"ASYNCHAT_FAST_NO_EXTENSIONS": "0"}])
def test_the_compiled_one_runs_where_it_has_been_built(run_python, setting):
    pytest.importorskip("asynchat_fast._framing", reason="the compiled module has not been built for this Python")
    process = run_python("-W", "error", "-c", TELL, **setting)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["True", "asynchat_fast._framing"]


def test_the_plain_one_runs_without_a_warning_where_it_is_asked_for(run_python):
    process = run_python("-W", "error", "-c", TELL, ASYNCHAT_FAST_NO_EXTENSIONS="1")
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["False", "asynchat_fast.framing"]
    assert process.stderr == ""


@pytest.fixture
def uncompiled(tmp_path):
    """The folder of a package like this one without its compiled module, as a source tree is."""
    package = Path(asynchat_fast.__file__).parent
    away = shutil.ignore_patterns("*.so", "*.pyd", "*.c", "__pycache__", "_plain_build.py")
    shutil.copytree(package, tmp_path / "uncompiled" / "asynchat_fast", ignore=away)
    return tmp_path / "uncompiled"


def test_a_missing_compiled_module_is_warned_of_on_cpython(run_python, uncompiled):
    process = run_python("-W", "always::RuntimeWarning", "-c", TELL_BY_PATH, path=uncompiled)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["False", "asynchat_fast.framing"]
    assert ("RuntimeWarning" in process.stderr) == ON_CPYTHON
    assert ("ASYNCHAT_FAST_NO_EXTENSIONS=1" in process.stderr) == ON_CPYTHON
    if ON_CPYTHON:
        process = run_python("-W", "error::RuntimeWarning", "-c", TELL_BY_PATH, path=uncompiled)
        assert process.returncode == 1


def test_a_missing_compiled_module_is_right_where_plain_python_is_asked_for(run_python, uncompiled):
    process = run_python("-W", "error", "-c", TELL_BY_PATH, path=uncompiled, ASYNCHAT_FAST_NO_EXTENSIONS="1")
    assert (process.returncode, process.stderr) == (0, "")


def test_a_package_that_was_built_to_be_plain_is_silent(run_python, uncompiled):
    (uncompiled / "asynchat_fast" / "_plain_build.py").touch()
    process = run_python("-W", "error", "-c", TELL_BY_PATH, path=uncompiled)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.split() == ["False", "asynchat_fast.framing"]


@pytest.mark.parametrize("broken", ["raise ImportError('undefined symbol')", "import what_it_needs_but_is_not_there"])
def test_a_broken_compiled_module_is_an_error(run_python, uncompiled, broken):
    """A module that cannot be loaded must not be taken for one that was not built."""
    (uncompiled / "asynchat_fast" / "_framing.py").write_text(broken)
    process = run_python("-c", TELL_BY_PATH, path=uncompiled)
    assert process.returncode == 1
    assert "ImportError: undefined symbol" in process.stderr or "what_it_needs_but_is_not_there" in process.stderr


def test_this_run_is_not_silently_slow():
    """On CPython the suite runs on the compiled one, unless the environment says otherwise."""
    if not ON_CPYTHON or os.environ.get("ASYNCHAT_FAST_NO_EXTENSIONS", "0") not in ("", "0"):
        assert not asynchat_fast.COMPILED
    else:
        assert asynchat_fast.COMPILED, "build the extension, or set ASYNCHAT_FAST_NO_EXTENSIONS=1"
