"""Random opens, closes and pushes, also in callbacks, on descriptors that are used again and again.

Once nothing happens any more, each open channel has received all that its peer sent,
the peer all that was pushed, closed channels have had no events since, and passes wait.
"""

import contextlib
import socket
import sys
import time
from collections import deque

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from asynchat_fast import SocketMap, async_chat, asyncore, loop
from asynchat_fast.eventloop.pollers import pollers

WAYS = [(SocketMap, name) for name in pollers] + [(dict, name) for name in ("poll", "select") if name in pollers]
A_MOMENT = 0.002  # seconds that a pass with nothing to do has to wait

acts = st.sampled_from(
    [
        "append",
        "close",
        "close_when_done",
        "nested_pass",
        "open",
        "pause_or_resume",
        "peer_closes",
        "peer_sends",
        "push",
        "reconnect",
        "replace",
    ]
)
which = st.integers(0, 10)  # of those that are open, counted round and round
sizes = st.sampled_from([1, 100, 400_000])


class Partner:
    """Base of both kinds of channels: a peer, and a record of the data that went each way."""

    def begin(self, machine, peer, is_paused=False):
        self.machine = machine
        self.begun_in = machine.step
        self.peer = peer
        self.received, self.pushed = bytearray(), bytearray()  # by the channel
        self.sent, self.got = bytearray(), bytearray()  # by the peer
        self.is_open = True
        self.is_paused = is_paused
        self.is_ending = False
        self.was_cut = False  # it closed, or its peer did, with something on the way

    @staticmethod
    def numbered(start, size):
        """Return bytes that tell where in a stream they are from."""
        return bytes(number & 0xFF for number in range(start, start + min(size, 1000))).ljust(size, b"x")

    def note_push(self, size):
        data = self.numbered(len(self.pushed), size)
        self.pushed += data
        return data

    def take(self, data):
        assert self.is_open, "a channel that was closed has received"
        if self.is_paused:
            assert self.paused_in == self.machine.step, "a channel that was not readable has received"
        self.received += data
        self.machine.happened += 1
        if self.machine.plans:
            self.machine.do(*self.machine.plans.popleft())

    def handle_close(self):
        assert self.is_open, "a channel that was closed is told to close"
        self.machine.happened += 1
        self.close()

    def close(self):
        self.is_open = False
        super().close()

    def handle_error(self):
        # A plain dict does not tell that the same object is back on the same number, with an event in hand.
        error = sys.exc_info()[1]
        is_known = isinstance(error, BlockingIOError) and type(self.machine.map) is dict
        if not (is_known and self.begun_in == self.machine.step):
            raise


class Chat(Partner, async_chat):
    """A channel that reports changes of its interest to the loop."""

    def __init__(self, sock, map, machine, peer):
        super().__init__(sock, map)
        self.set_terminator(None)
        self.begin(machine, peer)

    def collect_incoming_data(self, data):
        self.take(data)

    def say(self, data):
        self.push(data)

    def forget_output(self):
        self.discard_buffers()

    def pause(self):
        self.readable = lambda: False
        self._ac_report()

    def resume(self):
        del self.readable
        self._ac_report()


class Foreign(Partner, asyncore.dispatcher_with_send):
    """A dispatcher that the loop asks in each pass."""

    def __init__(self, sock, map, machine, peer):
        super().__init__(sock, map)
        self.begin(machine, peer)

    def readable(self):
        return not self.is_paused

    def handle_read(self):
        data = self.recv(1 << 20)
        if data:
            self.take(data)

    def say(self, data):
        self.send(data)

    def forget_output(self):
        self.out_buffer = b""

    def pause(self):
        pass

    resume = pause


kinds = st.sampled_from([Chat, Foreign])


class Machine(RuleBasedStateMachine):
    map_class = dict

    def __init__(self):
        super().__init__()
        self.map = self.map_class()
        self.all = []
        self.plans = deque()  # actions of the next callbacks
        self.happened = 0
        self.step = 0

    @initialize(channel_classes=st.lists(kinds, min_size=1, max_size=5))
    def begin(self, channel_classes):
        for channel_class in channel_classes:
            self.open(0, 0, channel_class)

    def teardown(self):
        self.settle()
        asyncore.close_all(self.map, ignore_all=True)
        loop(map=self.map)
        for channel in self.all:
            channel.peer.close()

    @property
    def open_ones(self):
        return [channel for channel in self.all if channel.is_open]

    def pick(self, number):
        return self.open_ones[number % len(self.open_ones)]

    # Actions on a channel, between passes and in callbacks.

    def open(self, number, size, channel_class):
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.all.append(channel_class(ours, self.map, self, theirs))

    def close(self, number, size, channel_class):
        channel = self.pick(number)
        channel.was_cut = True
        channel.close()

    def replace(self, number, size, channel_class):
        self.close(number, size, channel_class)
        self.open(number, size, channel_class)

    def reconnect(self, number, size, channel_class):
        """The same object on another socket, whose number is likely the same."""
        channel = self.pick(number)
        channel.forget_output()
        channel.close() if size == 1 else channel.socket.close()
        channel.peer.close()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        ours.setblocking(False)
        if channel._fileno not in (None, ours.fileno()):
            channel.del_channel()
        channel.begin(self, theirs, channel.is_paused)
        channel.set_socket(ours)
        channel.connected = True

    def push(self, number, size, channel_class):
        channel = self.pick(number)
        if not channel.is_ending:
            channel.say(channel.note_push(size))

    def append(self, number, size, channel_class):
        channel = self.pick(number)
        if isinstance(channel, Chat) and not channel.is_ending:
            channel.producer_fifo.append(channel.note_push(size))

    def close_when_done(self, number, size, channel_class):
        channel = self.pick(number)
        if isinstance(channel, Chat):
            channel.is_ending = channel.was_cut = True
            channel.close_when_done()

    def pause_or_resume(self, number, size, channel_class):
        channel = self.pick(number)
        if channel.is_paused:
            channel.is_paused = False
            channel.resume()
        else:
            channel.is_paused, channel.paused_in = True, self.step
            channel.pause()

    def peer_sends(self, number, size, channel_class):
        channel = self.pick(number)
        with contextlib.suppress(OSError):
            data = channel.numbered(len(channel.sent), size)
            channel.sent += data[: channel.peer.send(data)]

    def peer_closes(self, number, size, channel_class):
        channel = self.pick(number)
        channel.is_ending = channel.was_cut = True
        channel.peer.close()

    def nested_pass(self, number, size, channel_class):
        self.one_pass()

    def do(self, act, *args):
        if self.open_ones or act == "open":
            getattr(self, act)(*args)

    @rule(act=acts, number=which, size=sizes, channel_class=kinds)
    def do_now(self, act, number, size, channel_class):
        self.step += 1
        self.do(act, number, size, channel_class)

    @rule(plans=st.lists(st.tuples(acts, which, sizes, kinds), max_size=6), count=st.integers(1, 3))
    def do_in_callbacks(self, plans, count):
        """Have all peers send, and the next callbacks take the planned actions."""
        self.step += 1
        self.plans.extend(plans)
        for number in range(len(self.open_ones)):
            self.peer_sends(number, 4, None)
        loop(timeout=0, map=self.map, count=count)

    # The loop, and its invariants.

    def one_pass(self, timeout=0):
        loop(timeout=timeout, map=self.map, count=1)

    @rule()
    def settle(self):
        self.step += 1
        idle_rounds = 0
        for _ in range(1000):
            before = self.happened
            for channel in self.all:
                self.read(channel)
            self.one_pass()
            idle_rounds = 0 if self.happened > before else idle_rounds + 1
            if idle_rounds == 2:
                break
        else:
            pytest.fail("things go on happening")
        self.verify()

    def read(self, channel):
        with contextlib.suppress(OSError):
            while data := channel.peer.recv(1 << 20):
                channel.got += data
                self.happened += 1

    def verify(self):
        assert set(self.map.values()) == set(self.open_ones)
        for channel in self.all:
            if not channel.was_cut:
                assert channel.got == channel.pushed
                assert channel.received == channel.sent or channel.is_paused
            assert channel.pushed.startswith(channel.got)
            assert channel.sent.startswith(channel.received)
            if channel.is_ending and not channel.is_paused:
                assert not channel.is_open
        if self.map:
            assert self.waits()

    def waits(self):
        for _ in range(10):
            start = time.monotonic()
            self.one_pass(A_MOMENT)
            if time.monotonic() - start > 0.5 * A_MOMENT:
                return True
        return False


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way[0].__name__}-{way[1]}")
def test_random_lives(way, monkeypatch):
    map_class, poller = way
    monkeypatch.setattr(sys.modules["asynchat_fast.eventloop.reactor"], "pollers", {poller: pollers[poller]})
    machine = type("Machine", (Machine,), {"map_class": map_class})
    fewer = settings(
        max_examples=settings().max_examples // 8,
        stateful_step_count=30,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
    )
    run_state_machine_as_test(machine, settings=fewer)
