"""async_chat beside the interpreter's own asynchat, or pyasynchat: random scripts, equal traces.

A script decides which data arrive, how the socket behaves, and the actions of each callback.  A program must see the
same on both, but for faults of asynchat; each such case is left out by a line of its own, marked "Not compared".
"""

import itertools
from collections import deque
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import asynchat_fast

RESET = ConnectionResetError(104, "reset by the peer")
BROKEN = OSError(5, "broken")
NOT_NOW = BlockingIOError(11, "not now")
MISSING = "missing"


class CallbackError(Exception):
    pass


class Producer:
    def __init__(self, trace, pieces):
        self.trace = trace
        self.pieces = deque(Producer(trace, piece) if isinstance(piece, tuple) else piece for piece in pieces)

    def more(self):
        self.trace.append("more")
        return self.pieces.popleft() if self.pieces else b""


class Socket:
    """Receives *chunks*; each send takes as many bytes as the next item of *takes*, then all."""

    def __init__(self, chunks, takes):
        self.chunks = deque(chunks)
        self.takes = deque(takes)
        self.sent = b""

    def recv(self, size):
        chunk = self.chunks.popleft() if self.chunks else NOT_NOW
        if isinstance(chunk, Exception):
            raise chunk
        return chunk[:size]

    def send(self, data):
        whole = bytes(memoryview(data))  # TypeError for str, as a socket's
        take = self.takes.popleft() if self.takes else len(whole)
        if isinstance(take, Exception):
            raise take
        self.sent += whole[:take]
        return len(whole[:take])

    def close(self):
        pass


def scripted(base):
    """Return a subclass of *base*, an async_chat, that runs a script and keeps a trace."""

    class Scripted(base):
        def __init__(self, script):
            self.trace = []
            self.script = script
            self.plans = {"collect": deque(script.when_collecting), "found": deque(script.when_found)}
            self.closed = self.rebound = False
            base.__init__(self, map={})
            self.socket = Socket(script.chunks, script.takes)
            self.connected = script.connected
            self.ac_in_buffer_size, self.ac_out_buffer_size = script.sizes
            self.use_encoding = script.use_encoding
            if script.terminator is not MISSING:
                self.set_terminator(script.terminator)

        def run(self):
            for step in self.script.steps:
                self.trace.append(step)
                try:
                    self.take(step)
                except Exception as error:
                    self.trace.append(type(error))
                self.note("after it")
            return self.trace

        def take(self, step):
            match step:
                case "read":
                    self.handle_read()
                case "write":
                    self.handle_write()
                case "connect":
                    self.connected = not self.closed
                case action:
                    self.act(action)

        def note(self, *event):
            self.trace.append(
                (
                    *event,
                    self.ac_in_buffer,
                    getattr(self, "terminator", MISSING),
                    [plain(item) for item in self.producer_fifo],
                    self.socket.sent,
                    self.incoming[:],
                    self.connected,
                    bool(self.readable()),
                    bool(self.writable()),
                )
            )

        def collect_incoming_data(self, data):
            assert type(data) is bytes
            self._collect_incoming_data(data)
            terminator = self.get_terminator()
            follow("collect", self, terminator, data)

        def found_terminator(self):
            follow("found", self, None, None)

        def handle_close(self):
            self.trace.append("handle_close")
            self.close()

        def close(self):
            self.trace.append("close")
            self.closed = True
            super().close()

        def handle_error(self):
            self.trace.append("handle_error")
            if self.script.closes_on_error:
                self.handle_close()

        def log_info(self, message, type="info"):
            pass

        def act(self, action, terminator=None, data=None):
            collecting = data is not None
            counts = collecting and isinstance(terminator, int) and terminator
            match action:
                case None:
                    pass
                case ("push", payload):
                    self.push(payload)
                case ("produce", pieces):
                    self.push_with_producer(Producer(self.trace, pieces))
                case ("append", item):
                    self.producer_fifo.append(item)
                case "replace queue":
                    self.producer_fifo = deque(self.producer_fifo)
                case "replace incoming":
                    self.incoming = []
                case "get data":
                    self.trace.append(self._get_data())
                case "close when done":
                    self.close_when_done()
                case "close":
                    self.close()
                case "handle close":
                    self.handle_close()
                case "discard":
                    self.discard_buffers()
                case ("sizes", sizes):
                    self.ac_in_buffer_size, self.ac_out_buffer_size = sizes
                case ("raise", kind):
                    raise kind
                # Not compared: a number changed while it is collected; asynchat goes on counting with the new one.
                case ("terminator", _) | "delete terminator" | "end override" if counts:
                    pass
                case ("terminator", new):
                    self.set_terminator(new)
                case "delete terminator":
                    if hasattr(self, "terminator"):
                        del self.terminator
                case ("override", new):
                    self.get_terminator = OwnTerminator(self.trace, new)
                    self.rebound = True
                case "end override":
                    if self.rebound:
                        del self.get_terminator
                        self.rebound = False
                        # Not compared: an attribute counted down below 0 meanwhile; asynchat cuts from the end.
                        self.set_terminator(None)
                # Not compared: reading within collect_incoming_data(), where asynchat repeats itself without end.
                case "read again" if not collecting:
                    self.handle_read()
                case ("rewrite", how, payload):
                    before = self.ac_in_buffer
                    after = {"set": payload, "append": before + payload, "cut": before[: len(payload)]}[how]
                    # Not compared: input written while data without a terminator are collected; asynchat drops it.
                    if not collecting or matches(terminator, data, before):
                        self.ac_in_buffer = after
                case ("rebind", callback):
                    setattr(self, callback, Rebound(self, callback))
                case "bind again":
                    for callback in ("collect_incoming_data", "found_terminator"):
                        vars(self).pop(callback, None)

    def follow(kind, chat, terminator, data):
        chat.note(kind, data)
        plan = chat.plans[kind]
        try:
            for action in plan.popleft() if plan else ():
                chat.act(action, terminator, data)
        finally:
            chat.note("acted", kind)

    return Scripted


class OwnTerminator:
    """A get_terminator() of an object's own, which tells how often it is asked."""

    def __init__(self, trace, terminator):
        self.trace = trace
        self.terminator = terminator

    def __call__(self):
        self.trace.append("asked")
        return self.terminator


class Rebound:
    """A callback bound to an object, which calls that of its class."""

    def __init__(self, chat, callback):
        self.chat = chat
        self.callback = callback

    def __call__(self, *args):
        self.chat.trace.append("rebound")
        getattr(type(self.chat), self.callback)(self.chat, *args)


def plain(item):
    if item is None or isinstance(item, Producer):
        return type(item)
    # Not compared: whether a str that waits to be sent has been encoded already.
    return item.encode("latin-1") if isinstance(item, str) else bytes(item)


def matches(terminator, data, buffer):
    if isinstance(terminator, int):
        return len(data) == terminator
    if isinstance(terminator, bytes) and terminator:
        return buffer.startswith(terminator, len(data))
    return False


class Choices:
    """A script, chosen by bytes: each decides something, and where there are none left it is the simplest thing."""

    def __init__(self, data):
        self.data = iter(data)

    def below(self, number):
        return next(self.data, 0) % number

    def among(self, *options):
        return options[self.below(len(options))]

    def several(self, make, most):
        return [make() for _ in range(self.below(most + 1))]

    def stream(self, least, most):
        """Bytes that hit the terminators, their beginnings and their ends."""
        number = least + self.below(most - least + 1)
        return b"".join(self.among(b"a", b";", b"\r\n", b"\r", b"\n", b"ab", b"aa", b"b") for _ in range(number))

    # Not compared: negative numbers; bytearrays and memoryviews of more than one byte, which asynchat
    # cannot compare with the end of what has come; a str without use_encoding and a float, which asynchat
    # takes at first, and refuses when something has come.
    def terminator(self):
        match self.below(8):
            case 0 | 1:
                return self.among(b";", b"\r\n", b"ab", b"aab", b"abab", b"\r\n\r\n", bytearray(b";"), b"\n")
            case 2:
                return self.stream(1, 3)
            case 3 | 4 | 5:
                return self.below(9)
            case 6:
                return self.among(None, b"", "", 0, False)
            case _:
                return self.among("\r\n" if self.use_encoding else b"\r\n", True)

    # Not compared: pushes of nothing, which asynchat sends as nothing; memoryviews of wide items.
    def payload(self):
        return self.among(bytes, bytes, bytearray, memoryview)(self.stream(1, 9))

    def produced(self):
        match self.below(4):
            case 0:
                return self.stream(1, 9).decode()
            case 1:
                return tuple(self.several(self.produced, 2))
            case _:
                return self.payload()

    # Not compared: sizes below 1, and sizes that are not whole.
    def sizes(self):
        return self.among((65536, 65536), (1 + self.below(40), 1 + self.below(12)))

    def action(self, *more):
        match self.below(9 + len(more)):
            case 0:
                return "terminator", self.terminator()
            case 1:
                return "push", self.payload()
            case 2:
                return self.among("discard", "close when done", "close", "handle close", "delete terminator")
            case 3:
                return "rewrite", self.among("set", "append", "cut"), self.stream(0, 5)
            case 4:
                return self.among(("override", self.terminator()), "end override")
            case 5:
                return self.among(("rebind", "collect_incoming_data"), ("rebind", "found_terminator"), "bind again")
            case 6:
                return "produce", tuple(self.several(self.produced, 3))
            case 7:
                return "append", self.among(self.payload(), self.stream(1, 9).decode(), None)
            case 8:
                return self.among("get data", "replace incoming", "replace queue", ("sizes", self.sizes()))
            case other:
                return more[other - 9]

    def plan(self):
        return self.several(
            lambda: self.action("read again", ("raise", self.among(CallbackError(), BROKEN, NOT_NOW))), 2
        )

    # Not compared: a str that is received; asynchat encodes the type and not the text.
    def chunk(self):
        return self.among(*[self.stream(1, 12)] * 5, b"", NOT_NOW, BROKEN, RESET)

    # Not compared: a send() that raises errors of TLS sockets.
    def take(self):
        return self.among(0, 1, 3, 6, 9, NOT_NOW, BROKEN, RESET)

    def script(self):
        self.use_encoding = self.below(2)
        return SimpleNamespace(
            terminator=self.among(self.terminator(), MISSING),
            chunks=self.several(self.chunk, 8),
            steps=self.several(lambda: self.among("read", "read", "read", "write", "connect", self.action()), 14),
            when_collecting=self.several(self.plan, 6),
            when_found=self.several(self.plan, 6),
            takes=self.several(self.take, 4),
            connected=self.among(True, True, False),
            closes_on_error=self.among(True, False),
            sizes=self.sizes(),
            use_encoding=self.use_encoding,
        )


def overriding_get_terminator(chat):
    class Overriding(chat):
        def get_terminator(self):
            return super().get_terminator()

    return Overriding


def with_a_terminator_of_the_class(chat):
    return type("Overriding", (chat,), {"terminator": b";"})


def borrowing_handle_read(chat):
    """Return no async_chat, but a class that has borrowed the receiving methods; sending is not compared."""

    class Borrowing(asynchat_fast.asyncore.dispatcher):
        encoding = "latin-1"
        handle_read = chat.handle_read
        get_terminator = chat.get_terminator
        set_terminator = chat.set_terminator
        _collect_incoming_data = chat._collect_incoming_data
        _get_data = chat._get_data

        def __init__(self, map):
            self.ac_in_buffer, self.incoming, self.producer_fifo = b"", [], deque()
            super().__init__(map=map)

        def discard_buffers(self):
            self.ac_in_buffer = b""
            self.incoming.clear()

        def ignore(self, *args):
            """Ignore the event: this method is not borrowed."""

        handle_write = push = push_with_producer = close_when_done = ignore

    return Borrowing


@pytest.fixture(
    params=[lambda chat: chat, overriding_get_terminator, with_a_terminator_of_the_class, borrowing_handle_read],
    ids=["as it is", "get_terminator", "terminator", "handle_read"],
)
def both_classes(request, both_buffers, reference):
    return [scripted(request.param(module.async_chat)) for module in (asynchat_fast, reference)]


# The fixtures choose classes; there is nothing in them to be reset.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=120, max_size=400))
def test_the_traces_are_equal(both_classes, choices):
    script = Choices(choices).script()
    note(script)
    ours, theirs = [kind(script).run() for kind in both_classes]
    for at, (one, other) in enumerate(itertools.zip_longest(ours, theirs)):
        assert one == other, ours[: at + 1]
