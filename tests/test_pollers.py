"""The pollers, each by itself: registrations stay, and all report events by the same flags."""

import contextlib
import errno
import os
import socket
import threading
import time

import pytest

from asynchat_fast.eventloop import pollers as pollers_module
from asynchat_fast.eventloop.pollers import ERROR, HANGUP, INVALID, READ, URGENT, WRITE, pollers

PATIENCE = 10  # seconds; a wait takes milliseconds unless something hangs
A_WHILE = 0.05  # seconds

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs pipes that a poller serves, as POSIX has them")


@pytest.fixture(params=list(pollers))
def poller(request):
    """Each poller that this system has."""
    poller = pollers[request.param]()
    yield poller
    poller.close()


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def fill(sock):
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)


def test_best_comes_first():
    assert list(pollers) == [name for name in ("epoll", "kqueue", "poll", "select") if name in pollers]
    assert "select" in pollers


def test_reading(poller, pair):
    ours, theirs = pair
    poller.set(ours.fileno(), READ | URGENT)
    assert poller.poll(0) == []
    theirs.send(b"piece")
    assert poller.poll(PATIENCE) == [(ours.fileno(), READ)]


def test_data_not_taken_are_reported_again(poller, pair):
    ours, theirs = pair
    poller.set(ours.fileno(), READ)
    theirs.send(b"piece")
    for _ in range(3):
        assert poller.poll(PATIENCE) == [(ours.fileno(), READ)]
    ours.recv(100)
    assert poller.poll(0) == []


def test_writing(poller, pair):
    ours, _ = pair
    poller.set(ours.fileno(), WRITE)
    assert poller.poll(PATIENCE) == [(ours.fileno(), WRITE)]
    fill(ours)
    assert poller.poll(0) == []


def test_reading_and_writing(poller, pair):
    ours, theirs = pair
    theirs.send(b"piece")
    poller.set(ours.fileno(), READ | URGENT | WRITE)
    assert poller.poll(PATIENCE) == [(ours.fileno(), READ | WRITE)]


@pytest.mark.parametrize(
    ("first", "second"),
    [(READ, WRITE), (WRITE, READ), (READ | WRITE, READ), (READ | WRITE, WRITE), (READ, READ | WRITE)],
)
def test_change_of_interest(poller, pair, first, second):
    ours, theirs = pair
    theirs.send(b"piece")
    poller.set(ours.fileno(), first)
    assert poller.poll(PATIENCE) == [(ours.fileno(), first)]
    poller.set(ours.fileno(), second)
    assert poller.poll(PATIENCE) == [(ours.fileno(), second)]


def test_nothing_any_more(poller, pair):
    ours, theirs = pair
    poller.set(ours.fileno(), READ)
    poller.set(ours.fileno(), 0)
    theirs.send(b"piece")
    assert poller.poll(0) == []
    poller.set(ours.fileno(), 0)  # again, which must be harmless
    poller.set(ours.fileno(), READ)
    assert poller.poll(PATIENCE) == [(ours.fileno(), READ)]


def test_several(poller):
    pairs = [socket.socketpair() for _ in range(10)]
    try:
        for ours, _ in pairs:
            poller.set(ours.fileno(), READ)
        for _, theirs in pairs[::2]:
            theirs.send(b"piece")
        assert sorted(poller.poll(PATIENCE)) == [(ours.fileno(), READ) for ours, _ in pairs[::2]]
    finally:
        for pair in pairs:
            for sock in pair:
                sock.close()


def test_peer_that_has_gone(poller, pair):
    ours, theirs = pair
    poller.set(ours.fileno(), READ)
    theirs.close()
    ((fd, mask),) = poller.poll(PATIENCE)
    assert fd == ours.fileno()
    assert mask & READ
    assert not mask & (WRITE | URGENT | INVALID)


def test_peer_that_has_gone_where_only_writing_is_waited_for(poller, pair):
    ours, theirs = pair
    fill(ours)
    poller.set(ours.fileno(), WRITE)
    theirs.close()
    ((fd, mask),) = poller.poll(PATIENCE)
    assert fd == ours.fileno()
    assert mask & (WRITE | HANGUP | ERROR)


def test_urgent_data(poller):
    if "Kqueue" in type(poller).__name__:
        pytest.skip("kqueue tells nothing of urgent data")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as server,
    ):
        poller.set(server.fileno(), READ | URGENT)
        client.send(b"!", socket.MSG_OOB)
        assert poller.poll(PATIENCE) == [(server.fileno(), URGENT)]


@pytest.mark.parametrize("name", [name for name in ("epoll",) if name in pollers])
def test_a_thread_may_forget_a_descriptor_while_the_loop_closes(name, pair):
    class Closes(dict):
        def pop(self, *args):
            poller.close()  # as the thread of the loop does between two steps of this one
            return super().pop(*args)

    poller = pollers[name]()
    poller.set(pair[0].fileno(), READ)
    poller.poll(0)
    poller._always = Closes()
    poller.set(pair[0].fileno(), 0)
    assert poller.masks == {}


def test_closed_descriptor_is_told_or_refused(poller, pair):
    ours, _ = pair
    fd = ours.fileno()
    ours.close()
    try:
        poller.set(fd, READ)
    except OSError:
        return
    assert poller.poll(0) == [(fd, INVALID)]
    poller.set(fd, 0)
    assert poller.poll(0) == []


def test_descriptor_closed_while_waited_for_disturbs_no_other(poller, pair):
    ours, theirs = pair
    first, second = socket.socketpair()
    fd = first.fileno()
    poller.set(fd, READ)
    poller.set(ours.fileno(), READ)
    first.close()
    second.close()
    theirs.send(b"piece")
    deadline = time.monotonic() + PATIENCE
    while (ours.fileno(), READ) not in (happened := poller.poll(PATIENCE)):
        assert happened == [(fd, INVALID)]
        assert time.monotonic() < deadline
        poller.set(fd, 0)


@posix_only
def test_descriptor_that_is_open_again(poller, pair):
    ours, theirs = pair
    first, second = socket.socketpair()
    second.close()
    fd = first.fileno()
    poller.set(fd, READ)
    first.close()
    os.dup2(ours.fileno(), fd)
    try:
        poller.set(fd, READ | WRITE)
        theirs.send(b"piece")
        assert poller.poll(PATIENCE) == [(fd, READ | WRITE)]
        poller.set(fd, 0)
        assert poller.poll(0) == []
    finally:
        os.close(fd)


@posix_only
def test_regular_file_is_always_ready(poller, tmp_path):
    with (tmp_path / "file").open("w+b") as file:
        poller.set(file.fileno(), READ | URGENT)
        for _ in range(2):
            assert poller.poll(PATIENCE) == [(file.fileno(), READ)]
        poller.set(file.fileno(), READ | URGENT | WRITE)
        assert poller.poll(None) == [(file.fileno(), READ | WRITE)]
        poller.set(file.fileno(), 0)
        assert poller.poll(0) == []


@posix_only
def test_regular_file_beside_a_socket(poller, pair, tmp_path):
    ours, theirs = pair
    with (tmp_path / "file").open("w+b") as file:
        poller.set(file.fileno(), WRITE)
        poller.set(ours.fileno(), READ)
        theirs.send(b"piece")
        assert sorted(poller.poll(PATIENCE)) == sorted([(file.fileno(), WRITE), (ours.fileno(), READ)])
        poller.set(file.fileno(), 0)


@posix_only
def test_pipe_whose_writer_has_gone(poller):
    near, far = os.pipe()
    try:
        poller.set(near, READ)
        os.close(far)
        ((fd, mask),) = poller.poll(PATIENCE)
        assert fd == near
        assert mask & (READ | HANGUP)
    finally:
        os.close(near)


@pytest.mark.parametrize("seconds", [A_WHILE, 0.0011, 0.0001])
def test_waits_as_long_as_told_and_not_less(poller, pair, seconds):
    poller.set(pair[0].fileno(), READ)
    start = time.monotonic()
    assert poller.poll(seconds) == []
    assert seconds * 0.99 <= time.monotonic() - start < PATIENCE


def test_waits_with_nothing_to_wait_for(poller):
    start = time.monotonic()
    assert poller.poll(A_WHILE) == []
    assert A_WHILE * 0.99 <= time.monotonic() - start < PATIENCE


def test_waits_for_any_time(poller, pair):
    ours, theirs = pair
    poller.set(ours.fileno(), READ)
    sending = threading.Timer(A_WHILE, theirs.send, (b"piece",))
    sending.start()
    assert poller.poll(None) == [(ours.fileno(), READ)]
    sending.join()


def test_select_takes_a_number_that_was_closed_and_opened_again_meanwhile_for_open(pair, monkeypatch):
    """Another thread may close it after its registration is looked up and before the poller waits."""
    ours, theirs = pair
    poller = pollers["select"]()
    poller.set(ours.fileno(), READ)
    theirs.send(b"piece")
    select = pollers_module.select.select

    def meets_it_closed(*args):
        monkeypatch.setattr(pollers_module.select, "select", select)
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(pollers_module.select, "select", meets_it_closed)
    assert poller.poll(PATIENCE) == []
    assert poller.poll(PATIENCE) == [(ours.fileno(), READ)]
