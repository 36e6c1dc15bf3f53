"""The chat state machine: on no transport and as async_chat, on both InputBuffers."""

import copy
import functools
import gc
import ssl
import sys
import threading
import time
import weakref
from collections import deque

import pytest

counts_references = pytest.mark.skipif(
    not hasattr(sys, "getrefcount"), reason="only CPython tells how many references an object has"
)


@pytest.fixture
def chat(chat_class):
    chat = chat_class()
    chat.set_terminator(b"\r\n")
    return chat


def arrive_all(chat, chunks):
    for chunk in chunks:
        chat.arrive(chunk)
    return chat


# Terminators


@pytest.mark.parametrize(
    ("terminator", "stream", "payloads", "rest", "kept"),
    [
        (b"\r\n", b"one\r\n\r\ntwo\r\nthr", [b"one", b"", b"two"], b"thr", b""),
        (b"\r\n", b"one\r\n\r\rtwo\r\r\nthr\r", [b"one", b"\r\rtwo\r"], b"thr", b"\r"),
        (b"\n", b"\n\na\n", [b"", b"", b"a"], b"", b""),
        (b"\r\n.\r\n", b"body\r\n..\r\n.\r\n\r\n.\r\n\r\n.", [b"body\r\n..", b""], b"", b"\r\n."),
        (b"aab", b"aaabxaaaabaa", [b"a", b"xaa"], b"", b"aa"),
        (bytearray(b"\r\n"), b"one\r\ntwo\r", [b"one"], b"two", b"\r"),
        (memoryview(b"\r\n"), b"one\r\ntwo\r", [b"one"], b"two", b"\r"),
    ],
)
def test_payloads_end_at_bytes(chat_class, cut, terminator, stream, payloads, rest, kept):
    for chunks in cut(stream):
        chat = chat_class()
        chat.set_terminator(terminator)
        arrive_all(chat, chunks)
        assert chat.payloads == payloads
        assert b"".join(chat.incoming) == rest
        assert chat.ac_in_buffer == kept
        assert b"" not in chat.trace  # of nothing, nothing is collected


@pytest.mark.parametrize("terminator", [None, 0, b"", "", bytearray()])
def test_a_false_terminator_collects_everything(chat_class, cut, terminator):
    """A terminator of 0 is not found either: parsers of chunks test for 0 themselves."""
    for chunks in cut(b"any\r\nthing"):
        chat = chat_class()
        chat.set_terminator(terminator)
        arrive_all(chat, chunks)
        assert chat.trace == chunks
        assert chat.ac_in_buffer == b""
        assert chat.terminator == terminator


def test_a_number_counts_down_and_is_found_at_zero(chat_class, cut):
    class Records(chat_class):
        def collect_incoming_data(self, data):
            assert len(data) <= self.terminator
            super().collect_incoming_data(data)
            self.due = self.terminator - len(data)

        def found_terminator(self):
            assert self.terminator == self.due == 0
            super().found_terminator()
            self.set_terminator(4)

    for chunks in cut(b"0123456789"):
        chat = Records()
        chat.set_terminator(4)
        for chunk in chunks:
            chat.arrive(chunk)
            assert chat.terminator == 4 - sum(map(len, chat.incoming))
            assert chat.ac_in_buffer == b""
        assert chat.payloads == [b"0123", b"4567"]
        assert chat.terminator == 2


def test_after_a_number_was_found_all_is_collected_until_the_next_terminator(chat):
    chat.set_terminator(3)
    chat.arrive(b"abcdef")
    chat.arrive(b"ghi")
    assert chat.trace == [b"abc", "found", b"def", b"ghi"]
    assert chat.terminator == 0


def test_false_bytes_collect_everything_after_a_number_too(chat):
    chat.set_terminator(2)
    chat.arrive(b"ab")
    chat.set_terminator(5)
    chat.arrive(b"a")
    chat.set_terminator(b"")
    chat.arrive(b"collected at once")
    assert chat.trace == [b"ab", "found", b"a", b"collected at once"]
    assert chat.terminator == b""


def test_a_number_greater_than_any_stream(chat):
    chat.set_terminator(1 << 80)
    chat.arrive(b"12345")
    assert chat.terminator == (1 << 80) - 5


@pytest.mark.parametrize("number", [-1, -100])
def test_a_negative_number_is_refused(chat, number):
    with pytest.raises(ValueError, match=str(number)):
        chat.set_terminator(number)
    assert chat.terminator == b"\r\n"


@pytest.mark.parametrize("terminator", ["\r\n", 2.5, [13, 10]])
def test_an_invalid_terminator_is_a_type_error_that_leaves_the_old_one(chat, terminator):
    chat.set_terminator(b";")
    with pytest.raises(TypeError, match="terminator must be bytes, int or None"):
        chat.set_terminator(terminator)
    chat.arrive(b"one;")
    assert chat.payloads == [b"one"]


def test_text_is_encoded_where_the_class_asks_for_it(chat_class):
    class Text(chat_class):
        use_encoding = 1
        encoding = "utf-8"

    chat = Text()
    chat.set_terminator("§")
    assert chat.terminator == "§".encode()
    chat.arrive("text§pieces".encode())
    chat.arrive("text§")
    assert chat.payloads == [b"text", b"piecestext"]


def test_received_text_is_a_type_error_otherwise(chat):
    with pytest.raises(TypeError):
        chat.arrive("text")
    chat.arrive(b"pieces\r\n")
    assert chat.payloads == [b"pieces"]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, type("BytesSubclass", (bytes,), {})])
@pytest.mark.parametrize("terminator", [b"\r\n", 3, None])
def test_collected_data_are_exactly_bytes_and_stay(chat, kind, terminator):
    chat.set_terminator(terminator)
    reused = bytearray(b"pieces\r\nmore")
    received = reused if kind is bytearray else kind(reused)
    chat.arrive(received)
    reused[:] = bytes(len(reused))
    reused_before = kind is memoryview
    chat.arrive(b"!")
    assert {type(data) for data in chat.collected} == {bytes}
    assert reused_before or b"".join(chat.collected).replace(b"\r\n", b"") == b"piecesmore!"


def test_the_terminator_does_not_exist_until_it_is_set(chat_class):
    chat = chat_class()
    assert not hasattr(chat, "terminator")
    with pytest.raises(AttributeError, match="terminator"):
        chat.get_terminator()
    with pytest.raises(AttributeError, match="terminator"):
        chat.arrive(b"pieces")
    assert chat.ac_in_buffer == b"pieces"
    chat.terminator = b";"
    assert chat.get_terminator() == b";"
    chat.arrive(b";")
    assert chat.payloads == [b"pieces"]
    del chat.terminator
    assert not hasattr(chat, "terminator")
    with pytest.raises(AttributeError, match="terminator"):
        chat.arrive(b"more")
    with pytest.raises(AttributeError):
        del chat.terminator


def test_a_terminator_may_be_an_attribute_of_the_class(chat_class, cut):
    class Lines(chat_class):
        terminator = b"\r\n"

    for chunks in cut(b"one\r\ntwo\r\n3\r"):
        chat = arrive_all(Lines(), chunks)
        assert chat.payloads == [b"one", b"two"]
        assert chat.ac_in_buffer == b"\r"
        chat.set_terminator(2)
        chat.arrive(b"4567")
        assert chat.payloads == [b"one", b"two", b"3\r4"]
        assert chat.terminator == 0
        del chat.terminator
        chat.arrive(b"8\r\n")
        assert chat.payloads == [b"one", b"two", b"3\r4", b"5678"]
        Lines.terminator = b";"
        chat.arrive(b"9;")
        assert chat.payloads[-1] == b"9"
        Lines.terminator = b"\r\n"


# get_terminator(), which programs override everywhere


def test_get_terminator_overridden_on_the_class(chat_class, cut):
    class Alternating(chat_class):
        def get_terminator(self):
            return (b"\r\n", b"::")[len(self.payloads) % 2]

    for chunks in cut(b"one::\r\ntwo\r\n::three\r\n:"):
        chat = arrive_all(Alternating(), chunks)
        assert chat.payloads == [b"one::", b"two\r\n", b"three"]
        assert chat.ac_in_buffer == b":"
        assert b"" not in chat.trace
        assert not hasattr(chat, "terminator")


def test_get_terminator_overridden_by_calling_super(chat_class, cut):
    class Asked(chat_class):
        def get_terminator(self):
            return super().get_terminator() + b"\n"

    for chunks in cut(b"one\r\ntwo\n\r\nthree\r"):
        chat = Asked()
        chat.set_terminator(b"\r")
        arrive_all(chat, chunks)
        assert chat.payloads == [b"one", b"two\n"]
        assert (chat.incoming, chat.ac_in_buffer) == (chat.incoming, b"\r")


def test_get_terminator_overridden_by_a_property_of_the_terminator(chat_class, cut):
    class Computed(chat_class):
        @property
        def terminator(self):
            return b"::" if self.payloads else b"\r\n"

    for chunks in cut(b"one\r\ntwo\r\n::three:"):
        chat = arrive_all(Computed(), chunks)
        assert chat.payloads == [b"one", b"two\r\n"]
        assert chat.ac_in_buffer == b":"


def test_get_terminator_is_asked_for_each_payload(chat):
    asked = []
    chat.get_terminator = lambda: asked.append(chat.ac_in_buffer) or b"\r\n"
    chat.arrive(b"1\r\n2\r\n\r\n3")
    assert asked == [b"1\r\n2\r\n\r\n3", b"2\r\n\r\n3", b"\r\n3", b"3"]
    chat.arrive(b"\r")
    chat.arrive(b"")
    assert asked[4:] == [b"\r", b"\r"]


def test_get_terminator_rebound_on_an_instance_and_deleted_again(chat, chat_class):
    other = chat_class()
    other.set_terminator(b"\r\n")
    chat.get_terminator = lambda: b";"
    for each in (chat, other):
        each.arrive(b"a;b\r\n")
    assert (chat.payloads, other.payloads) == ([b"a"], [b"a;b"])
    assert (chat.get_terminator(), chat.terminator) == (b";", b"\r\n")
    chat.set_terminator(b"!")
    chat.arrive(b"c!;")
    assert chat.payloads == [b"a", b"b\r\nc!"]
    del chat.get_terminator
    assert chat.get_terminator() == b"!"
    chat.arrive(b"d;!")
    assert chat.payloads == [b"a", b"b\r\nc!", b"d;"]


@pytest.mark.parametrize("callback", ["collect_incoming_data", "found_terminator"])
def test_get_terminator_rebound_holds_though_a_terminator_is_set_after_it(chat, callback):
    original = getattr(chat, callback)

    def rebind(*args):
        original(*args)
        chat.get_terminator = lambda: b";"
        chat.set_terminator(b"\r\n")

    setattr(chat, callback, rebind)
    chat.arrive(b"1\r\n2\r\n;3;4")
    assert chat.payloads == [b"1", b"2\r\n", b"3"]


@pytest.mark.parametrize("callback", ["collect_incoming_data", "found_terminator"])
def test_a_terminator_deleted_within_a_callback_is_missed_at_once(chat, callback):
    original = getattr(chat, callback)

    def delete(*args):
        original(*args)
        del chat.terminator
        setattr(chat, callback, original)

    setattr(chat, callback, delete)
    with pytest.raises(AttributeError, match="terminator"):
        chat.arrive(b"1\r\n2\r\n3")
    assert (chat.payloads, chat.ac_in_buffer) == ([b"1"], b"2\r\n3")


@pytest.mark.parametrize("callback", ["collect_incoming_data", "found_terminator"])
def test_get_terminator_rebound_within_a_callback_holds_at_once(chat, callback):
    original = getattr(chat, callback)

    def rebind(*args):
        original(*args)
        chat.get_terminator = lambda: b";"

    setattr(chat, callback, rebind)
    chat.arrive(b"1\r\n2\r\n;3;4")
    assert chat.payloads == [b"1", b"2\r\n", b"3"]

    def restore(*args):
        original(*args)
        del chat.get_terminator
        setattr(chat, callback, original)

    setattr(chat, callback, restore)
    chat.arrive(b"4;5\r\n;6")
    assert chat.payloads[3:] == [b"44", b"5"]


def test_get_terminator_replaced_on_the_class_holds_for_objects_made_later(chat_class, monkeypatch):
    """Existing objects keep theirs: looking at the class for each payload would slow all programs."""
    monkeypatch.setattr(chat_class, "get_terminator", lambda self: b";")
    chat = chat_class()
    chat.set_terminator(b"\r\n")
    chat.arrive(b"2\r\n;")
    assert chat.payloads == [b"2\r\n"]


def test_get_terminator_that_raises_loses_nothing(chat):
    def fail():
        raise LookupError("no terminator")

    chat.get_terminator = fail
    with pytest.raises(LookupError, match="no terminator"):
        chat.arrive(b"1\r\n2")
    assert (chat.ac_in_buffer, chat.trace) == (b"1\r\n2", [])
    del chat.get_terminator
    chat.arrive(b"\r\n")
    assert chat.payloads == [b"1", b"2"]


def test_a_number_from_get_terminator_counts_the_attribute_down(chat_class):
    class Counting(chat_class):
        def get_terminator(self):
            return self.terminator

    chat = Counting()
    chat.set_terminator(5)
    chat.arrive(b"123")
    assert chat.terminator == 2
    chat.arrive(b"4567")
    assert (chat.terminator, chat.trace) == (0, [b"123", b"45", "found", b"67"])


# Callbacks that act


def test_hooks_rebound_within_a_callback_are_called_at_once(chat):
    trace = []

    def collect(data):
        trace.append(data)
        chat.found_terminator = found

    def found():
        trace.append("found")
        chat.collect_incoming_data = trace.append
        chat.found_terminator = lambda: trace.append("found by another")

    chat.collect_incoming_data = collect
    chat.arrive(b"1\r\n2\r\n3")
    assert trace == [b"1", "found", b"2", "found by another", b"3"]


def test_the_callbacks_must_be_defined(chat_class):
    base = chat_class.__mro__[2]

    class Undefined(base):
        connected = True

        def recv(self, size):
            return b"a\r\n"

    chat = Undefined()
    chat.set_terminator(b"\r\n")
    deliver = chat.handle_read if hasattr(chat, "handle_read") else lambda: chat.receive(b"a\r\n")
    with pytest.raises(NotImplementedError, match="collect_incoming_data"):
        deliver()
    chat.collect_incoming_data = chat._collect_incoming_data
    with pytest.raises(NotImplementedError, match="found_terminator"):
        deliver()


def test_a_terminator_set_when_one_is_found_holds_from_the_next_byte_on(chat_class, cut):
    class Chunked(chat_class):
        """Numbers of bytes, each followed by as many."""

        def found_terminator(self):
            super().found_terminator()
            if self.terminator == 0:
                self.set_terminator(b"\r\n")
            elif self.payloads[-1]:
                self.set_terminator(int(self.payloads[-1], 16))
            else:
                self.set_terminator(None)

    for chunks in cut(b"3\r\n\r\na1\r\n\rA\r\n0123456789\r\nall\r\nthe rest"):
        chat = Chunked()
        chat.set_terminator(b"\r\n")
        arrive_all(chat, chunks)
        assert chat.payloads == [b"3", b"\r\na", b"1", b"\r", b"A", b"0123456789", b""]
        assert b"".join(chat.incoming) == b"all\r\nthe rest"
        assert chat.terminator is None


@pytest.mark.parametrize(
    ("following", "trace"),
    [
        (b";", [b"one", "found", b"two\r\n", "found", b"three", "found"]),
        (5, [b"one", "found", b"two\r\n", "found", b";three;"]),
        (None, [b"one", "found", b"two\r\n;three;"]),
    ],
)
def test_a_terminator_set_when_collecting_holds_from_the_next_payload_on(chat_class, following, trace):
    class Program(chat_class):
        def collect_incoming_data(self, data):
            super().collect_incoming_data(data)
            if data == b"one":
                self.set_terminator(following)

    chat = Program()
    chat.set_terminator(b"\r\n")
    chat.arrive(b"one\r\ntwo\r\n;three;")
    assert chat.trace == trace


@pytest.mark.parametrize("following", [None, 1, b"x"])
def test_the_beginning_of_a_terminator_waits_though_another_is_set_when_collecting(chat_class, following):
    """The next bytes are searched for the new terminator, as in asynchat."""

    class Program(chat_class):
        def collect_incoming_data(self, data):
            super().collect_incoming_data(data)
            self.set_terminator(following)

    chat = Program()
    chat.set_terminator(b"\r\n")
    chat.arrive(b"one\r")
    assert (chat.trace, chat.ac_in_buffer) == ([b"one"], b"\r")
    chat.arrive(b"x")
    assert chat.trace[1] == (b"\rx" if following is None else b"\r")


@pytest.mark.parametrize("following", [b"::", 1, 3, 20, None, 0])
def test_a_number_changed_when_collecting_is_not_counted_down(chat_class, following):
    """asynchat raises TypeError here, or counts down to less than nothing."""

    class Program(chat_class):
        def collect_incoming_data(self, data):
            super().collect_incoming_data(data)
            if data == b"abc":
                self.set_terminator(following)

    chat = Program()
    chat.set_terminator(10)
    chat.arrive(b"abc")
    assert chat.terminator == following
    assert chat.trace == [b"abc"]


def test_a_number_changed_when_collecting_its_last_bytes_is_found_all_the_same(chat_class):
    class Program(chat_class):
        def collect_incoming_data(self, data):
            super().collect_incoming_data(data)
            self.set_terminator(9)

    chat = Program()
    chat.set_terminator(3)
    chat.arrive(b"abcdef")
    assert chat.trace == [b"abc", "found", b"def"]


def test_the_buffer_as_callbacks_see_it(chat_class):
    seen = []

    class Program(chat_class):
        def collect_incoming_data(self, data):
            seen.append(self.ac_in_buffer)
            super().collect_incoming_data(data)

        def found_terminator(self):
            seen.append(self.ac_in_buffer)
            super().found_terminator()
            if self.payloads == [b"one", b"two"]:
                self.set_terminator(3)

    chat = Program()
    chat.set_terminator(b"\r\n")
    chat.arrive(b"one\r\ntwo\r\nabcdef\r")
    after = [b"two\r\nabcdef\r", b"abcdef\r", b"def\r"]
    assert seen == [b"one\r\n" + after[0], after[0], after[0], after[1], after[1], after[2], after[2]]
    assert {type(each) for each in seen} == {bytes}
    assert chat.ac_in_buffer == b""


@pytest.mark.parametrize(
    "clear", [lambda chat: setattr(chat, "ac_in_buffer", b""), lambda chat: chat.discard_buffers()]
)
@pytest.mark.parametrize("callback", ["collect_incoming_data", "found_terminator"])
def test_input_discarded_within_a_callback_is_not_delivered(chat, callback, clear):
    """STARTTLS needs it: data sent in clear before the handshake must not pass for encrypted."""
    original = getattr(chat, callback)

    def discard(*args):
        original(*args)
        clear(chat)
        assert chat.ac_in_buffer == b""

    setattr(chat, callback, discard)
    chat.arrive(b"STARTTLS\r\nMAIL FROM:<injected>\r\nmore\r")
    assert chat.trace == [b"STARTTLS", "found"]
    assert chat.ac_in_buffer == b""
    chat.arrive(b"\n\r\n")
    assert chat.trace[2:4] == [b"\n", "found"]


@pytest.mark.parametrize("discard_in", ["collect_incoming_data", "found_terminator"])
@pytest.mark.parametrize("terminator", [8, None, b"\r\n"])
def test_input_discarded_at_other_terminators(chat, terminator, discard_in):
    original = getattr(chat, discard_in)

    def discard(*args):
        original(*args)
        chat.discard_buffers()

    chat.set_terminator(terminator)
    setattr(chat, discard_in, discard)
    chat.arrive(b"STARTTLS\r")
    found = ["found"] if terminator == 8 else []
    assert chat.trace in ([b"STARTTLS", *found], [b"STARTTLS\r"])
    if discard_in == "collect_incoming_data" or found:
        assert chat.ac_in_buffer == b""


def test_the_buffer_rewritten_when_a_terminator_is_found(chat):
    rewrites = {b"one": b"ONE\r\ntwo\r\n", b"two": chat, b"three": b"", b"four": bytearray(b"five\r\n")}
    original = chat.found_terminator

    def found():
        original()
        rewritten = rewrites.pop(chat.payloads[-1], None)
        if rewritten is chat:
            rewritten = chat.ac_in_buffer + b"three\r\nthis is dropped\r\n"
        if rewritten is not None:
            chat.ac_in_buffer = rewritten
            assert chat.ac_in_buffer == rewritten
            assert type(chat.ac_in_buffer) is bytes

    chat.found_terminator = found
    chat.arrive(b"one\r\nthis too is dropped\r\n")
    assert chat.payloads == [b"one", b"ONE", b"two", b"three"]
    chat.arrive(b"four\r\nthis as well")
    assert chat.payloads[4:] == [b"four", b"five"]


def test_the_buffer_rewritten_when_collecting(chat):
    """The buffer still begins with the data being collected; they are dropped from the value written."""
    original = chat.collect_incoming_data

    def collect(data):
        original(data)
        if data == b"one":
            chat.ac_in_buffer = chat.ac_in_buffer.replace(b"two", b"2")
            assert chat.ac_in_buffer == b"one\r\n2\r\nthree\r\n"
            chat.ac_in_buffer += b"four\r\n"
            assert chat.ac_in_buffer == b"one\r\n2\r\nthree\r\nfour\r\n"

    chat.collect_incoming_data = collect
    chat.arrive(b"one\r\ntwo\r\nthree\r\n")
    assert chat.payloads == [b"one", b"2", b"three", b"four"]


def test_the_buffer_rewritten_between_reads(chat):
    chat.arrive(b"on\r")
    assert chat.ac_in_buffer == b"\r"
    chat.ac_in_buffer = b"e\r\ntwo"
    assert chat.trace == [b"on"]
    chat.arrive(b"\r\n")
    assert chat.payloads == [b"one", b"two"]


def test_a_buffer_that_was_never_bytes_is_empty(chat):
    for nothing in ("", None, bytearray()):
        chat.ac_in_buffer = nothing
        chat.arrive(b"1\r\n")
    assert chat.payloads == [b"1"] * 3


def test_receiving_again_when_a_terminator_is_found(chat):
    """Data received within the callback come after the data that wait."""
    original = chat.found_terminator

    def found():
        original()
        if chat.payloads[-1] == b"again":
            chat.arrive(b"e\r\nthr")
            chat.trace.append("back")

    chat.found_terminator = found
    chat.arrive(b"again\r\none\r\ntwo lin")
    assert chat.trace == [b"again", "found", b"one", "found", b"two line", "found", b"thr", "back"]
    chat.arrive(b"ee\r\n")
    assert chat.trace[-2:] == [b"ee", "found"]
    assert chat.payloads[-1] == b"three"


def test_receiving_again_with_another_terminator(chat_class):
    class Program(chat_class):
        def found_terminator(self):
            super().found_terminator()
            if self.payloads == [b"3"]:
                self.set_terminator(3)
                self.arrive(b"f;g")
                self.set_terminator(b"!")
            elif self.terminator == 0:
                self.set_terminator(b";")

    chat = Program()
    chat.set_terminator(b"\r\n")
    chat.arrive(b"3\r\nabcde")
    assert chat.payloads == [b"3", b"abc", b"def"]
    chat.arrive(b";!")
    assert chat.payloads == [b"3", b"abc", b"def", b"g;"]


@pytest.mark.parametrize("error", [RuntimeError, OSError, BlockingIOError, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("terminator", "whole_trace"),
    [
        (b"\r\n", [b"one", "found", b"two", "found", b"thr"]),
        (5, [b"one\r\n", "found", b"two\r\nthr"]),
        (None, [b"one\r\ntwo\r\nthr"]),
    ],
)
class TestACallbackThatRaises:
    def test_when_collecting_gets_the_same_again(self, chat, terminator, whole_trace, error):
        original = chat.collect_incoming_data
        failures = 2

        def collect(data):
            nonlocal failures
            if failures:
                failures -= 1
                raise error("not now")
            original(data)

        chat.collect_incoming_data = collect
        chat.set_terminator(terminator)
        for chunk in (b"one\r\ntwo\r\nthr", b""):
            with pytest.raises(error, match="not now"):
                chat.arrive(chunk)
            assert chat.ac_in_buffer == b"one\r\ntwo\r\nthr"
            assert chat.terminator == terminator
        chat.arrive(b"")
        assert chat.trace == whole_trace
        assert chat.ac_in_buffer == b""

    def test_when_a_terminator_is_found_has_consumed_it(self, chat, terminator, whole_trace, error):
        original = chat.found_terminator

        def found():
            original()
            raise error("not now")

        chat.found_terminator = found
        chat.set_terminator(terminator)
        arriving = b"one\r\ntwo\r\nthr"
        for _ in range(whole_trace.count("found")):
            with pytest.raises(error, match="not now"):
                chat.arrive(arriving)
            arriving = b""
        chat.arrive(arriving)
        assert chat.trace == whole_trace
        assert chat.ac_in_buffer == b""


def test_an_error_when_collecting_later_parts(chat):
    original = chat.collect_incoming_data
    chat.arrive(b"one\r\ntw")

    def fail(data):
        raise LookupError("not now")

    chat.collect_incoming_data = fail
    with pytest.raises(LookupError):
        chat.arrive(b"o\r\nthree\r")
    assert chat.ac_in_buffer == b"o\r\nthree\r"
    chat.collect_incoming_data = original
    chat.arrive(b"\n")
    assert chat.payloads == [b"one", b"two", b"three"]


def test_an_error_after_rewriting_the_buffer_leaves_the_new_value(chat):
    def fail(data):
        chat.ac_in_buffer = b"rewritten\r\nrest"
        raise LookupError("not now")

    original, chat.collect_incoming_data = chat.collect_incoming_data, fail
    with pytest.raises(LookupError):
        chat.arrive(b"one\r\ntwo\r\n")
    assert chat.ac_in_buffer == b"rewritten\r\nrest"
    chat.collect_incoming_data = original
    chat.arrive(b"")
    assert chat.trace == [b"rewritten", "found", b"rest"]


def test_a_closed_channel_still_delivers_received_data(chat):
    original = chat.found_terminator

    def found():
        original()
        if not chat.payloads[1:]:
            chat.handle_close()

    chat.found_terminator = found
    chat.arrive(b"1\r\n2\r\n3")
    assert chat.trace == [b"1", "found", "closed", b"2", "found", b"3"]


# Objects given away, and objects kept


@pytest.mark.parametrize("terminator", [None, 0, 6, 7, b"\r\n"])
def test_a_chunk_that_is_one_payload_is_handed_over_itself(chat, terminator):
    chat.set_terminator(terminator)
    data = b"".join([b"pie", b"ces"])
    chat.arrive(data)
    assert chat.collected[0] is data
    chat.set_terminator(terminator)
    chat.arrive(data)
    assert chat.collected[1] is data


@counts_references
@pytest.mark.parametrize("chunk", [b"1\r\n2\r\n", b"1\r\n2", b"1\r\n2\r", b"\r", b"no terminator"])
@pytest.mark.parametrize("terminator", [b"\r\n", 3, 100, None, "rebound"])
def test_an_idle_channel_holds_nothing_that_was_received(chat, chunk, terminator):
    chunk = bytes(bytearray(chunk) + b"\0")[:-1] if len(chunk) > 1 else chunk * 2
    if terminator == "rebound":
        chat.get_terminator = lambda: b"\r\n"
    else:
        chat.set_terminator(terminator)
    chat.collect_incoming_data = lambda data: None
    unheld = sys.getrefcount(chunk)
    chat.arrive(chunk)
    assert sys.getrefcount(chunk) == unheld


class TestViews:
    @pytest.fixture
    def viewing_class(self, chat_class):
        return type("Viewing", (chat_class,), {"collect_views": True})

    @pytest.mark.parametrize("terminator", [b"\r\n", 3, None])
    def test_are_cut_from_the_very_object_received(self, viewing_class, terminator):
        chat = viewing_class()
        chat.set_terminator(terminator)
        data = b"one\r\ntwo\r\n3"
        chat.arrive(data)
        assert chat.collected
        for view in chat.collected:
            assert type(view) is memoryview
            assert view.obj is data

    def test_are_of_immutable_bytes_and_stay(self, viewing_class, cut):
        for chunks in cut(b"one\r\ntwo\r\n\r\nthree"):
            chat = viewing_class()
            chat.set_terminator(b"\r\n")
            for chunk in map(bytearray, chunks):
                chat.arrive(chunk)
                chunk[:] = b"?" * len(chunk)
                chunk += b"no view exports this"
            chat.arrive(b"\r\n")
            assert {type(view.obj) for view in chat.collected} == {bytes}
            assert chat.payloads == [b"one", b"two", b"", b"three"]

    def test_are_delivered_again_after_an_error(self, viewing_class):
        chat = viewing_class()
        chat.set_terminator(b"\r\n")
        original = chat.collect_incoming_data

        def fail(data):
            raise LookupError("not now")

        chat.collect_incoming_data = fail
        with pytest.raises(LookupError):
            chat.arrive(b"one\r\n")
        chat.collect_incoming_data = original
        chat.arrive(b"")
        assert chat.payloads == [b"one"]

    @pytest.mark.parametrize("how", ["class", "instance"])
    def test_are_cut_when_get_terminator_is_overridden(self, viewing_class, how):
        if how == "class":
            viewing_class.get_terminator = lambda self: b"\r\n"
        chat = viewing_class()
        if how == "instance":
            chat.get_terminator = lambda: b"\r\n"
        chat.arrive(b"one\r\ntwo")
        assert [type(data) for data in chat.collected] == [memoryview] * 2
        assert chat.collected == [b"one", b"two"]

    def test_can_be_turned_off_at_a_terminator(self, viewing_class):
        chat = viewing_class()
        chat.set_terminator(b"\n")
        chat.arrive(b"1\n")
        chat.collect_views = False
        chat.set_terminator(b"\n")
        chat.arrive(b"2\n")
        assert [type(data) for data in chat.collected] == [memoryview, bytes]


# Payloads that are too long


@pytest.fixture
def limited(chat_class):
    class Limited(chat_class):
        max_payload = 5

    return Limited


@pytest.mark.parametrize("payload", [b"", b"1234", b"12345"])
def test_a_payload_up_to_the_limit_is_delivered(limited, cut, payload):
    for chunks in cut(payload + b"\r\n" + payload + b"\r\n" + payload):
        chat = limited()
        chat.set_terminator(b"\r\n")
        arrive_all(chat, chunks)
        assert chat.payloads == [payload, payload]
        assert b"".join(chat.incoming) == payload
        assert chat.logged == []


@pytest.mark.parametrize("rest", [b"", b"\r\n", b"7890\r\n"])
def test_a_payload_above_the_limit_closes(limited, cut, rest):
    for chunks in cut(b"good\r\n123456" + rest + b"more\r\n"):
        chat = limited()
        chat.set_terminator(b"\r\n")
        for chunk in chunks:
            chat.arrive(chunk)
            if "closed" in chat.trace:
                break
        assert chat.payloads == [b"good"]
        assert chat.trace.count("closed") == 1
        assert chat.trace[-1] == "closed"
        assert chat.ac_in_buffer == b""
        assert all(len(data) <= 5 for data in chat.collected)
        [(kind, line)] = chat.logged
        assert kind == "error"
        assert "5 bytes" in line


@pytest.mark.parametrize("asking", [False, True])
def test_a_handler_that_goes_on_gets_the_next_payload(limited, cut, asking):
    class Tolerant(limited):
        def handle_overlong_payload(self):
            self.trace.append("overlong")
            self.payloads.append("overlong")
            self.incoming.clear()

    for chunks in cut(b"12345\r\n1234\r6\r7890\r\nab\r\n123456\r\n\r\n1234567\r\r\n123\r"):
        chat = Tolerant()
        chat.set_terminator(b"\r\n")
        if asking:
            chat.get_terminator = lambda: b"\r\n"
        arrive_all(chat, chunks)
        assert chat.payloads == [b"12345", "overlong", b"ab", "overlong", b"", "overlong"], chunks
        assert b"".join(chat.incoming) == b"123"
        assert chat.ac_in_buffer == b"\r"


def test_the_limit_is_looked_up_with_each_terminator(limited):
    class Tolerant(limited):
        def handle_overlong_payload(self):
            self.trace.append("overlong")

    chat = Tolerant()
    chat.max_payload = 2
    chat.set_terminator(b"\r\n")
    chat.arrive(b"123\r\n")
    chat.max_payload = None
    chat.set_terminator(b"\r\n")
    chat.arrive(b"123456\r\n")
    assert chat.trace == ["overlong", b"123456", "found"]


@pytest.mark.parametrize("terminator", [None, 20])
def test_payloads_that_do_not_end_at_bytes_have_no_limit(limited, cut, terminator):
    for chunks in cut(b"more than five pieces"):
        chat = limited()
        chat.set_terminator(terminator)
        arrive_all(chat, chunks)
        assert b"".join(chat.collected) == b"more than five pieces"
        assert chat.logged == []


def test_a_get_terminator_put_on_the_object_in_a_nested_read_is_asked_in_the_outer_one_too(chat_class):
    class Rereads(chat_class):
        def found_terminator(self):
            super().found_terminator()
            if len(self.payloads) == 1:
                self.arrive(b"ca")
            elif len(self.payloads) == 2:
                self.get_terminator = lambda: b"ab"

    chat = Rereads()
    chat.set_terminator(b"a")
    chat.arrive(b"aa")
    assert chat.payloads == [b"", b""]  # the last byte may be the beginning of "ab"
    chat.arrive(b"b")
    assert chat.payloads == [b"", b"", b"c"]


@pytest.mark.parametrize(
    ("terminator", "payloads"), [(b"\n", [b"ab", b"cd\r"]), (4, [b"ab\nc"]), (None, []), (b"\r\n", [b"ab\ncd"])]
)
def test_a_terminator_set_for_an_overlong_payload_holds_for_what_follows_it(limited, cut, terminator, payloads):
    """The rest is dropped up to the old terminator: it must not matter in how many pieces it arrives."""

    class Changing(limited):
        def handle_overlong_payload(self):
            self.incoming.clear()
            self.trace[:] = ["overlong"]
            self.set_terminator(terminator)
            assert self.get_terminator() == terminator

    for chunks in cut(b"123456\n78\r\nab\ncd\r\n"):
        chat = Changing()
        chat.set_terminator(b"\r\n")
        for chunk in chunks:
            chat.arrive(chunk)
        assert chat.payloads == payloads
        assert chat.trace.pop(0) == "overlong"
        assert b"".join(each for each in chat.trace if each != "found").startswith(b"ab")


def test_a_handler_of_overlong_payloads_that_raises_is_not_called_again(limited):
    class Failing(limited):
        def handle_overlong_payload(self):
            raise LookupError("too long")

    chat = Failing()
    chat.set_terminator(b"\r\n")
    with pytest.raises(LookupError):
        chat.arrive(b"123456\r\nab\r\n")
    chat.arrive(b"")
    assert chat.payloads == [b"ab"]


def test_data_collected_again_after_an_error_count_once_for_the_limit(limited):
    chat = limited()
    chat.set_terminator(b"\r\n")
    original = chat.collect_incoming_data

    def fail(data):
        raise LookupError("not now")

    chat.collect_incoming_data = fail
    for chunk in (b"123", b"", b"4"):
        with pytest.raises(LookupError):
            chat.arrive(chunk)
    chat.collect_incoming_data = original
    chat.arrive(b"5\r\n")
    assert chat.payloads == [b"12345"]


# Objects: their kinds and their lives


def test_sizes_and_encoding_have_the_documented_defaults(chat_class):
    chat = chat_class()
    assert chat.ac_in_buffer_size == chat.ac_out_buffer_size == 65536
    assert (chat.use_encoding, chat.encoding) == (0, "latin-1")
    assert (chat.coalesce_pushes, chat.collect_views, chat.max_payload, chat.output_high_water) == (
        False,
        False,
        None,
        None,
    )
    assert (chat.ac_in_buffer, chat.incoming, chat.producer_fifo) == (b"", [], deque())


def test_sizes_are_plain_attributes(chat):
    for size in (4096.0, 1e4 / 3, 17):
        chat.ac_in_buffer_size = chat.ac_out_buffer_size = size
        assert chat.ac_in_buffer_size == chat.ac_out_buffer_size == size
    del chat.ac_in_buffer_size
    assert chat.ac_in_buffer_size == 65536
    chat.ac_out_buffer_size = 4.5
    chat.push(b"0123456")
    chat.initiate_send()
    assert chat.bytes_sent == b"0123456"


def test_incoming_may_be_replaced(chat):
    chat.arrive(b"dropped")
    incoming = chat.incoming = [b"replaced "]
    chat.arrive(b"line\r\n")
    assert chat.payloads == [b"replaced line"]
    assert chat.incoming is incoming
    assert incoming == []


@pytest.mark.parametrize("first", ["ac_in_buffer", "incoming", "producer_fifo", "set_terminator"])
def test_a_subclass_need_not_call_init(chat_class, first):
    steps = {
        "ac_in_buffer": lambda chat: setattr(chat, "ac_in_buffer", b""),
        "incoming": lambda chat: setattr(chat, "incoming", []),
        "producer_fifo": lambda chat: setattr(chat, "producer_fifo", deque()),
        "set_terminator": lambda chat: chat.set_terminator(b"\r\n"),
    }
    recorder = chat_class.__mro__[1]

    class Program(chat_class):
        def __init__(self):
            recorder.__init__(self)
            self.connected = True
            self.arriving = deque()
            for name in sorted(steps, key=lambda name: name != first):
                steps[name](self)

    chat = Program()
    chat.arrive(b"one\r\ntwo\r")
    assert (chat.payloads, chat.ac_in_buffer) == ([b"one"], b"\r")
    chat.push(b"reply")
    chat.close_when_done()
    chat.initiate_send()
    assert (chat.sent, chat.trace[-1]) == ([b"reply"], "closed")
    chat.discard_buffers()
    assert (chat.ac_in_buffer, chat.incoming, chat.producer_fifo) == (b"", [], deque())


def test_a_subclass_without_init_may_receive_only_or_send_only(chat_class):
    recorder = chat_class.__mro__[1]

    class Program(chat_class):
        connected = True

        def __init__(self):
            recorder.__init__(self)

    sender = Program()
    sender.producer_fifo = deque()
    sender.push(b"pieces")
    assert sender.sent == [b"pieces"]
    receiver = Program()
    receiver.arriving = deque()
    receiver.ac_in_buffer = b"p"
    receiver.incoming = []
    receiver.terminator = b"\n"
    receiver.arrive(b"ieces\n")
    assert receiver.payloads == [b"pieces"]


def test_a_shallow_copy_shares_all_but_the_buffer(chat):
    chat.arrive(b"one\r\ntw\r")
    chat.mark = object()
    twin = copy.copy(chat)
    assert type(twin) is type(chat)
    assert twin.mark is chat.mark
    assert twin.incoming is chat.incoming
    assert twin.producer_fifo is chat.producer_fifo
    assert twin.ac_in_buffer == chat.ac_in_buffer == b"\r"
    assert twin.terminator == twin.get_terminator() == b"\r\n"
    twin.ac_in_buffer = b""
    assert chat.ac_in_buffer == b"\r"
    twin.set_terminator(3)
    assert chat.terminator == b"\r\n"
    twin.incoming = []
    twin.arrive(b"abcd")
    assert twin.payloads[-1] == b"abc"
    chat.arrive(b"\n")
    assert chat.payloads[-1] == b"tw"


def test_channels_can_be_weakly_referenced_and_collected_in_cycles(chat_class):
    chat = chat_class()
    chat.set_terminator(b"\r\n")
    chat.itself = chat
    chat.get_terminator = functools.partial(getattr, chat, "terminator")
    chat.connected = False
    chat.more = bytes
    chat.push_with_producer(chat)
    chat.arrive(b"one\r\ntwo")
    gone = weakref.ref(chat)
    assert gone() is chat
    del chat
    gc.collect()
    gc.collect()
    assert gone() is None


# Output


@pytest.mark.parametrize("data", [b"pieces", bytearray(b"pieces"), memoryview(b"pieces")])
def test_bytes_are_pushed_as_they_are(chat, data):
    chat.connected = False
    chat.push(data)
    assert list(chat.producer_fifo) == [b"pieces"]
    if not isinstance(data, memoryview):
        assert chat.producer_fifo[0] is data
    chat.connected = True
    chat.initiate_send()
    assert chat.sent == [b"pieces"]


@pytest.mark.parametrize("data", ["text", None, 7, [b"pieces"], object()])
def test_objects_that_are_not_bytes_cannot_be_pushed(chat, data):
    with pytest.raises(TypeError, match=type(data).__name__):
        chat.push(data)
    assert not chat.producer_fifo
    assert chat.sent == []


def test_a_push_is_cut_into_pieces_of_the_output_size(chat):
    chat.ac_out_buffer_size = 4
    chat.push(b"0123456789")
    assert chat.sent == [b"0123"]
    assert list(chat.producer_fifo) == [b"4567", b"89"]
    chat.initiate_send()
    chat.initiate_send()
    chat.initiate_send()
    assert chat.sent == [b"0123", b"4567", b"89"]


def test_nothing_is_sent_unless_connected(chat):
    chat.connected = False
    assert chat.writable()
    chat.push(b"one")
    chat.push_with_producer(iter_producer(b"two"))
    chat.initiate_send()
    assert chat.sent == []
    assert len(chat.producer_fifo) == 2
    chat.connected = True
    for _ in range(3):
        chat.initiate_send()
    assert chat.sent == [b"one", b"two"]
    assert not chat.writable()


def iter_producer(*pieces):
    """A producer of *pieces*."""

    class Producer:
        def __init__(self):
            self.pieces = deque(pieces)
            self.calls = 0

        def more(self):
            self.calls += 1
            return self.pieces.popleft() if self.pieces else b""

    return Producer()


@pytest.fixture
def slow_class(chat_class):
    """A chat whose transport takes as many bytes as the next item of ``takes``, or raises it."""

    class Slow(chat_class):
        def __init__(self):
            super().__init__()
            self.takes = []

        def send(self, data):
            take = self.takes.pop(0) if self.takes else None
            if isinstance(take, BaseException):
                raise take
            return super().send(memoryview(data).cast("B")[:take])

    return Slow


def test_each_initiate_send_sends_at_most_once_and_keeps_the_rest(slow_class):
    chat = slow_class()
    chat.ac_out_buffer_size = 6
    chat.takes = [3, 1, 0, 2]
    chat.push(b"abcd")
    assert chat.sent == [b"abc"]
    assert list(chat.producer_fifo) == [b"d"]
    chat.push(b"0123456789")
    assert chat.sent == [b"abc", b"d"]
    chat.initiate_send()
    assert list(chat.producer_fifo) == [b"012345", b"6789"]
    chat.initiate_send()
    assert chat.sent == [b"abc", b"d", b"", b"01"]
    assert list(chat.producer_fifo) == [b"2345", b"6789"]
    chat.initiate_send()
    chat.initiate_send()
    assert chat.bytes_sent == b"abcd0123456789"
    assert not chat.producer_fifo


def test_a_queued_item_longer_than_the_output_size_is_sent_in_pieces(chat):
    chat.ac_out_buffer_size = 4
    chat.producer_fifo.append(b"0123456789")
    for _ in range(3):
        chat.initiate_send()
    assert chat.sent == [b"0123", b"4567", b"89"]
    assert not chat.producer_fifo


def test_an_error_of_the_transport_goes_to_handle_error_and_nothing_is_lost(slow_class):
    chat = slow_class()
    error = OSError("broken")
    chat.takes = [error]
    chat.push(b"pieces")
    assert chat.errors == [error]
    assert list(chat.producer_fifo) == [b"pieces"]
    chat.initiate_send()
    assert chat.sent == [b"pieces"]


@pytest.mark.parametrize("error", [BlockingIOError(), ssl.SSLWantReadError(), ssl.SSLWantWriteError()])
def test_a_transport_that_would_block_is_no_error(slow_class, error):
    chat = slow_class()
    chat.takes = [error]
    chat.push(b"pieces")
    assert chat.errors == []
    assert list(chat.producer_fifo) == [b"pieces"]
    assert chat.connected
    chat.initiate_send()
    assert chat.sent == [b"pieces"]


def test_another_error_when_sending_propagates_and_can_be_survived(slow_class):
    chat = slow_class()
    chat.takes = [LookupError("no transport")]
    with pytest.raises(LookupError):
        chat.push(b"pieces")
    chat.initiate_send()
    assert chat.sent == [b"pieces"]


class TestProducers:
    def test_are_asked_at_the_head_only(self, slow_class):
        chat = slow_class()
        producer = iter_producer(b"two", b"three")
        chat.takes = [0]
        chat.push(b"one")
        chat.push_with_producer(producer)
        assert (chat.bytes_sent, producer.calls) == (b"one", 0)
        chat.initiate_send()
        assert (chat.bytes_sent, producer.calls) == (b"onetwo", 1)

    def test_that_are_exhausted_give_way_to_the_next_in_the_same_call(self, chat):
        chat.connected = False
        chat.push_with_producer(iter_producer())
        chat.push_with_producer(iter_producer(b"one"))
        chat.push_with_producer(iter_producer())
        chat.push(b"two")
        chat.connected = True
        chat.initiate_send()
        assert chat.sent == [b"one"]
        chat.initiate_send()
        assert chat.sent == [b"one", b"two"]

    @pytest.mark.parametrize("nothing", [b"", "", None, bytearray(), memoryview(b"")])
    def test_are_exhausted_when_they_return_nothing(self, chat, nothing):
        chat.push_with_producer(iter_producer(nothing, b"never asked for"))
        chat.push(b"next")
        assert chat.sent == [b"next"]

    @pytest.mark.parametrize("piece", [b"pieces", bytearray(b"pieces"), memoryview(b"pieces")])
    def test_may_return_any_bytes_longer_than_the_output_size_too(self, chat, piece):
        chat.ac_out_buffer_size = 4
        chat.push_with_producer(iter_producer(piece, piece))
        for _ in range(4):
            chat.initiate_send()
        assert chat.sent == [b"piec", b"es", b"piec", b"es"]

    def test_may_return_text_with_an_encoding(self, slow_class):
        class Text(slow_class):
            use_encoding = 1
            encoding = "utf-8"
            ac_out_buffer_size = 5

        chat = Text()
        chat.takes = [1, 2]
        chat.push_with_producer(iter_producer("ééé§§", "ab"))
        for _ in range(6):
            chat.initiate_send()
        assert chat.bytes_sent == "ééé§§ab".encode()
        assert all(len(data) <= 5 for data in chat.sent)
        assert not chat.producer_fifo

    def test_may_return_producers(self, chat):
        inner = iter_producer(b"1", b"2")
        chat.push_with_producer(iter_producer(b"0", inner, iter_producer(), b"3"))
        chat.push(b"4")
        for _ in range(5):
            chat.initiate_send()
        assert chat.sent == [b"0", b"1", b"2", b"3", b"4"]

    def test_that_are_false_are_not_taken_for_nothing(self, chat):
        """asynchat deletes the item behind a producer whose length has become 0."""

        class Counted(list):
            def more(self):
                return self.pop(0) if self else b""

            def __getitem__(self, item):
                raise TypeError("not bytes")

        class False_:
            def __init__(self):
                self.pieces = [b"3", b"4"]

            def __bool__(self):
                return False

            def more(self):
                return self.pieces.pop(0) if self.pieces else None

        chat.connected = False
        chat.push_with_producer(Counted([b"1", b"2"]))
        chat.push_with_producer(Counted())
        chat.push_with_producer(False_())
        chat.push(b"5")
        chat.close_when_done()
        chat.connected = True
        for _ in range(6):
            chat.initiate_send()
        assert chat.sent == [b"1", b"2", b"3", b"4", b"5"]
        assert chat.trace == ["closed"]

    def test_that_raise_stay_and_can_be_asked_again(self, chat):
        class Failing:
            pieces = (LookupError("not now"), b"1", b"")

            def more(self):
                piece, *self.pieces = self.pieces
                if isinstance(piece, Exception):
                    raise piece
                return piece

        with pytest.raises(LookupError, match="not now"):
            chat.push_with_producer(Failing())
        chat.push(b"2")
        chat.initiate_send()
        assert chat.sent == [b"1", b"2"]

    def test_may_push_when_they_are_asked(self, chat):
        """Data pushed within more() leave after the data it returns; asynchat mixes or loses them."""

        class Pushing:
            pieces = (b"1", b"2")

            def more(self):
                chat.push(b"<%d>" % len(self.pieces))
                piece, *self.pieces = *self.pieces, b""
                self.pieces = self.pieces[:-1]
                return piece

        chat.push_with_producer(Pushing())
        while chat.producer_fifo:
            chat.initiate_send()
        assert chat.bytes_sent == b"12<2><1><0>"

    def test_may_discard_waiting_data(self, chat):
        class Discarding:
            def more(self):
                chat.discard_buffers()
                return b""

        chat.connected = False
        chat.push_with_producer(Discarding())
        chat.push(b"discarded")
        chat.connected = True
        chat.initiate_send()
        assert (chat.sent, len(chat.producer_fifo)) == ([], 0)
        chat.push(b"next")
        assert chat.sent == [b"next"]


class TestClosingWhenDone:
    def test_sends_nothing_itself(self, chat):
        chat.close_when_done()
        assert list(chat.producer_fifo) == [None]
        assert (chat.sent, chat.trace) == ([], [])
        assert chat.writable()
        chat.initiate_send()
        assert chat.trace == ["closed"]
        assert not chat.producer_fifo

    def test_waits_for_queued_data(self, slow_class):
        chat = slow_class()
        chat.takes = [0, 3, 0]
        chat.push(b"pieces")
        chat.push_with_producer(iter_producer(b"more"))
        chat.close_when_done()
        while not chat.trace:
            chat.initiate_send()
        assert chat.bytes_sent == b"piecesmore"
        assert chat.trace == ["closed"]

    def test_calls_the_handle_close_of_the_moment(self, chat):
        chat.handle_close = lambda: chat.trace.append("closed otherwise")
        chat.close_when_done()
        chat.initiate_send()
        assert chat.trace == ["closed otherwise"]

    def test_waits_for_the_connection(self, chat):
        chat.connected = False
        chat.push(b"pieces")
        chat.close_when_done()
        chat.initiate_send()
        assert (chat.sent, chat.trace) == ([], [])
        chat.connected = True
        chat.initiate_send()
        chat.initiate_send()
        assert (chat.sent, chat.trace) == ([b"pieces"], ["closed"])


def test_push_sends_by_the_initiate_send_of_the_moment(chat):
    calls = []
    chat.initiate_send = lambda: calls.append(list(chat.producer_fifo))
    chat.push(b"1")
    chat.push_with_producer(b"2")
    chat.close_when_done()
    assert calls == [[b"1"], [b"1", b"2"]]


def test_the_queue_is_the_programs_to_change(chat):
    chat.initiate_send()
    chat.producer_fifo.append(b"1")
    chat.producer_fifo.appendleft(b"0")
    assert chat.writable()
    assert len(chat.producer_fifo) == 2
    chat.initiate_send()
    assert chat.sent == [b"0"]
    chat.producer_fifo = deque([iter_producer(b"2"), b"3", None])
    while chat.producer_fifo:
        chat.initiate_send()
    assert chat.sent == [b"0", b"2", b"3"]
    assert chat.trace == ["closed"]


def test_discarding_empties_everything_in_place(chat):
    chat.connected = False
    chat.push(b"unsent")
    chat.close_when_done()
    chat.arrive(b"part\r")
    fifo, incoming = chat.producer_fifo, chat.incoming
    assert (list(fifo), incoming, chat.ac_in_buffer) == ([b"unsent", None], [b"part"], b"\r")
    chat.discard_buffers()
    assert chat.producer_fifo is fifo
    assert chat.incoming is incoming
    assert (list(fifo), incoming, chat.ac_in_buffer) == ([], [], b"")
    chat.arrive(b"\nnext\r\n")
    assert chat.payloads == [b"\nnext"]


def test_it_is_readable_always_and_writable_with_a_queue(chat):
    assert chat.readable()
    assert not chat.writable()
    chat.producer_fifo.append(b"pieces")
    assert chat.readable()
    assert chat.writable()
    chat.producer_fifo.clear()
    chat.connected = False
    assert chat.readable()
    assert chat.writable()


@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b"")])
def test_pushing_nothing_sends_nothing_and_delays_nothing(slow_class, empty):
    chat = slow_class()
    for chat.connected in (False, True):
        chat.push(empty)
        assert (chat.sent, list(chat.producer_fifo)) == ([], [])
    chat.takes = [BlockingIOError()]
    chat.push(b"1")
    chat.producer_fifo.appendleft(empty)
    chat.initiate_send()
    assert chat.sent == [b"1"]
    assert not chat.producer_fifo


WIDE = memoryview(bytes(range(48)))


@pytest.mark.parametrize(
    "view",
    [
        WIDE.cast("H"),
        WIDE.cast("B", [6, 8]),
        WIDE.cast("I", [3, 4]),
        WIDE.cast("d")[::2],
        WIDE[::-1],
        WIDE[1::3],
        WIDE.cast("c"),
        WIDE.cast("H")[:0],
    ],
    ids=["2 bytes", "2-D", "2-D of 4 bytes", "every other of 8 bytes", "reversed", "strided", "chars", "empty"],
)
def test_memoryviews_of_any_arrangement_are_sent_byte_by_byte(slow_class, view):
    """asynchat counts items of the view in place of bytes."""
    for size in (65536, 7, 1):
        for queue in (slow_class.push, lambda chat, view: chat.push_with_producer(iter_producer(view))):
            chat = slow_class()
            chat.ac_out_buffer_size = size
            chat.takes = [2, 0, 3]
            queue(chat, view)
            chat.push(b"!")
            for _ in range(view.nbytes + 5):
                chat.initiate_send()
            assert chat.bytes_sent == view.tobytes() + b"!"
            assert not chat.producer_fifo


@pytest.mark.parametrize("size", [0, -1, 0.5])
def test_an_output_size_below_one_is_an_error_that_queues_and_loses_nothing(chat, size):
    chat.connected = False
    chat.push(b"waits")
    chat.ac_out_buffer_size = size
    chat.connected = True
    for action in (lambda: chat.push(b"pieces"), lambda: chat.push(b"o"), chat.initiate_send):
        with pytest.raises(ValueError, match="ac_out_buffer_size"):
            action()
        assert list(chat.producer_fifo) == [b"waits"]
    assert chat.sent == []
    chat.ac_out_buffer_size = 3
    chat.initiate_send()
    chat.push(b"ok")
    chat.initiate_send()
    assert chat.bytes_sent == b"waitsok"


# One sender at a time


def test_pushing_within_send_keeps_the_order(chat_class):
    class Echoing(chat_class):
        def send(self, data):
            if data == b"one":
                self.push(b"two")
                self.push_with_producer(iter_producer(b"three"))
            return super().send(data)

    chat = Echoing()
    chat.push(b"one")
    while chat.producer_fifo:
        chat.initiate_send()
    assert chat.sent == [b"one", b"two", b"three"]


def test_pushing_within_a_send_that_takes_a_part(slow_class):
    class Pushing(slow_class):
        def send(self, data):
            if not self.sent:
                self.push(b"<two>")
            return super().send(data)

    chat = Pushing()
    chat.takes = [1, 2, 2]
    chat.push(b"<one>")
    while chat.producer_fifo:
        chat.initiate_send()
    assert chat.bytes_sent == b"<one><two>"


def test_discarding_within_send(chat_class):
    class Discarding(chat_class):
        def send(self, data):
            self.discard_buffers()
            return super().send(data)

    chat = Discarding()
    chat.connected = False
    chat.push(b"one")
    chat.push(b"two")
    chat.connected = True
    chat.initiate_send()
    assert (chat.sent, len(chat.producer_fifo)) == ([b"one"], 0)


def test_another_thread_leaves_the_sending_to_the_one_that_is_at_it(chat_class):
    """push() returns while another thread is within send(), and that thread sends the data."""

    class Meeting(chat_class):
        def send(self, data):
            if data == b"one":
                other = threading.Thread(target=self.push, args=[b"two"])
                other.start()
                other.join(20)
                assert not other.is_alive()
                assert self.sent == []
            return super().send(data)

    chat = Meeting()
    chat.push(b"one")
    assert chat.sent == [b"one", b"two"]
    assert not chat.producer_fifo


@pytest.fixture
def eager_switching():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_switching")
def test_threads_that_push_at_once(slow_class):
    """All data are sent once, each push in one piece, those of one thread in their order."""
    pushes, threads = 150, 6

    class Slow(slow_class):
        ac_out_buffer_size = 11

        def send(self, data):
            self.takes = [len(data) // 2 + 1]
            time.sleep(0)  # lets the others run
            return super().send(data)

    chat = Slow()
    barrier = threading.Barrier(threads)

    def push_all(name):
        barrier.wait()
        for number in range(pushes):
            message = b"<%d %d %b>" % (name, number, b"." * (number % 29))
            if number % 7:
                chat.push(message)
            else:
                chat.push_with_producer(iter_producer(message))

    workers = [threading.Thread(target=push_all, args=[name]) for name in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    while chat.producer_fifo:
        chat.initiate_send()
    assert chat.bytes_sent.startswith(b"<")
    assert chat.bytes_sent.endswith(b">")
    order = {name: [] for name in range(threads)}
    for message in chat.bytes_sent[1:-1].split(b"><"):
        name, number, dots = message.split(b" ")
        assert dots == b"." * (int(number) % 29)
        order[int(name)].append(int(number))
    assert all(numbers == list(range(pushes)) for numbers in order.values())


# Pushes that are held back


class Replies:
    """Mixed into a chat: replies to each payload, by a reply of its own if there is one."""

    coalesce_pushes = True

    def found_terminator(self):
        super().found_terminator()
        self.push(b"<" + self.payloads[-1] + b">")


@pytest.fixture
def coalescing(slow_class):
    class Coalescing(Replies, slow_class):
        pass

    chat = Coalescing()
    chat.set_terminator(b"\n")
    return chat


class TestCoalescing:
    def test_is_off_unless_asked_for(self, coalescing):
        coalescing.coalesce_pushes = False
        coalescing.arrive(b"1\n2\n3\n")
        assert coalescing.sent == [b"<1>", b"<2>", b"<3>"]

    def test_sends_once_at_the_end(self, coalescing):
        sent_meanwhile = []
        original = coalescing.found_terminator

        def found():
            original()
            sent_meanwhile.extend(coalescing.sent)

        coalescing.found_terminator = found
        coalescing.arrive(b"1\n2\n3\n")
        assert sent_meanwhile == []
        assert coalescing.sent == [b"<1><2><3>"]
        assert not coalescing.producer_fifo
        coalescing.arrive(b"4\n5\n")
        assert coalescing.sent == [b"<1><2><3>", b"<4><5>"]

    def test_sends_data_pushed_elsewhere_at_once(self, coalescing):
        coalescing.push(b"1")
        assert coalescing.sent == [b"1"]

    def test_joins_bytes_of_all_kinds_up_to_the_output_size(self, coalescing):
        coalescing.ac_out_buffer_size = 8
        coalescing.connected = False
        for data in (b"abc", bytearray(b"de"), memoryview(b"fg"), b"hij", b"0123456789", iter_producer(b"kl"), b"mn"):
            coalescing.producer_fifo.append(data)
        coalescing.close_when_done()
        coalescing.connected = True
        while coalescing.producer_fifo:
            coalescing.initiate_send()
        assert coalescing.bytes_sent == b"abcdefghij0123456789klmn"
        assert coalescing.sent[0] == b"abcdefg"
        assert all(len(data) <= 8 for data in coalescing.sent)
        assert coalescing.trace == ["closed"]

    def test_loses_nothing_when_the_transport_takes_a_part(self, coalescing):
        coalescing.takes = [2, 0, 4]
        coalescing.arrive(b"1\n2\n3\n")
        coalescing.arrive(b"4\n")
        while coalescing.producer_fifo:
            coalescing.initiate_send()
        assert coalescing.bytes_sent == b"<1><2><3><4>"

    def test_sends_data_pushed_before_a_callback_raised(self, coalescing):
        original = coalescing.found_terminator

        def found():
            original()
            if coalescing.payloads[-1] == b"2":
                raise LookupError("not now")

        coalescing.found_terminator = found
        with pytest.raises(LookupError):
            coalescing.arrive(b"1\n2\n3\n")
        assert coalescing.sent == [b"<1><2>"]
        coalescing.arrive(b"")
        assert coalescing.sent == [b"<1><2>", b"<3>"]
        coalescing.push(b"at once")
        assert coalescing.sent[-1] == b"at once"

    def test_loses_nothing_when_input_is_handled_within(self, coalescing):
        original = coalescing.found_terminator

        def found():
            original()
            if coalescing.payloads[-1] == b"1":
                coalescing.arrive(b"2\n")
                coalescing.push(b"back")

        coalescing.found_terminator = found
        coalescing.arrive(b"1\n")
        coalescing.arrive(b"3\n")
        assert coalescing.bytes_sent == b"<1><2>back<3>"
        assert not coalescing.producer_fifo

    def test_leaves_nothing_unsent_when_input_handled_within_has_no_reply(self, coalescing):
        original = coalescing.found_terminator

        def found():
            original()
            coalescing.arrive(b"part of a line")

        coalescing.found_terminator = found
        coalescing.arrive(b"1\n")
        assert coalescing.bytes_sent == b"<1>"

    def test_sends_by_the_initiate_send_of_the_moment(self, coalescing):
        calls = []
        coalescing.initiate_send = lambda: calls.append(list(coalescing.producer_fifo))
        coalescing.arrive(b"1\n2\n")
        assert calls == [[b"<1>", b"<2>"]]
        coalescing.arrive(b"nothing to say")
        assert len(calls) == 1

    def test_closes_when_done_after_all_is_sent(self, coalescing):
        original = coalescing.found_terminator

        def found():
            original()
            if coalescing.payloads[-1] == b"quit":
                coalescing.close_when_done()

        coalescing.found_terminator = found
        coalescing.arrive(b"1\nquit\n")
        while coalescing.producer_fifo:
            coalescing.initiate_send()
        assert coalescing.sent == [b"<1><quit>"]
        assert coalescing.trace[-1] == "closed"

    def test_discards_held_back_data_with_the_buffers(self, coalescing):
        original = coalescing.found_terminator

        def found():
            original()
            coalescing.discard_buffers()

        coalescing.found_terminator = found
        coalescing.arrive(b"1\n2\n")
        assert (coalescing.sent, coalescing.payloads) == ([], [b"1"])

    @pytest.mark.parametrize("replacement", [None, deque(), "the same"])
    def test_sends_data_pushed_after_the_queue_was_emptied(self, coalescing, replacement):
        coalescing.producer_fifo.extend([b"a", b"b", b"c"])

        def found():
            if replacement == "the same":
                coalescing.discard_buffers()
            else:
                coalescing.producer_fifo = replacement
            coalescing.push(b"<1>")

        coalescing.found_terminator = found
        coalescing.arrive(b"1\n")
        assert coalescing.sent == [b"<1>"]

    @pytest.mark.parametrize("length", [1, 9, 4096, 4097, 20000])
    def test_cuts_held_back_data(self, coalescing, length):
        coalescing.ac_out_buffer_size = 4000
        pushed = bytes(range(256)) * 100
        coalescing.found_terminator = lambda: coalescing.push(pushed[:length])
        coalescing.arrive(b"1\n2\n")
        while coalescing.producer_fifo:
            coalescing.initiate_send()
        assert coalescing.bytes_sent == 2 * pushed[:length]
        assert all(len(data) <= 4000 for data in coalescing.sent)

    def test_sends_text_among_held_back_data(self, coalescing):
        coalescing.use_encoding = True
        coalescing.found_terminator = lambda: [
            coalescing.push(b"1"),
            coalescing.producer_fifo.append("text"),
            coalescing.push(b"2"),
        ]
        coalescing.arrive(b"1\n")
        while coalescing.producer_fifo:
            coalescing.initiate_send()
        assert coalescing.bytes_sent == b"1text2"


def test_reading_pauses_while_too_much_waits(slow_class):
    class Paused(slow_class):
        output_high_water = 8
        ac_out_buffer_size = 4

    chat = Paused()
    chat.takes = [0] * 3
    chat.push(b"01234567")
    assert chat.readable()
    chat.push(b"8")
    assert not chat.readable()
    assert chat.writable()
    chat.takes = [1]
    chat.initiate_send()
    assert chat.readable()
    chat.discard_buffers()
    chat.connected = False
    chat.push_with_producer(iter_producer(b"as much as a send"))
    chat.push(b"4567")
    assert chat.readable()
    chat.push(b"8")
    assert not chat.readable()
    chat.discard_buffers()
    assert chat.readable()


def test_reading_never_pauses_without_a_high_water_mark(chat):
    chat.connected = False
    chat.push(bytes(1 << 22))
    assert chat.readable()


def test_a_repeated_init_leaves_the_terminator_and_makes_all_else_anew(chat_class):
    """Programs call it again to move a channel to another map."""
    chat = chat_class()
    chat.connected = False
    chat.set_terminator(b";")
    chat.push(b"waits")
    chat.arrive(b"rest")
    chat.ac_in_buffer = b"more"
    chat_class.__init__(chat)
    assert (chat.get_terminator(), chat.ac_in_buffer, chat.incoming) == (b";", b"", [])
    assert list(chat.producer_fifo) == []
