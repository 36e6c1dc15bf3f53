"""``install()`` and ``uninstall()``: the module that ``import asynchat`` gives, and the state that stays."""

import importlib
import subprocess
import sys
import types
import warnings

import pytest

import asynchat_fast


@pytest.fixture(autouse=True)
def nothing_imported(monkeypatch):
    """No asynchat has been imported before the test, and none stays after it."""
    asynchat_fast.uninstall()
    monkeypatch.delitem(sys.modules, "asynchat", raising=False)
    yield
    asynchat_fast.uninstall()


@pytest.fixture
def another(monkeypatch):
    """Another asynchat, imported before."""
    module = types.ModuleType("asynchat")
    monkeypatch.setitem(sys.modules, "asynchat", module)
    return module


@pytest.fixture
def another_loop(monkeypatch):
    """The loop of asyncore, known from ours."""
    monkeypatch.setattr(asynchat_fast.asyncore, "loop", lambda *args, **options: None)
    yield asynchat_fast.asyncore.loop
    asynchat_fast.uninstall()


def test_import_means_asynchat_fast():
    asynchat_fast.install()
    import asynchat
    from asynchat import async_chat, find_prefix_at_end, simple_producer

    assert asynchat is asynchat_fast
    assert async_chat is asynchat_fast.async_chat
    assert simple_producer is asynchat_fast.simple_producer
    assert find_prefix_at_end is asynchat_fast.find_prefix_at_end
    assert importlib.import_module("asynchat") is asynchat_fast


def test_there_is_one_asyncore():
    import asyncore

    asynchat_fast.install()
    import asynchat

    assert asynchat.asyncore is asyncore is sys.modules["asyncore"]


def test_install_does_not_warn_and_may_be_repeated():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asynchat_fast.install()
        asynchat_fast.install()
    asynchat_fast.uninstall()
    assert "asynchat" not in sys.modules


def test_install_warns_of_a_module_imported_before(another):
    with pytest.warns(RuntimeWarning, match="another asynchat was imported before") as caught:
        asynchat_fast.install()
    assert [warning.filename for warning in caught] == [__file__]
    assert sys.modules["asynchat"] is asynchat_fast


@pytest.mark.filterwarnings("ignore:another asynchat:RuntimeWarning")
def test_uninstall_restores_the_module_imported_before(another):
    asynchat_fast.install()
    asynchat_fast.install()
    asynchat_fast.uninstall()
    assert sys.modules["asynchat"] is another


def test_uninstall_does_nothing_without_install(another):
    asynchat_fast.uninstall()
    assert sys.modules["asynchat"] is another


def test_uninstall_leaves_a_module_set_after_install_alone(monkeypatch):
    asynchat_fast.install()
    later = types.ModuleType("asynchat")
    monkeypatch.setitem(sys.modules, "asynchat", later)
    asynchat_fast.uninstall()
    assert sys.modules["asynchat"] is later


@pytest.mark.filterwarnings("ignore:another asynchat:RuntimeWarning")
def test_install_anew_after_uninstall(another):
    asynchat_fast.install()
    asynchat_fast.uninstall()
    del sys.modules["asynchat"]
    asynchat_fast.install()
    assert sys.modules["asynchat"] is asynchat_fast
    asynchat_fast.uninstall()
    assert "asynchat" not in sys.modules


def test_install_leaves_the_loop_alone_unless_asked(another_loop):
    asynchat_fast.install()
    assert asynchat_fast.asyncore.loop is another_loop


def test_install_with_the_loop(another_loop):
    asynchat_fast.install(loop=True)
    asynchat_fast.install(loop=True)
    asynchat_fast.install()
    assert asynchat_fast.asyncore.loop is asynchat_fast.loop
    asynchat_fast.uninstall()
    assert asynchat_fast.asyncore.loop is another_loop


def test_install_of_the_loop_may_follow(another_loop):
    asynchat_fast.install()
    asynchat_fast.install(loop=True)
    assert asynchat_fast.asyncore.loop is asynchat_fast.loop
    asynchat_fast.uninstall()
    assert asynchat_fast.asyncore.loop is another_loop
    assert "asynchat" not in sys.modules


def test_importing_asynchat_fast_swaps_nothing():
    program = "import sys, asynchat_fast; print('asynchat' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert printed == "False\n"
