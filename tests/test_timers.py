"""Timers: ``call_later()`` on the loop of any map, and the heap below it."""

import gc
import math
import random
import socket
import sys
import threading
import time
import weakref

import pytest

from asynchat_fast import SocketMap, async_chat, asyncore, call_later, loop
from asynchat_fast.eventloop.maps import kept_for
from asynchat_fast.eventloop.pollers import pollers
from asynchat_fast.eventloop.timers import Timers

PATIENCE = 10  # seconds; a wait takes milliseconds unless something hangs
A_WHILE = 0.02  # seconds

WAYS = [(SocketMap, name) for name in pollers] + [(dict, name) for name in ("poll", "select") if name in pollers]


class Chat(async_chat):
    """A channel that collects, and keeps a loop from ending."""

    def __init__(self, sock, map=None):
        super().__init__(sock, map)
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        pass

    def handle_error(self):
        raise


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0].__name__}-{way[1]}")
def map(request, monkeypatch):
    """A map with one channel, of each kind and on each poller that serves it."""
    map_class, poller = request.param
    monkeypatch.setattr(sys.modules["asynchat_fast.eventloop.reactor"], "pollers", {poller: pollers[poller]})
    channels = map_class()
    ours, theirs = socket.socketpair()
    with theirs:
        Chat(ours, channels)
        yield channels
        asyncore.close_all(channels, ignore_all=True)
        loop(map=channels)


@pytest.fixture
def later(map):
    """``call_later()`` for the map of the test."""
    return lambda seconds, callback, *args: call_later(seconds, callback, *args, map=map)


@pytest.fixture
def serve(map, later):
    """A function that serves the map until the test's last timer ends it, *seconds* from now."""

    def end():
        raise asyncore.ExitNow

    def run(seconds=A_WHILE):
        later(seconds, end)
        with pytest.raises(asyncore.ExitNow):
            loop(timeout=PATIENCE, map=map)

    return run


class TestCalls:
    def test_are_made_in_the_order_of_their_times(self, later, serve):
        made = []
        timers = {}
        for number in random.Random(1).sample(range(20), 20):
            timers[number] = later(number / 2000, made.append, number)
        serve()
        assert made == sorted(timers, key=lambda number: timers[number].when)

    def test_of_one_time_are_made_in_the_order_they_were_set(self, later, serve):
        made = []
        for number in range(20):
            later(0, made.append, number)
        serve()
        assert made == list(range(20))

    def test_are_not_made_too_early(self, later, serve):
        delays = []
        start = time.monotonic()
        for seconds in (0.001, 0.0055, 0.01):
            later(seconds, lambda seconds=seconds: delays.append(time.monotonic() - start - seconds))
        serve()
        assert len(delays) == 3
        assert all(0 <= delay < PATIENCE for delay in delays)

    def test_get_their_arguments(self, later, serve):
        made = []
        later(0, lambda *args: made.append(args), 1, "two", [3])
        serve()
        assert made == [(1, "two", [3])]

    def test_that_are_overdue_are_made_on_a_pass_without_time(self, map, later):
        made = []
        later(0, made.append, "call")
        loop(timeout=0, map=map, count=1)
        assert made == ["call"]

    def test_end_the_waiting_of_a_pass(self, map, later):
        made = []
        start = time.monotonic()
        later(A_WHILE, made.append, "call")
        while not made:
            loop(timeout=None, map=map, count=1)
        assert A_WHILE <= time.monotonic() - start < PATIENCE

    def test_wait_for_their_time_without_haste(self, map, later):
        made = []
        later(A_WHILE, made.append, "call")
        passes = 0
        while not made:
            loop(timeout=PATIENCE, map=map, count=1)
            passes += 1
        assert passes <= 3

    def test_are_called_beside_events_of_channels(self, map, later, serve):
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(b"pieces")
            channel = Chat(ours, map)
            made = []
            later(0, made.append, "call")
            serve()
        assert made == ["call"]
        assert channel.incoming == [b"pieces"]

    def test_do_not_keep_the_loop_from_ending(self, map, later):
        later(100 * PATIENCE, pytest.fail)
        asyncore.close_all(map)
        loop(map=map)

    def test_may_end_the_loop_by_closing(self, map, later):
        later(0, asyncore.close_all, map)
        loop(timeout=PATIENCE, map=map)
        assert not map

    def test_that_outlast_a_loop_are_made_by_the_next(self, map, later, serve):
        made = []
        later(0.001, made.append, "call")
        asyncore.close_all(map)
        loop(map=map)
        ours, theirs = socket.socketpair()
        with theirs:
            Chat(ours, map)
            serve()
        assert made == ["call"]

    def test_are_of_one_map(self, map, later, serve):
        other = type(map)()
        call_later(0, pytest.fail, "not the loop of this map", map=other)
        serve()

    def test_are_for_the_map_of_asyncore_unless_told(self):
        made = []
        ours, theirs = socket.socketpair()
        with theirs:
            channel = Chat(ours)
            call_later(0, made.append, "call")
            call_later(0.001, channel.close)
            loop()
        assert made == ["call"]

    def test_may_serve_a_loop_themselves(self, map, later, serve):
        made = []

        def nested():
            loop(timeout=0, map=map, count=1)
            made.append("after")

        later(0, nested)
        later(0, made.append, "due at the same time")
        serve()
        assert made == ["due at the same time", "after"]

    def test_of_a_channel_may_close_it(self, map, later, serve):
        (channel,) = map.values()
        ours, theirs = socket.socketpair()
        with theirs:
            Chat(ours, map)
            later(0, channel.close)
            serve()
        assert channel not in map.values()


class TestSettingThem:
    def test_by_a_call_is_for_a_later_pass(self, map, later):
        made = []

        def again(number):
            made.append(number)
            later(0, again, number + 1)

        later(0, again, 0)
        for passes in range(1, 4):
            loop(timeout=PATIENCE, map=map, count=1)
            assert len(made) == passes

    def test_by_a_call_starves_no_channel(self, map, later, serve):
        ours, theirs = socket.socketpair()

        def again():
            later(0, again)

        later(0, again)
        with theirs:
            channel = Chat(ours, map)
            theirs.sendall(b"pieces")
            serve()
        assert channel.incoming == [b"pieces"]

    @pytest.mark.parametrize("seconds", [-1, -1e-9, -math.inf, math.nan])
    def test_for_before_now_is_refused(self, later, seconds):
        with pytest.raises(ValueError, match=f"^seconds must .* not {seconds}$"):
            later(seconds, print)

    @pytest.mark.parametrize("seconds", [None, "1", []])
    def test_for_no_number_is_refused(self, later, seconds):
        with pytest.raises(TypeError, match=r"^seconds must be a number of seconds, not "):
            later(seconds, print)

    @pytest.mark.parametrize("callback", [None, "print", 3])
    def test_of_an_object_that_cannot_be_called_is_refused(self, later, callback):
        with pytest.raises(TypeError, match="called"):
            later(0, callback)

    @pytest.mark.parametrize("wrong", [5, "map", []])
    def test_of_a_map_that_is_none_is_refused(self, wrong):
        with pytest.raises(TypeError, match="map"):
            call_later(0, print, map=wrong)

    @pytest.mark.parametrize("seconds", [1e7, 1e300, math.inf])
    def test_for_after_all_our_days(self, map, later, seconds):
        timer = later(seconds, pytest.fail)
        (channel,) = map.values()
        channel.socket.shutdown(socket.SHUT_RD)
        loop(timeout=None, map=map, count=1)
        timer.cancel()

    @pytest.mark.parametrize("poller", list(pollers))
    def test_by_another_thread_ends_the_waiting(self, poller, monkeypatch):
        monkeypatch.setattr(sys.modules["asynchat_fast.eventloop.reactor"], "pollers", {poller: pollers[poller]})
        map = SocketMap()
        ours, theirs = socket.socketpair()
        with theirs:
            channel = Chat(ours, map)
            thread = threading.Thread(target=loop, kwargs={"timeout": 100 * PATIENCE, "map": map}, daemon=True)
            thread.start()
            for _ in range(50):
                called = threading.Event()
                call_later(0, called.set, map=map)
                assert called.wait(PATIENCE)
            call_later(0, channel.close, map=map)
            thread.join(PATIENCE)
            assert not thread.is_alive()


class TestCancelling:
    def test_is_heeded(self, later, serve):
        timer = later(0, pytest.fail)
        assert not timer.cancelled()
        timer.cancel()
        assert timer.cancelled()
        serve()

    def test_twice_or_after_the_call_does_nothing(self, later, serve):
        made = []
        timers = [later(0, made.append, number) for number in range(3)]
        timers[1].cancel()
        timers[1].cancel()
        serve()
        assert made == [0, 2]
        assert all(timer.cancelled() for timer in timers)
        for timer in timers:
            timer.cancel()
        serve()
        assert made == [0, 2]

    def test_in_a_call_of_others_due_at_the_same_time(self, later, serve):
        timers = []
        timers.append(later(0, lambda: [timer.cancel() for timer in timers]))
        timers += [later(0, pytest.fail) for _ in range(3)]
        serve()

    def test_of_the_next_one_leaves_the_others(self, map, later, serve):
        made = []
        first = later(0.001, pytest.fail)
        later(0.002, made.append, "call")
        first.cancel()
        serve()
        assert made == ["call"]

    def test_releases_its_callback(self, later):
        class Witness:
            def call(self):
                pass

        witness = Witness()
        gone = weakref.ref(witness)
        timer = later(100 * PATIENCE, witness.call)
        timer.cancel()
        del witness
        gc.collect()
        assert gone() is None

    def test_of_many_keeps_the_heap_small(self, map, later, serve):
        """Timeouts use timers so: each is set, and cancelled when the guarded event has happened."""
        made = []
        later(A_WHILE / 2, made.append, "call")
        sizes = set()
        for _ in range(10_000):
            later(100 * PATIENCE, pytest.fail).cancel()
            sizes.add(len(kept_for(map).timers.heap))
        assert max(sizes) < 200
        serve()
        assert made == ["call"]

    def test_of_most_leaves_the_others_in_their_order(self, later, serve):
        made = []
        timers = [later(number / 1e6, made.append, number) for number in range(3000)]
        random.Random(2).shuffle(timers)
        for timer in timers[:2900]:
            timer.cancel()
        serve()
        assert len(made) == 100
        assert made == sorted(made)


class TestFailures:
    def test_are_logged_and_the_loop_goes_on(self, later, serve, capsys):
        made = []

        def fail():
            raise ValueError("a mistake")

        later(0, fail)
        later(0, made.append, "call")
        serve()
        assert made == ["call"]
        said = "".join(capsys.readouterr())
        assert "a mistake" in said
        assert "ValueError" in said
        assert "fail" in said

    @pytest.mark.parametrize("ending", [asyncore.ExitNow, KeyboardInterrupt, SystemExit])
    def test_that_end_the_loop_lose_no_call(self, map, later, serve, ending):
        def end():
            raise ending

        made = []
        later(0, end)
        later(0, made.append, "call")
        with pytest.raises(ending):
            loop(timeout=PATIENCE, map=map)
        serve()
        assert made == ["call"]


class TestTimers:
    """The heap, by itself."""

    def test_counts_those_to_come(self):
        timers = Timers()
        assert len(timers) == 0
        first, second = timers.call_later(1, print), timers.call_later(2, print)
        assert len(timers) == 2
        first.cancel()
        assert len(timers) == 1
        second.cancel()
        assert len(timers) == 0

    def test_tells_when_the_next_is_due(self):
        timers = Timers()
        assert timers.seconds_to_next() == math.inf
        timers.call_later(1000, print)
        next_one = timers.call_later(500, print)
        assert 499 < timers.seconds_to_next() <= 500
        next_one.cancel()
        assert 999 < timers.seconds_to_next() <= 1000
        timers.call_later(0, print)
        assert timers.seconds_to_next() == 0

    def test_loses_none_where_threads_set_and_cancel(self):
        timers, made = Timers(), []

        def set_and_cancel(first):
            for number in range(first, first + 2000):
                for _ in range(3):
                    timers.call_later(60, pytest.fail).cancel()
                timers.call_later(0, made.append, number)

        threads = [threading.Thread(target=set_and_cancel, args=(first,)) for first in range(0, 8000, 2000)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            timers.run_due(pytest.fail)
        timers.run_due(pytest.fail)
        assert sorted(made) == list(range(8000))
        assert len(timers) == 0


class TestIdleTimeout:
    @pytest.fixture
    def connect(self, map):
        peers = []

        def make(seconds):
            class Impatient(Chat):
                idle_timeout = seconds
                timeouts = 0

                def handle_timeout(self):
                    self.timeouts += 1
                    super().handle_timeout()

            ours, theirs = socket.socketpair()
            peers.append(theirs)
            return Impatient(ours, map), theirs

        yield make
        for peer in peers:
            peer.close()

    def test_closes_a_silent_channel(self, map, connect, capsys):
        start = time.monotonic()
        channel, peer = connect(A_WHILE)
        while channel in map.values():
            loop(timeout=PATIENCE, map=map, count=1)
        assert A_WHILE <= time.monotonic() - start < PATIENCE
        assert channel.timeouts == 1
        assert peer.recv(1) == b""
        assert "idle" in capsys.readouterr().out

    def test_spares_a_channel_that_receives_or_sends(self, map, connect, later, serve):
        receiving, peer = connect(8 * A_WHILE)
        sending, _ = connect(8 * A_WHILE)
        silent, _ = connect(8 * A_WHILE)

        def work():
            peer.send(b"x")
            sending.push(b"x")
            later(A_WHILE, work)

        work()
        serve(24 * A_WHILE)
        assert (receiving.timeouts, sending.timeouts, silent.timeouts) == (0, 0, 1)

    def test_is_over_with_the_channel(self, map, connect, serve):
        channel, _ = connect(A_WHILE)
        channel.close()
        serve(2 * A_WHILE)
        assert channel.timeouts == 0
        assert len(kept_for(map).timers) == 0

    def test_may_be_survived(self, map, connect, serve):
        channel, _ = connect(A_WHILE)
        timeouts = []
        channel.handle_timeout = lambda: timeouts.append(1)
        deadline = time.monotonic() + PATIENCE
        while len(timeouts) < 2:
            assert time.monotonic() < deadline
            serve(A_WHILE)
        assert channel in map.values()

    def test_is_off_unless_asked_for(self, map, serve):
        (channel,) = map.values()
        channel.handle_timeout = pytest.fail
        serve()
        assert len(kept_for(map).timers) == 0
