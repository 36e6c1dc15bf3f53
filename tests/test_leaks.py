"""No unreachable object is kept, and an idle channel keeps next to nothing.

Measured in a process of its own, which runs this file as a script: there, no other test's
objects are counted.  All that a workload uses is made anew in each round, so a reference
that is not given back shows as memory.
"""

import collections
import contextlib
import copy
import gc
import importlib
import itertools
import json
import sys
from pathlib import Path

import pytest

try:
    import tracemalloc
except ImportError:  # PyPy
    tracemalloc = None

import asynchat_fast
from asynchat_fast import conversation
from asynchat_fast.events import Interrupted
from asynchat_fast.http.errors import HTTPError

ROUNDS = 10
IDLE_CHANNELS = 100


def fresh(data):
    return b"".join([data[:1], data[1:]])


def cut(new_buffer):
    for terminator in (
        fresh(b"\r\n"),
        fresh(b"\r"),
        bytearray(b"\r\n"),
        memoryview(fresh(b"\r\n")),
        7,
        None,
        fresh(b""),
    ):
        for views in (False, True):
            buffer = new_buffer(terminator, None, views)
            for chunk in (b"one\r\ntwo\r\n" * 9, b"three\r", b"\n\r\r\r\rfour"):
                buffer.feed(fresh(chunk))
                assert [*buffer, buffer.take_partial()]
            buffer.feed(bytearray(b"rest"))
            next(buffer, None)  # and the payload that has begun is dropped


def search_the_hard_way(new_buffer):
    buffer = new_buffer(fresh(b"\r\n.\r\n"))
    buffer.feed(b"\r" * 1000 + fresh(b"\r\n.\r\n") + b"\r\n" * 500)
    list(buffer)
    buffer.take_partial()


def exceed_the_limit(new_buffer):
    buffer = new_buffer(fresh(b"\r\n"), 5)
    for chunk in (b"1234", b"5678", b"9\r", b"\nshort\r\n", b"too long\r\n"):
        buffer.feed(fresh(chunk))
        list(buffer)
        buffer.take_partial()
        buffer.overlong = False


def change_what_is_unread(new_buffer):
    buffer = new_buffer(fresh(b"\n"))
    for data in (fresh(b"one\ntwo\n"), bytearray(b"one\n"), fresh(b"")):
        buffer.feed(fresh(b"other"))
        buffer.unread = data
        next(buffer, None)
        assert buffer.unread is not None
        buffer.set_terminator(fresh(b"\n\n"), 3, True)


def fail(new_buffer):
    for terminator in (-1, "text" * 2, 1.5, [1]):
        with contextlib.suppress(TypeError, ValueError):
            new_buffer(fresh(b"\r\n")).set_terminator(terminator)
        with contextlib.suppress(TypeError, ValueError):
            new_buffer(terminator)
    buffer = new_buffer(fresh(b"\r\n"))
    buffer.feed(fresh(b"some data"))
    for method, *args in (("feed", ["no data"]), ("set_terminator", fresh(b"x"), -1), ("__setattr__", "unread", 1)):
        with contextlib.suppress(TypeError, ValueError):
            getattr(buffer, method)(*args)


def have_events(new_buffer):
    for terminator in (fresh(b"\r\n"), bytearray(b"\r\n"), 7, None, "text", -1, [1]):
        for limit, views in ((None, False), (4, True)):
            buffer = new_buffer()
            buffer.set_options(limit, views)
            try:
                buffer.terminator = terminator
            except (TypeError, ValueError):
                buffer.hold(terminator)
            for chunk in (b"one\r\ntwo\r\n" * 3, b"three\r", b"\n\r\r\r\rfour"):
                with contextlib.suppress(Interrupted):
                    for event in buffer.feed(fresh(chunk)):
                        if event == b"two":
                            buffer.undo()
                            buffer.interrupt()
                        elif event == b"three":
                            buffer.unread = fresh(b"written\r\n")
                            buffer.unread = bytearray(b"written\r\n")
                        elif event == b"four":
                            buffer.unset()
                buffer.overlong = False
            with contextlib.suppress(TypeError):
                buffer.feed("text")
            next(buffer.feed(b""), None) if terminator is None else buffer.unread


def queue_and_send(new_queue):
    queue = new_queue()
    for size in (8, 8.5, 0, "8", 1):
        with contextlib.suppress(TypeError, ValueError):
            queue.begin(size)
        for item in (fresh(b"one"), fresh(b"two and more"), bytearray(b"three"), None, [1]):
            queue.put(item)
            queue.items.append(item)
        for sent in (1, 3, None):
            data = queue.begin(8)
            queue.end(data or None, sent)
        queue.items = collections.deque([fresh(b"four"), fresh(b"five")])
        while data := queue.begin(100):
            queue.put(fresh(b"six"))
            queue.end(data, 2)
            queue.items.clear()
        queue.end(None, 0)


class Chat(asynchat_fast.async_chat):
    coalesce_pushes = True
    max_payload = 8

    def __init__(self):
        asynchat_fast.async_chat.__init__(self, map={})
        self.connected = True
        self.set_terminator(fresh(b"\r\n"))
        self.sent = []

    collect_incoming_data = asynchat_fast.async_chat._collect_incoming_data

    def recv(self, size):
        data, self.arriving = self.arriving, b""
        return fresh(data)

    def send(self, data):
        self.sent.append(bytes(data)[:3])
        return len(self.sent[-1])

    def arrive(self, data):
        self.arriving = data
        with contextlib.suppress(LookupError, RuntimeError):
            self.handle_read()

    def log_info(self, message, type="info"):
        pass

    def found_terminator(self):
        line = self._get_data()
        if line == b"raise":
            raise LookupError(line)
        if line == b"number":
            self.set_terminator(3)
        elif line == b"rebind":
            self.get_terminator = lambda: self.terminator
        elif line == b"discard":
            self.discard_buffers()
        elif line == b"rewrite":
            self.ac_in_buffer += fresh(b"other\r\n")
        elif self.terminator == 0:
            self.set_terminator(fresh(b"\r\n"))
        self.push(line + b".")
        self.push(memoryview(bytearray(line)))
        self.push_with_producer(asynchat_fast.simple_producer(line * 4, 5))


def converse():
    chat = Chat()
    chat.itself = chat
    for data in (b"hello\r\nnumber\r\n123abc\r\nra", b"ise\r\nrewrite\r\nrebind\r\none\r", b"\ndiscard\r\nmore\r\n"):
        chat.arrive(data)
        copy.copy(chat).arrive(b"\r\nhello\r\n")
    del chat.get_terminator
    chat.arrive(b"far too long\r\nhello\r\n")
    while chat.producer_fifo and chat.connected:
        chat.initiate_send()
    chat.push(b"after the end")


def collect_badly():
    chat = Chat()

    def collect(data):
        if chat.sent:
            chat.ac_in_buffer = fresh(b"written\r\n")
        chat.sent.append(data)
        raise RuntimeError("not now")

    chat.collect_incoming_data = collect
    for data in (b"one\r\ntwo", b"\r\n", b""):
        chat.arrive(data)


def parse_heads(parser):
    line = b"GET /path?query HTTP/1.1"
    fields = b"\r\nHost: example.org\r\nX-Unknown: 1\r\nx-unknown: 2\r\nX-UNKNOWN: 3\r\nContent-Length:5"
    for head in (line + fields, b"X-OWN" + line + fields, line, b"\r\n", line + b"\r\nno field", line + fields * 3):
        for function in (parser.parse_head, parser.check_beginning, lambda head: parser.parse_fields(head[26:])):
            with contextlib.suppress(HTTPError):
                assert function(fresh(head)) is not None
        checked = 0
        with contextlib.suppress(HTTPError):
            for size in range(1, len(head), 7):
                checked = parser.check_beginning(fresh(head[:size]), checked, 10)
    for wrong in (None, "text", bytearray(line)):
        with contextlib.suppress(TypeError, AttributeError):
            parser.parse_head(wrong)


def growth(workload):
    """Return by how many bytes the memory grows while *workload* runs so often, caches of the interpreter left aside.

    Those grow now and then; a leak does each time.
    """
    sizes = []
    for _ in range(8):
        for _ in range(ROUNDS):
            workload()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    return min(after - before for before, after in itertools.pairwise(sizes))


class Idle(asynchat_fast.async_chat):
    """A channel as programs have them, which has received a lot."""

    def __init__(self, map, arriving):
        asynchat_fast.async_chat.__init__(self, map=map)
        self.connected = True
        self.arriving = arriving
        self.set_terminator(LINE_END)

    collect_incoming_data = asynchat_fast.async_chat._collect_incoming_data

    def recv(self, size):
        return self.arriving.pop()

    def found_terminator(self):
        self.incoming.clear()

    def send(self, data):
        return len(data)


LINE_END = b"\r\n"


def size_when_idle():
    """Return the bytes of memory that a channel keeps which has received and sent a lot, but for its socket."""
    map, arriving = {}, []

    def converse():
        channel = Idle(map, arriving)
        for chunk in (b"line\r\n" * 2_000 + b"\r", b"\nline\r\n"):
            arriving.append(fresh(chunk))
            channel.handle_read()
            for size in (10, 5_000, 100_000):
                channel.push(b"." * size)
            while channel.writable():
                channel.initiate_send()
        return channel

    channels = [converse() for _ in range(IDLE_CHANNELS)]
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    more = [converse() for _ in range(IDLE_CHANNELS)]
    gc.collect()
    size = (tracemalloc.get_traced_memory()[0] - before) / len(more)
    assert len(channels) == len(more)
    return size


def measure(build):
    framing, events, output_queue, head = (
        importlib.import_module(f"asynchat_fast.{name}") for name in ("framing", "events", "output_queue", "http.head")
    )
    if build == "plain":
        new_buffer, new_events = framing.PlainInputBuffer, events.PlainEventBuffer
        new_queue, parser = output_queue.PlainOutputQueue, head.PlainHeadParser
    else:
        compiled = importlib.import_module("asynchat_fast._framing")
        new_buffer, new_events = compiled.InputBuffer, importlib.import_module("asynchat_fast._events").EventBuffer
        new_queue = importlib.import_module("asynchat_fast._output_queue").OutputQueue
        parser = importlib.import_module("asynchat_fast.http._head")
    conversation.EventBuffer, conversation.OutputQueue = new_events, new_queue
    kept = []
    tracemalloc.start()
    measured = {"a leak": growth(lambda: kept.append(object())), "idle": size_when_idle()}
    for workload in (cut, search_the_hard_way, exceed_the_limit, change_what_is_unread, fail):
        measured[workload.__name__] = growth(lambda workload=workload: workload(new_buffer))
    measured["have_events"] = growth(lambda: have_events(new_events))
    measured["queue_and_send"] = growth(lambda: queue_and_send(new_queue))
    measured["parse_heads"] = growth(lambda: parse_heads(parser))
    for workload in (converse, collect_badly):
        measured[workload.__name__] = growth(workload)
    return measured


# Bytes where pointers have eight; up to CPython 3.10 the attributes of an object take more.
IDLE_MOST = {"compiled": 530, "plain": 700} if sys.version_info >= (3, 11) else {"compiled": 680, "plain": 840}


@pytest.mark.skipif(tracemalloc is None, reason="only CPython traces its memory")
@pytest.mark.parametrize("build", ["compiled", "plain"])
def test_nothing_leaks(build, run_python):
    if build == "compiled":
        for module in ("_framing", "_output_queue", "http._head"):
            pytest.importorskip(
                f"asynchat_fast.{module}", reason="the compiled modules have not been built for this Python"
            )
    process = run_python(str(Path(__file__).absolute()), build)
    assert process.returncode == 0, process.stderr
    measured = json.loads(process.stdout)
    assert measured.pop("a leak") > 16 * ROUNDS  # the measure is one
    assert measured.pop("idle") < IDLE_MOST[build]
    assert {name: size for name, size in measured.items() if size > 8 * ROUNDS} == {}


if __name__ == "__main__":
    json.dump(measure(sys.argv[1]), sys.stdout)
