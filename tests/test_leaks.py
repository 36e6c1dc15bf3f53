"""Nothing is kept that nobody can reach, and an idle channel keeps next to nothing.

Measured in a process of its own, which runs this file as a script: there, no other test's
objects are counted.  All that a workload uses is made anew in each round, so a reference
that is not given back shows as memory.
"""

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
from asynchat_fast import receiving
from asynchat_fast.http.errors import HTTPError

ROUNDS = 10
IDLE_CHANNELS = 20


def fresh(octets):
    return b"".join([octets[:1], octets[1:]])


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
                taken = [*buffer, buffer.take_partial()]
                buffer.put_back()
                taken += [*buffer, buffer.take_partial()]
                assert taken
            buffer.feed(bytearray(b"rest"))
            next(buffer, None)  # and what it was in the middle of is dropped


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
    for octets in (fresh(b"one\ntwo\n"), bytearray(b"one\n"), fresh(b"")):
        buffer.feed(fresh(b"other"))
        buffer.unread = octets
        next(buffer, None)
        assert buffer.unread is not None
        assert buffer.untaken is not None
        buffer.set_terminator(fresh(b"\n\n"), 3, True)


def fail(new_buffer):
    for terminator in (-1, "text" * 2, 1.5, [1]):
        buffer = new_buffer(terminator)
        buffer.feed(fresh(b"octets"))
        for method, *args in (("feed", ["no octets"]), ("__next__",), ("take_partial",), ("__setattr__", "unread", 1)):
            with contextlib.suppress(TypeError, ValueError):
                getattr(buffer, method)(*args)


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
        octets, self.arriving = self.arriving, b""
        return fresh(octets)

    def send(self, data):
        self.sent.append(bytes(data)[:3])
        return len(self.sent[-1])

    def arrive(self, octets):
        self.arriving = octets
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
    for octets in (b"hello\r\nnumber\r\n123abc\r\nra", b"ise\r\nrewrite\r\nrebind\r\none\r", b"\ndiscard\r\nmore\r\n"):
        chat.arrive(octets)
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
    for octets in (b"one\r\ntwo", b"\r\n", b""):
        chat.arrive(octets)


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
    """Return by how many octets the memory grows while *workload* runs so often, caches of the interpreter left aside.

    Those grow now and then; a leak does each time.
    """
    sizes = []
    for _ in range(15):
        for _ in range(ROUNDS):
            workload()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    return min(after - before for before, after in itertools.pairwise(sizes))


def size_when_idle():
    """Return by how many octets the memory of a channel grows when it has received a lot."""
    channels = [Chat() for _ in range(IDLE_CHANNELS)]
    for channel in channels:
        channel.max_payload = None
        channel.set_terminator(fresh(b"\r\n"))
        channel.found_terminator = channel.incoming.clear
        channel.arrive(b"\r\n")
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    for channel in channels:
        channel.arrive(b"line\r\n" * 2_000 + b"\r")
    gc.collect()
    return (tracemalloc.get_traced_memory()[0] - before) / IDLE_CHANNELS


def measure(module):
    new_buffer = receiving.InputBuffer = importlib.import_module(f"asynchat_fast.{module}").InputBuffer
    kept = []
    tracemalloc.start()
    measured = {"a leak": growth(lambda: kept.append(object())), "idle": size_when_idle()}
    for workload in (cut, search_the_hard_way, exceed_the_limit, change_what_is_unread, fail):
        measured[workload.__name__] = growth(lambda workload=workload: workload(new_buffer))
    head = importlib.import_module("asynchat_fast.http.head" if module.endswith("_py") else "asynchat_fast.http._head")
    parser = head.PlainHeadParser if module.endswith("_py") else head
    measured["parse_heads"] = growth(lambda: parse_heads(parser))
    for workload in (converse, collect_badly):
        measured[workload.__name__] = growth(workload)
    return measured


@pytest.mark.skipif(tracemalloc is None, reason="only CPython traces its memory")
def test_nothing_leaks(framing, run_python):
    process = run_python(str(Path(__file__).absolute()), framing.__name__.rpartition(".")[2])
    assert process.returncode == 0, process.stderr
    measured = json.loads(process.stdout)
    assert measured.pop("a leak") > 16 * ROUNDS  # the measure is one
    assert measured.pop("idle") < 500
    assert {name: size for name, size in measured.items() if size > 8 * ROUNDS} == {}


if __name__ == "__main__":
    json.dump(measure(sys.argv[1]), sys.stdout)
