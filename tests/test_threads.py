"""The promises of docs/threads.md to threads that share an object; they are hardest to keep without the GIL."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from asynchat_fast.conversation import Conversation
from asynchat_fast.eventloop.timers import Timers
from asynchat_fast.events import Interrupted

THREADS = 4
ROUNDS = 300


def at_once(*functions):
    """Call each function in a thread of its own, all from the same moment on; return their results."""
    barrier = threading.Barrier(len(functions))

    def begin(function):
        barrier.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(begin, functions))


@pytest.fixture
def compiled():
    return pytest.importorskip("asynchat_fast._framing", reason="the compiled module has not been built")


@pytest.fixture
def compiled_events():
    return pytest.importorskip("asynchat_fast._events", reason="the compiled module has not been built")


def test_a_compiled_buffer_gives_each_line_once(compiled):
    """Every method is one step: threads that feed whole lines get whole lines."""
    buffer = compiled.InputBuffer(b"\n")

    def feed_and_take(name):
        taken = []
        for number in range(ROUNDS):
            buffer.feed(b"%d:%d\n%d:%d.\n" % (name, number, name, number))
            taken += buffer
        return taken

    taken = at_once(*(lambda name=name: feed_and_take(name) for name in range(THREADS)))
    expected = [
        b"%d:%d%s" % (name, number, end) for name in range(THREADS) for number in range(ROUNDS) for end in (b"", b".")
    ]
    assert sorted(sum(taken, [*buffer])) == sorted(expected)


def test_a_compiled_event_buffer_gives_each_line_once(compiled_events):
    buffer = compiled_events.EventBuffer()
    buffer.terminator = b"\n"

    def feed_and_pull(name):
        for number in range(ROUNDS):
            yield from buffer.feed(b"%d:%d\n%d:%d.\n" % (name, number, name, number))

    events = sum(at_once(*(lambda name=name: [*feed_and_pull(name)] for name in range(THREADS))), [*buffer])
    expected = [
        b"%d:%d%s" % (name, number, end) for name in range(THREADS) for number in range(ROUNDS) for end in (b"", b".")
    ]
    assert sorted(event for event in events if event is not None) == sorted(expected)
    assert events.count(None) == len(expected)
    assert buffer.unread == b""


def fresh(data):
    """Return *data* as an object to which the buffer has the only reference."""
    return b"".join([data[:1], data[1:]])


def often(function):
    for _ in range(ROUNDS):
        function()


def test_a_buffer_survives_whatever_threads_do_to_it(framing):
    """The resulting bytes are undefined, but the interpreter must not crash."""
    buffer = framing.InputBuffer(b"\r\n", 50)

    def feed():
        buffer.feed(fresh(b"line\r\n.\r\n\r" * 9))
        buffer.unread = fresh(b"other\r\nrest")

    def take():
        next(buffer, None)
        buffer.take_partial()
        buffer.overlong = False

    def change():
        for terminator in (fresh(b"\r\n.\r\n"), bytearray(b"\r"), 3, None, fresh(b"\r\n")):
            buffer.set_terminator(terminator, 5, terminator == 3)

    def look():
        assert len(buffer) >= 0
        assert type(buffer.unread) is bytes
        assert buffer.terminator is None or buffer.terminator != b"never"
        assert buffer.fed >= 0

    at_once(*(lambda function=function: often(function) for function in (feed, take, change, look)))
    buffer.set_terminator(b"\n")
    buffer.unread = b"whole\n"
    assert list(buffer) == [b"whole"]


def test_an_event_buffer_survives_whatever_threads_do_to_it(framing):
    buffer = framing.EventBuffer()

    def feed():
        buffer.feed(fresh(b"line\r\n.\r\n\r" * 9))
        buffer.unread = fresh(b"other\r\nrest")

    def pull():
        try:
            next(buffer, None)
        except Interrupted:
            buffer.overlong = False
        buffer.undo()

    def change():
        for terminator in (fresh(b"\r\n.\r\n"), bytearray(b"\r"), 3, None, fresh(b"\r\n")):
            buffer.terminator = terminator
        buffer.set_options(5, True)
        buffer.interrupt()
        buffer.hold("text")
        buffer.unset()
        buffer.set_options(None, False)

    def look():
        assert len(buffer) >= 0
        assert type(buffer.unread) is bytes
        assert getattr(buffer, "terminator", None) != b"never"
        assert buffer.fed >= 0

    at_once(*(lambda function=function: often(function) for function in (feed, pull, change, look)))
    buffer.undo()
    buffer.terminator = None
    buffer.terminator = b"\n"
    buffer.unread = b"whole\n"
    buffer.overlong = False
    with contextlib.suppress(Interrupted):  # the last one asked for
        next(buffer)
        buffer.undo()
    assert list(buffer) == [b"whole", None]


class Sink(Conversation):
    """Pushed data end up in a list, a few bytes at a time."""

    ac_out_buffer_size = 16

    def __init__(self):
        Conversation.__init__(self)
        self.connected = True
        self.sent = []

    def send(self, data):
        self.sent.append(bytes(data[:5]))
        return len(self.sent[-1])


def test_pushes_of_threads_stay_whole_and_in_their_order():
    sink = Sink()

    def push_all(name):
        for number in range(ROUNDS):
            sink.push(b"%d:%04d, of more bytes than go at once;" % (name, number))

    at_once(*(lambda name=name: push_all(name) for name in range(THREADS)))
    while sink.producer_fifo:
        sink.initiate_send()
    messages = b"".join(sink.sent).split(b";")
    assert messages.pop() == b""
    for name in range(THREADS):
        numbers = [int(message[2:6]) for message in messages if message.startswith(b"%d:" % name)]
        assert numbers == list(range(ROUNDS))
    assert len(messages) == THREADS * ROUNDS


def test_first_pushes_that_meet_share_a_queue():
    for _ in range(ROUNDS):
        sink = Sink()
        at_once(*[lambda sink=sink: sink.push(b"abcde")] * 2)
        while sink.producer_fifo:
            sink.initiate_send()
        assert b"".join(sink.sent) == b"abcde" * 2


def test_timers_set_and_cancelled_while_others_go_off():
    """No timer is called after its cancellation or half set, and the count of waiting timers stays right."""
    timers, failed, ended = Timers(), [], threading.Event()

    def set_and_cancel():
        for _ in range(ROUNDS):
            for timer in [timers.call_later(0, int, "1") for _ in range(3)]:
                timer.cancel()

    def go_off():
        while not ended.is_set():
            timers.run_due(failed.append)

    with ThreadPoolExecutor(1) as loop:
        loop.submit(go_off)
        at_once(*[set_and_cancel] * THREADS)
        ended.set()
    timers.run_due(failed.append)
    assert failed == []
    assert len(timers) == 0


def test_threads_that_cancel_the_same_timer():
    timers = Timers()
    for _ in range(ROUNDS):
        timer = timers.call_later(60, int)
        at_once(timer.cancel, timer.cancel)
    assert len(timers) == 0
