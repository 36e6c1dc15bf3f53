"""InputBuffer, both builds of it: how a stream is cut must never depend on how it arrived."""

import asyncio
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynchat_fast import InputBuffer
from asynchat_fast.events import Interrupted, PlainEventBuffer
from asynchat_fast.framing import PlainInputBuffer, plain_find_prefix_at_end

counts_references = pytest.mark.skipif(
    not hasattr(sys, "getrefcount"), reason="only CPython tells how many references an object has"
)


def pull(buffer, chunks):
    """Return the payloads of *chunks*, and the beginning of the one after them that was taken."""
    payloads, parts = [], []
    for chunk in chunks:
        buffer.feed(chunk)
        for payload in buffer:
            assert type(payload) is bytes
            payloads.append(b"".join([*parts, payload]))
            parts.clear()
        parts.append(buffer.take_partial())
        assert type(parts[-1]) is bytes
    return payloads, b"".join(parts)


def held(data, terminator):
    """Return the longest end of *data* that the terminator begins with."""
    return next(data[at:] for at in range(len(data) + 1) if terminator.startswith(data[at:]))


LONG = bytes(range(256)) + b"\0" * 144

STREAMS = {
    "nothing else": (b"\r\n", b"\r\n"),
    "no terminator": (b"\r\n", b"just a beginning"),
    "lines": (b"\r\n", b"HELO example\r\nMAIL FROM:<>\r\n\r\n\r\nQUIT\r\n"),
    "rest": (b"\r\n", b"one\r\ntwo\r\nthr"),
    "rest like the terminator": (b"\r\n", b"one\r\ntwo\r"),
    "one byte": (b"\n", b"a\nbb\n\nccc"),
    "three bytes": (b"<->", b"<-><<-><-<-><->-><-"),
    "five bytes": (b"\r\n.\r\n", b"body\r\n..\r\n.\r\n\r\n.\r\nmore\r\n.\r"),
    "NUL": (b"\0\0", b"\0a\0\0\0b\0\0c\0"),
    "high bytes": (b"\xff\xfe", b"\xff\xff\xfe\xfe\xff\xfe\x80\xff"),
    "overlaps itself": (b"aa", b"aaaaabaaa"),
    "overlaps itself, periodic": (b"abab", b"abaabababbababaaba"),
    "begins like its end": (b"abcab", b"abcabcabaabcabxabca"),
    "ends alike": (b"a12b", b"a34b" * 40 + b"a12ba34b"),
    "bare CRs": (b"\r\n", b"\r" * 200 + b"\r\n" + b"\r" * 40 + b"\n\r\n\r\r"),
    "bare CRs before five bytes": (b"\r\n.\r\n", b"\r\n.\r" * 50 + b"\r\n.\r\n" + b"\r\n" * 30),
    "all but the last byte": (b"aaab", b"aaa" * 80 + b"baab" + b"a" * 90 + b"baa"),
    "long": (LONG, b"x" + LONG + LONG[:-1] + b"y" + LONG + LONG[:399]),
}

each_stream = pytest.mark.parametrize(("terminator", "stream"), STREAMS.values(), ids=STREAMS)


@each_stream
def test_payloads_end_at_bytes(framing, cut, terminator, stream):
    *payloads, rest = stream.split(terminator)
    for chunks in cut(stream):
        buffer = framing.InputBuffer(terminator)
        assert pull(buffer, chunks) == (payloads, rest.removesuffix(held(rest, terminator)))
        assert buffer.unread == held(rest, terminator)
        assert len(buffer) == len(buffer.unread)


def test_payloads_end_at_four_thousand_bytes(framing):
    terminator = b"ab" * 2048 + b"c"
    stream = b"ab" * 3000 + terminator + b"x" + terminator + terminator[:-1]
    *payloads, rest = stream.split(terminator)
    for at in (*range(1, len(stream), 97), len(stream)):
        buffer = framing.InputBuffer(terminator)
        assert pull(buffer, [stream[:at], stream[at:]]) == (payloads, b"")
        assert buffer.unread == rest


@pytest.mark.parametrize("terminator", [bytearray(b"\r\n"), memoryview(b"\r\n"), memoryview(b"\r.\n.")[::2]])
def test_payloads_end_at_bytes_like_terminators(framing, cut, terminator):
    for chunks in cut(b"one\r\n\r\ntwo\r"):
        buffer = framing.InputBuffer(terminator)
        assert pull(buffer, chunks) == ([b"one", b""], b"two")
        assert buffer.unread == b"\r"
        assert buffer.terminator is terminator


@pytest.mark.parametrize("views", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 10, 11])
def test_payloads_of_a_number_of_bytes_come_again_and_again(framing, cut, count, views):
    stream = b"0123456789"
    whole = len(stream) // count * count
    for chunks in cut(stream):
        buffer, payloads = framing.InputBuffer(count, views=views), []
        for chunk in chunks:
            buffer.feed(chunk)
            payloads += map(bytes, buffer)
        assert payloads == [stream[at : at + count] for at in range(0, whole, count)]
        assert (buffer.unread, buffer.terminator) == (stream[whole:], count)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 10, 11])
def test_a_payload_of_a_number_of_bytes_may_be_taken_in_parts(framing, cut, count):
    stream = b"0123456789"
    whole = len(stream) // count * count
    for chunks in cut(stream):
        buffer = framing.InputBuffer(count)
        assert pull(buffer, chunks) == ([stream[at : at + count] for at in range(0, whole, count)], stream[whole:])
        assert (buffer.unread, buffer.terminator) == (b"", count)


def test_a_number_of_bytes_counts_from_where_it_was_set(framing):
    buffer = framing.InputBuffer(4)
    buffer.feed(b"012")
    assert buffer.take_partial() == b"012"
    buffer.set_terminator(4)
    buffer.feed(b"3456789")
    assert list(buffer) == [b"3456"]
    buffer.set_terminator(2)
    assert list(buffer) == [b"78"]
    buffer.set_terminator(True)  # an int like any other
    assert list(buffer) == [b"9"]


@pytest.mark.parametrize("terminator", [None, 0, b"", "", bytearray(), False])
def test_a_false_terminator_ends_nothing(framing, cut, terminator):
    for chunks in cut(b"any\r\nthing"):
        buffer = framing.InputBuffer(terminator)
        assert pull(buffer, chunks) == ([], b"any\r\nthing")
        assert buffer.unread == b""
    assert framing.InputBuffer().terminator is None


def test_the_greatest_number_is_greater_than_any_stream(framing):
    buffer = framing.InputBuffer(1 << 80)
    for _ in range(2):
        buffer.feed(b"some bytes")
        assert next(buffer, None) is None
        assert buffer.take_partial() == b"some bytes"
    assert buffer.terminator == 1 << 80


def test_a_terminator_set_between_payloads_holds_from_the_next_byte_on(framing, cut):
    stream = b"size 6\r\n\r\n\r\n;;:\r\n;:last\r"
    for chunks in cut(stream):
        script = iter([b"\r\n", 6, b"\r\n;:", None])
        buffer, taken = framing.InputBuffer(next(script)), [b""]
        for chunk in chunks:
            buffer.feed(chunk)
            while True:
                payload = next(buffer, None)
                part = buffer.take_partial() if payload is None else payload
                taken[-1] += part
                if payload is not None:
                    buffer.set_terminator(next(script))
                    taken.append(b"")
                elif not part:
                    break
        assert taken == [b"size 6", b"\r\n\r\n;;", b":", b"last\r"]


def test_a_terminator_may_begin_in_data_searched_for_another(framing):
    buffer = framing.InputBuffer(b"\r\n.\r\n")
    buffer.feed(b"a;b\r\n.\r")
    assert next(buffer, None) is None
    buffer.set_terminator(b";")
    assert next(buffer) == b"a"
    buffer.set_terminator(b"\r\n")
    assert next(buffer) == b"b"
    assert buffer.unread == b".\r"


def test_nothing_is_taken_as_partial_while_a_payload_is_whole(framing):
    buffer = framing.InputBuffer(b"\n")
    buffer.feed(b"whole\npart")
    assert buffer.take_partial() == b""
    assert next(buffer) == b"whole"
    assert next(buffer, None) is None
    assert buffer.take_partial() == b"part"
    assert buffer.take_partial() == b""


def test_it_iterates_over_itself(framing):
    buffer = framing.InputBuffer(b"\n")
    assert iter(buffer) is buffer
    assert list(buffer) == []
    buffer.feed(b"1\n2\n")
    for payload in buffer:
        if payload == b"1":
            buffer.feed(b"3\n")
        elif payload == b"3":
            break
    assert payload == b"3"
    buffer.feed(b"4\n")
    assert list(buffer) == [b"4"]  # exhausted only for as long as nothing comes


def test_unread_data_may_be_looked_at_and_replaced(framing):
    buffer = framing.InputBuffer(b"\n")
    buffer.feed(b"1\n2\n3")
    assert (buffer.unread, len(buffer), bool(buffer)) == (b"1\n2\n3", 5, True)
    assert next(buffer) == b"1"
    assert (buffer.unread, len(buffer)) == (b"2\n3", 3)
    buffer.unread = bytearray(b"x\ny\n")
    assert type(buffer.unread) is bytes
    assert list(buffer) == [b"x", b"y"]
    buffer.feed(b"pa")
    buffer.unread = b""
    assert (len(buffer), bool(buffer), buffer.take_partial()) == (0, False, b"")
    buffer.feed(b"rt\n")
    assert list(buffer) == [b"rt"]


def test_it_counts_how_often_it_was_fed(framing):
    buffer = framing.InputBuffer(b"\n")
    assert buffer.fed == 0
    for data in (b"1\n", b"2", b""):
        buffer.feed(data)
    assert buffer.fed == 3


def test_any_bytes_like_object_is_fed_and_bytes_come_out(framing):
    class Bytes(bytes):
        pass

    reused = bytearray(b"one\ntw")
    buffer = framing.InputBuffer(b"\n")
    buffer.feed(reused)
    reused[:] = b"??????"
    assert list(buffer) == [b"one"]
    buffer.feed(memoryview(b"--o\nthr--")[2:-2])
    buffer.feed(Bytes(b"ee\n"))
    assert list(buffer) == [b"two", b"three"]
    buffer = framing.InputBuffer(None)
    buffer.feed(Bytes(b"data"))
    assert type(buffer.take_partial()) is bytes


@pytest.mark.parametrize("fed", ["text", None, 7])
def test_only_bytes_can_be_fed(framing, fed):
    buffer = framing.InputBuffer(b"\n")
    buffer.feed(b"1\n2")
    with pytest.raises(TypeError):
        buffer.feed(fed)
    with pytest.raises(TypeError):
        buffer.unread = fed
    assert list(buffer) == [b"1"]
    assert buffer.unread == b"2"


NO_TERMINATORS = [
    (-1, ValueError),
    (-(1 << 80), ValueError),
    ("\r\n", TypeError),
    (2.5, TypeError),
    ([13, 10], TypeError),
]


@pytest.mark.parametrize(("terminator", "error"), NO_TERMINATORS)
def test_an_invalid_terminator_is_an_error_at_once_that_changes_nothing(framing, terminator, error):
    with pytest.raises(error):
        framing.InputBuffer(terminator)
    buffer = framing.InputBuffer(b"\r\n", 3, True)
    buffer.feed(b"1\r\n2345\r\n3\r")
    with pytest.raises(error) as caught:
        buffer.set_terminator(terminator)
    assert repr(terminator) in str(caught.value)
    if error is TypeError:
        assert "terminator must be bytes, int or None" in str(caught.value)
    assert buffer.terminator == b"\r\n"
    assert list(buffer) == [b"1"]
    assert buffer.take_partial() == b""
    assert buffer.overlong
    assert type(buffer.take_partial()) is memoryview


@pytest.mark.parametrize("limit", [-1, -(1 << 80)])
def test_a_negative_limit_is_an_error_at_once_that_changes_nothing(framing, limit):
    with pytest.raises(ValueError, match="limit"):
        framing.InputBuffer(b"\n", limit)
    buffer = framing.InputBuffer(b"\n", 3)
    with pytest.raises(ValueError, match="limit"):
        buffer.set_terminator(b";", limit)
    buffer.feed(b"1\n2345\n")
    assert list(buffer) == [b"1"]
    assert buffer.take_partial() == b""
    assert buffer.overlong


def test_the_signature_says_how_it_is_made(framing):
    with pytest.raises(TypeError, match=r"argument"):
        framing.InputBuffer(b"\n", None, False, 4)


@pytest.mark.parametrize("terminator", [None, 7, 6, b"\r\n"])
def test_a_chunk_that_is_one_payload_goes_out_as_the_object_that_came_in(framing, terminator):
    buffer = framing.InputBuffer(terminator)
    chunk = b"chunks"
    buffer.feed(chunk)
    assert (next(buffer, None) or buffer.take_partial()) is chunk


def test_it_is_generic_as_the_types_say(framing):
    buffer = framing.InputBuffer[memoryview](b"\n", views=True)
    buffer.feed(b"one\n")
    assert type(buffer) is framing.InputBuffer
    assert [type(payload) for payload in buffer] == [memoryview]
    assert framing.InputBuffer[bytes] == framing.InputBuffer[bytes]


@counts_references
@pytest.mark.parametrize("terminator", [None, 100, 24, b"\r\n", b"late\r\n"])
@pytest.mark.parametrize("views", [False, True])
def test_nothing_received_is_held_once_it_is_taken(framing, terminator, views):
    chunk = b"".join([b"a chunk\r\nof ", b"some data.\r\n"])
    unheld = sys.getrefcount(chunk)
    buffer = framing.InputBuffer(terminator, views=views)
    buffer.feed(chunk)
    while next(buffer, None) is not None or buffer.take_partial():
        pass
    assert next(buffer, None) is None
    if buffer:
        buffer.feed(b"")  # the rest of the data is now a copy
    assert sys.getrefcount(chunk) == unheld


class TestViews:
    def test_are_cut_from_the_object_that_came_in(self, framing):
        chunk = b"one\r\n\r\nthree"
        buffer = framing.InputBuffer(b"\r\n", views=True)
        buffer.feed(chunk)
        views = [*buffer, buffer.take_partial()]
        assert views == [b"one", b"", b"three"]
        for view in views:
            assert type(view) is memoryview
            assert view.obj is chunk
            assert view.readonly

    @pytest.mark.parametrize("terminator", [None, 3])
    def test_are_cut_without_a_terminator_too(self, framing, terminator):
        chunk = b"chunks"
        buffer = framing.InputBuffer(terminator, views=True)
        buffer.feed(chunk)
        view = next(buffer) if terminator else buffer.take_partial()
        assert view == chunk[:terminator]
        assert view.obj is chunk

    def test_are_never_of_memory_that_may_change(self, framing):
        chunk = bytearray(b"one\ntwo\n")
        buffer = framing.InputBuffer(b"\n", views=True)
        buffer.feed(chunk)
        views = list(buffer)
        chunk[:] = b"????????"
        chunk.extend(b"no view exports this")
        assert views == [b"one", b"two"]
        assert {type(view.obj) for view in views} == {bytes}

    def test_outlive_later_data(self, framing):
        buffer = framing.InputBuffer(b"\r\n", views=True)
        buffer.feed(b"one\r\ntwo\r")
        views = [*buffer, buffer.take_partial()]
        buffer.feed(b"\nthree\r\n")
        views += buffer
        buffer.unread = b""
        del buffer
        assert views == [b"one", b"two", b"", b"three"]

    def test_can_be_turned_on_and_off_with_a_terminator(self, framing):
        buffer = framing.InputBuffer(b"\n")
        buffer.feed(b"1\n2\n3\n")
        assert type(next(buffer)) is bytes
        buffer.set_terminator(b"\n", None, True)
        assert type(next(buffer)) is memoryview
        buffer.set_terminator(b"\n")
        assert type(next(buffer)) is bytes


def pull_limited(buffer, chunks):
    """Return the payloads of *chunks*, with "overlong" in the place of each that is, and the rest of them."""
    taken, parts = [], []
    for chunk in chunks:
        buffer.feed(chunk)
        while True:
            for payload in buffer:
                taken.append(b"".join([*parts, payload]))
                parts.clear()
            part = buffer.take_partial()
            if buffer.overlong:
                buffer.overlong = False
                taken.append("overlong")
                parts.clear()
            elif part:
                parts.append(part)
            else:
                break
    return taken, b"".join(parts)


@pytest.mark.parametrize(
    ("terminator", "stream", "payloads", "rest"),
    [
        (b"\r\n", b"1234\r\n12345\r\n\r\n", [b"1234", b"12345", b""], b""),
        (b"\r\n", b"123456\r\n12\r\n", ["overlong", b"12"], b""),
        (b"\r\n", b"1234567890abc\r\n12345\r\n", ["overlong", b"12345"], b""),
        (b"\r\n", b"123456\r7890\n\r\r\nab\r\n", ["overlong", b"ab"], b""),
        (b"\r\n", b"123456\r\n123456\r\nab\r\n", ["overlong", "overlong", b"ab"], b""),
        (b"\r\n", b"12345\r\n12345\r", [b"12345"], b"12345"),
        (b"\r\n", b"ab\r\n12345\r6", [b"ab", "overlong"], b""),
        (b"\r\n", b"\r\r\r\r\r\r\n\r\r\r\r\r\r\r\n", [b"\r" * 5, "overlong"], b""),
        (b"\r\n.\r\n", b"12345\r\n.\r\n123\r\n.\r\r\n.\r\n123\r\n.\r\n", [b"12345", "overlong", b"123"], b""),
        (b"\n", b"123456", ["overlong"], b""),
        (b"\n", b"12345", [], b"12345"),
    ],
)
def test_no_payload_exceeds_the_limit(framing, cut, terminator, stream, payloads, rest):
    for chunks in cut(stream):
        assert pull_limited(framing.InputBuffer(terminator, 5), chunks) == (payloads, rest), chunks


@each_stream
def test_a_limit_that_is_not_reached_changes_nothing(framing, cut, terminator, stream):
    *payloads, rest = stream.split(terminator)
    limit = max(map(len, [*payloads, rest]))
    for chunks in cut(stream):
        assert pull_limited(framing.InputBuffer(terminator, limit), chunks) == (
            payloads,
            rest.removesuffix(held(rest, terminator)),
        )


def test_a_limit_of_nothing_lets_only_empty_payloads_pass(framing, cut):
    for chunks in cut(b"\n\na\n\nbb\n"):
        buffer = framing.InputBuffer(b"\n", 0)
        assert pull_limited(buffer, chunks) == ([b"", b"", "overlong", b"", "overlong"], b"")


@pytest.mark.parametrize("terminator", [None, 100])
def test_the_limit_is_for_terminators_of_bytes_only(framing, cut, terminator):
    for chunks in cut(b"more than five bytes"):
        assert pull_limited(framing.InputBuffer(terminator, 5), chunks) == ([], b"more than five bytes")


def test_an_overlong_payload_is_dropped_to_its_end_whatever_terminator_is_set_meanwhile(framing):
    buffer = framing.InputBuffer(b"\n", 2)
    buffer.feed(b"123")
    assert buffer.take_partial() == b""
    assert buffer.overlong
    buffer.overlong = False
    buffer.feed(b"456")
    assert buffer.take_partial() == b""
    assert not buffer.overlong  # said once
    buffer.set_terminator(2)
    assert buffer.terminator == 2
    with pytest.raises(ValueError, match="-1"):
        buffer.set_terminator(-1)
    assert buffer.terminator == 2
    buffer.feed(b"789\nab")
    assert list(buffer) == [b"ab"]


def test_inside_an_asyncio_protocol():
    """InputBuffer works without asyncore, as its documentation says."""

    class Lines(asyncio.Protocol):
        def __init__(self, done):
            self.input = InputBuffer(b"\r\n")
            self.lines, self.done = [], done

        def data_received(self, data):
            self.input.feed(data)
            self.lines += self.input

        def eof_received(self):
            self.done.set_result((self.lines, self.input.take_partial()))

    async def converse():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        server = await loop.create_server(lambda: Lines(done), "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for chunk in (b"one\r", b"\ntwo\r\n", b"rest"):
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
            try:
                return await asyncio.wait_for(done, 20)
            finally:
                writer.close()

    assert asyncio.run(converse()) == ([b"one", b"two"], b"rest")


class Program:
    """Callbacks for the events of *buffer*, as a conversation has them: rebind ``collect`` and ``found`` to act."""

    def __init__(self, framing, terminator, *options):
        self.buffer = framing.EventBuffer()
        if options:
            self.buffer.set_options(*options)
        self.buffer.terminator = terminator
        self.trace = []  # the data collected, and None for each end
        self.collect = self.found = lambda *args: None

    def receive(self, *chunks):
        for chunk in chunks:
            try:
                for event in self.buffer.feed(chunk):
                    self.trace.append(event)
                    assert len(self.trace) < 1000, "there is no end to the events"
                    if event is None:
                        self.found()
                    else:
                        self.collect(event)
            except BaseException:
                self.buffer.undo()
                raise

    @property
    def payloads(self):
        """The payloads that have ended, and the beginning of the one after them."""
        *payloads, rest = self.trace_by_end()
        return [b"".join(payload) for payload in payloads], b"".join(rest)

    def trace_by_end(self):
        parts = [[]]
        for event in self.trace:
            if event is None:
                parts.append([])
            else:
                parts[-1].append(event)
        return parts


class CallbackError(Exception):
    pass


class TestEvents:
    """The rules that programs know from asynchat, at the level of the buffer."""

    @each_stream
    def test_end_at_bytes(self, framing, cut, terminator, stream):
        *payloads, rest = stream.split(terminator)
        for chunks in cut(stream):
            program = Program(framing, terminator)
            program.receive(*chunks)
            assert program.payloads == (payloads, rest.removesuffix(held(rest, terminator)))
            assert program.buffer.unread == held(rest, terminator)
            assert {type(event) for event in program.trace} <= {bytes, type(None)}
            assert b"" not in program.trace

    def test_are_as_few_as_can_be(self, framing):
        """A payload that has come whole is one event, and its end another; an empty one is its end alone."""
        program = Program(framing, b"\r\n")
        program.receive(b"one\r\n\r\nthree\r\nfo\r", b"\n\r\nsi\r", b"x")
        assert program.trace == [b"one", None, None, b"three", None, b"fo", None, None, b"si", b"\rx"]

    @pytest.mark.parametrize("terminator", [None, 0, b"", bytearray()])
    def test_never_end_at_a_false_terminator(self, framing, cut, terminator):
        for chunks in cut(b"any\r\nthing"):
            program = Program(framing, terminator)
            program.receive(*chunks)
            assert program.trace == chunks
            assert (program.buffer.unread, program.buffer.terminator) == (b"", terminator)

    def test_a_number_counts_down_and_is_zero_at_the_end(self, framing, cut):
        stream = b"0123456789"
        for chunks in cut(stream):
            program, seen = Program(framing, 6), []

            def collect(data, program=program, seen=seen):
                seen.append((program.buffer.terminator, len(data)))

            def found(program=program, seen=seen):
                seen.append((program.buffer.terminator, None))
                assert program.buffer.unread == b"6789"[: len(program.buffer)]

            program.collect, program.found = collect, found
            program.receive(*chunks)
            assert program.payloads == ([b"012345"], b"6789")
            end = seen.index((0, None))
            assert {terminator for terminator, _ in seen[end:]} == {0}
            left = 6
            for terminator, size in seen[:end]:
                assert terminator == left
                left -= size
            assert left == 0

    def test_data_handed_out_are_unread_until_the_next_event_is_pulled(self, framing):
        buffer = framing.EventBuffer()
        buffer.terminator = b"\r\n"
        events = buffer.feed(b"one\r\n\r\ntw")
        assert (next(events), buffer.unread, len(buffer)) == (b"one", b"one\r\n\r\ntw", 9)
        assert (next(events), buffer.unread, len(buffer)) == (None, b"\r\ntw", 4)
        assert (next(events), buffer.unread, len(buffer)) == (None, b"tw", 2)
        assert (next(events), buffer.unread, len(buffer)) == (b"tw", b"tw", 2)
        assert (next(events, "none"), buffer.unread, len(buffer)) == ("none", b"", 0)
        buffer.terminator = 3
        events = buffer.feed(b"o\r\n.")
        assert (next(events), buffer.unread) == (b"o\r\n", b"o\r\n.")
        assert (next(events), buffer.unread) == (None, b".")

    def test_what_is_behind_the_data_handed_out_is_undelivered(self, framing):
        buffer = framing.EventBuffer()
        buffer.terminator = b"\r\n"
        assert buffer.undelivered == b""
        events = buffer.feed(b"one\r\n\r\ntw")
        for undelivered in (b"\r\ntw", b"\r\ntw", b"tw", b"", b""):
            next(events, None)
            assert buffer.undelivered == undelivered
        assert next(buffer.feed(b"o\r\n.")) == b"o"
        buffer.undo()
        assert buffer.undelivered == buffer.unread == b"o\r\n."
        assert (buffer.ask(3), buffer.undelivered) == (b"o\r\n", b".")
        buffer.settle()
        assert buffer.undelivered == b"."

    def test_only_the_beginning_of_a_terminator_stays_unread(self, framing, cut):
        for chunks in cut(b"one\r\n.\r.\r\n.\r\ntwo\r\n."):
            program = Program(framing, b"\r\n.\r\n")
            for chunk in chunks:
                program.receive(chunk)
                assert b"\r\n.\r\n".startswith(program.buffer.unread)
            assert program.payloads == ([b"one\r\n.\r."], b"two")
            assert program.buffer.unread == b"\r\n."

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_are_of_exactly_bytes_that_stay(self, framing, kind):
        store = bytearray(b"one\r\ntwo\r\nrest")
        program = Program(framing, b"\r\n")
        program.receive(store if kind is bytearray else kind(store))
        store[:] = b"?" * len(store)
        assert [type(event) for event in program.trace if event is not None] == [bytes] * 3
        assert program.payloads == ([b"one", b"two"], b"rest")

    def test_are_views_where_they_are_asked_for(self, framing):
        chunk = b"one\r\ntw"
        program = Program(framing, b"\r\n", None, True)
        program.receive(chunk)
        one, _, two = program.trace
        assert (one, two) == (b"one", b"tw")
        assert one.obj is two.obj is chunk
        program.buffer.terminator = 3
        program.receive(b"012345")
        assert [type(event) for event in program.trace[3:]] == [memoryview, type(None), memoryview]

    def test_can_be_pulled_again_after_they_have_ended(self, framing):
        program = Program(framing, b"\n")
        program.receive(b"1\n2")
        assert list(program.buffer) == []
        assert iter(program.buffer) is program.buffer is program.buffer.feed(b"3\n")
        assert list(program.buffer) == [b"3", None]

    @pytest.mark.parametrize("clear_in", ["collect", "found"])
    @pytest.mark.parametrize("terminator", [b"\r\n", 5, None])
    def test_data_discarded_in_a_callback_are_not_delivered(self, framing, clear_in, terminator):
        if terminator is None and clear_in == "found":
            pytest.skip("nothing is found without a terminator")
        program = Program(framing, terminator)
        setattr(program, clear_in, lambda *args: setattr(program.buffer, "unread", b""))
        program.receive(b"line1\r\nline2\r\n")
        assert program.trace[0] == (b"line1" if terminator else b"line1\r\nline2\r\n")
        assert program.trace[1:] == ([None] if terminator else [])
        assert program.buffer.unread == b""
        program.receive(b"next")
        assert program.trace[-1] == b"next"

    def test_data_written_at_an_end_are_delivered(self, framing, cut):
        for chunks in cut(b"one\r\ntwo\r\n"):
            program = Program(framing, b"\r\n")

            def found(program=program):
                if program.trace.count(None) == 1:
                    program.buffer.unread = bytearray(b"new\r\n") + program.buffer.unread

            program.found = found
            program.receive(*chunks)
            assert program.payloads == ([b"one", b"new", b"two"], b"")

    def test_data_written_when_collecting_are_cut_by_the_collected_data(self, framing):
        program = Program(framing, b"\r\n")

        def collect(data):
            if data == b"one":
                program.buffer.unread = b"abcdefgh\r\n"

        program.collect = collect
        program.receive(b"one\r\ntwo\r\n")
        assert program.payloads == ([b"one", b"fgh"], b"")

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_a_terminator_set_at_an_end_holds_from_the_next_byte_on(self, framing, cut, kind):
        for chunks in cut(b"4\r\n\r\n\r\n\r\nrest;\r\n;,"):
            script = iter([4, kind(b"\r\n"), b";", kind(b"\r\n;"), None])
            program = Program(framing, kind(b"\r\n"))
            program.found = lambda program=program, script=script: setattr(program.buffer, "terminator", next(script))
            program.receive(*chunks)
            assert program.payloads == ([b"4", b"\r\n\r\n", b"", b"rest", b""], b",")

    def test_a_terminator_set_when_collecting_holds_after_the_collected_data(self, framing):
        program = Program(framing, b"\r\n")
        program.collect = lambda data: setattr(program.buffer, "terminator", b";")
        program.receive(b"one\r\ntwo;thr")  # whole: its end comes first
        assert program.trace == [b"one", None, b"two", None, b"thr"]
        program = Program(framing, b"\r\n")
        program.collect = lambda data: setattr(program.buffer, "terminator", b";")
        program.receive(b"one", b"\r\n;two")  # a part: it goes on with the other terminator
        assert program.payloads == ([b"one\r\n"], b"two")

    def test_the_beginning_of_a_terminator_waits_though_another_is_set(self, framing):
        program = Program(framing, b"\r\n")
        program.collect = lambda data: setattr(program.buffer, "terminator", None)
        program.receive(b"one\r")
        assert (program.trace, program.buffer.unread) == ([b"one"], b"\r")
        program.receive(b"two")
        assert program.payloads == ([], b"one\rtwo")

    @pytest.mark.parametrize(("other", "after"), [(7, 7), (10, 6), (b"\n", b"\n"), (None, None)])
    def test_a_number_changed_when_collecting_a_part_is_not_counted_down(self, framing, other, after):
        program = Program(framing, 10)
        program.collect = lambda data: setattr(program.buffer, "terminator", other)
        program.receive(b"0123")
        assert program.buffer.terminator == after

    @pytest.mark.parametrize("other", [7, b"\n", None])
    def test_a_number_changed_when_collecting_its_last_bytes_is_zero_at_the_end(self, framing, other):
        program = Program(framing, 4)
        program.collect = lambda data: setattr(program.buffer, "terminator", other)
        program.found = lambda: program.trace.append(program.buffer.terminator)
        program.receive(b"0123")
        assert program.trace == [b"0123", None, 0]

    @pytest.mark.parametrize("terminator", [b"\r\n", 3, None])
    def test_an_error_when_collecting_has_the_same_collected_again(self, framing, cut, terminator):
        stream = b"one\r\n\r\ntwo\r\nth"
        for chunks in cut(stream):
            undisturbed = Program(framing, terminator)
            undisturbed.receive(*chunks)
            program = Program(framing, terminator)

            def fail_once(data, program=program):
                if len(program.trace) < 2 or program.trace[-2] != data:
                    raise CallbackError

            program.collect = fail_once
            before = b""
            for chunk in chunks:
                before += chunk
                try:
                    program.receive(chunk)
                except CallbackError:
                    failed = program.trace[-1]
                    assert program.buffer.unread.startswith(failed)
                    assert before.endswith(program.buffer.unread)
                    while True:
                        try:
                            program.receive(b"")
                            break
                        except CallbackError:
                            pass
            again = [event for event, last in pairwise(program.trace) if event is None or event == last]
            assert again == undisturbed.trace

    @pytest.mark.parametrize("terminator", [b"\r\n", 3])
    def test_an_error_at_an_end_has_consumed_it(self, framing, cut, terminator):
        for chunks in cut(b"one\r\ntwo\r\n"):
            undisturbed, program = Program(framing, terminator), Program(framing, terminator)
            undisturbed.receive(*chunks)

            def fail():
                raise CallbackError

            program.found = fail
            for chunk in chunks:
                data = chunk
                while True:
                    try:
                        program.receive(data)
                        break
                    except CallbackError:
                        data = b""
            assert program.trace == undisturbed.trace

    def test_an_error_after_a_write_leaves_the_new_value(self, framing):
        program = Program(framing, b"\n")

        def collect(data):
            program.buffer.unread = b"written\n"
            program.collect = int
            raise CallbackError

        program.collect = collect
        with pytest.raises(CallbackError):
            program.receive(b"one\ntwo\n")
        assert program.buffer.unread == b"written\n"
        program.collect = lambda data: None
        program.receive(b"")
        assert program.trace == [b"one", b"written", None]

    @pytest.mark.parametrize("terminator", [b"\n", 2])
    def test_receiving_at_an_end_delivers_in_order(self, framing, terminator):
        program = Program(framing, terminator)

        def found():
            program.found = lambda: setattr(program.buffer, "terminator", terminator)
            program.buffer.terminator = terminator
            program.receive(b"3\n4")
            assert program.trace[-1] == b"4"

        program.found = found
        program.receive(b"1\n2\n" if terminator == b"\n" else b"1.2.")
        expected = [b"1", b"2", b"3"] if terminator == b"\n" else [b"1.", b"2.", b"3\n"]
        assert program.payloads == (expected, b"4")

    @pytest.mark.parametrize("terminator", [b"\n", 3, None])
    def test_receiving_when_collecting_loses_nothing_behind_it(self, framing, terminator):
        """Data handed out are dropped by their length, once the next event is pulled."""
        program = Program(framing, terminator)
        program.receive(b"")
        events = program.buffer.feed(b"one")
        assert next(events) == b"one"
        assert program.buffer.feed(b"\ntwo\n") is events
        assert program.buffer.unread == b"one\ntwo\n"
        assert (
            b"".join(event or b"|" for event in events)
            == {b"\n": b"|two|", 3: b"|\ntwo\n", None: b"\ntwo\n"}[terminator]
        )

    @pytest.mark.parametrize(("terminator", "error"), [*NO_TERMINATORS, ("", TypeError)])
    def test_an_invalid_terminator_is_an_error_that_changes_nothing(self, framing, terminator, error):
        program = Program(framing, 5)
        program.receive(b"012")
        with pytest.raises(error):
            program.buffer.terminator = terminator
        assert program.buffer.terminator == 2
        program.receive(b"345")
        assert program.payloads == ([b"01234"], b"5")

    @pytest.mark.parametrize("wrong", ["text", None, 7])
    @pytest.mark.parametrize("terminator", [b"\n", 3, None])
    def test_feeding_other_types_changes_nothing(self, framing, wrong, terminator):
        undisturbed, program = Program(framing, terminator), Program(framing, terminator)

        def collect(data):
            with pytest.raises(TypeError):
                program.buffer.feed(wrong)
            with pytest.raises(TypeError):
                program.buffer.unread = wrong

        program.collect = collect
        for each in (undisturbed, program):
            each.receive(b"one\ntwo\nth", b"ree\n")
        assert program.trace == undisturbed.trace
        assert program.buffer.fed == undisturbed.buffer.fed == 2

    def test_the_terminator_does_not_exist_until_it_is_set(self, framing):
        buffer = framing.EventBuffer()
        with pytest.raises(AttributeError):
            buffer.terminator  # noqa: B018
        assert list(buffer.feed(b"")) == []
        for _ in range(2):
            with pytest.raises(Interrupted):
                next(buffer.feed(b"one\n"))
        assert buffer.unread == b"one\none\n"
        buffer.terminator = b"\n"
        assert list(buffer) == [b"one", None, b"one", None]
        buffer.unset()
        with pytest.raises(AttributeError):
            buffer.terminator  # noqa: B018

    @pytest.mark.parametrize("held_terminator", ["text", 1.5, -1, object()])
    def test_are_interrupted_by_a_terminator_that_is_held(self, framing, held_terminator):
        program = Program(framing, b"\n")
        program.found = lambda: program.buffer.hold(held_terminator)
        with pytest.raises(Interrupted):
            program.receive(b"one\ntwo\n")
        assert program.buffer.terminator is held_terminator
        assert (program.trace, program.buffer.unread) == ([b"one", None], b"two\n")
        with pytest.raises(Interrupted):
            program.receive(b"")
        program.found = lambda: None
        program.buffer.terminator = b"\n"
        program.receive(b"")
        assert program.payloads == ([b"one", b"two"], b"")

    @pytest.mark.parametrize("interrupt_in", ["collect", "found"])
    @pytest.mark.parametrize("terminator", [b"\n", 4, None])
    def test_an_interruption_comes_once_and_loses_nothing(self, framing, interrupt_in, terminator):
        if terminator is None and interrupt_in == "found":
            pytest.skip("nothing is found without a terminator")
        undisturbed, program = Program(framing, terminator), Program(framing, terminator)
        setattr(program, interrupt_in, lambda *args: program.buffer.interrupt())
        for chunk in (b"one\ntwo\nth", b"ree\n", b"four"):
            undisturbed.receive(chunk)
            while True:
                try:
                    program.receive(chunk)
                except Interrupted:
                    assert program.buffer
                    chunk = b""
                else:
                    break
        assert program.trace == undisturbed.trace
        assert program.buffer.unread == undisturbed.buffer.unread

    def test_an_interruption_waits_for_something_to_deliver(self, framing):
        program = Program(framing, b"\n")
        program.buffer.interrupt()
        program.receive(b"")
        program.buffer.terminator = b";"  # another terminator does not undo it
        with pytest.raises(Interrupted):
            program.receive(b"one;")
        program.receive(b"")
        assert program.trace == [b"one", None]

    @pytest.mark.parametrize(
        ("stream", "payloads"),
        [
            (b"12345\r\n123456\r\n\r\n", [b"12345", "overlong", b""]),
            (b"1234567890\r\r\n1\r\n", ["overlong", b"1"]),
            (b"123456\r\n123456\r\n", ["overlong", "overlong"]),
            (b"\r\r\r\r\r\r\n\r\r\r\r\r\r\r\n", [b"\r" * 5, "overlong"]),
        ],
    )
    def test_an_overlong_payload_interrupts_once_and_is_dropped(self, framing, cut, stream, payloads):
        for chunks in cut(stream):
            program = Program(framing, b"\r\n", 5, False)
            for chunk in chunks:
                data = chunk
                while True:
                    try:
                        program.receive(data)
                    except Interrupted:
                        assert program.buffer.overlong
                        program.buffer.overlong = False
                        while program.trace and program.trace[-1] not in (None, "overlong"):
                            program.trace.pop()
                        program.trace.append("overlong")
                        data = b""
                    else:
                        break
            seen, parts = [], []
            for event in program.trace:
                if event is None or event == "overlong":
                    seen.append(event or b"".join(parts))
                    parts.clear()
                else:
                    parts.append(event)
            assert (seen, parts) == (payloads, [])

    def test_an_overlong_payload_is_dropped_to_its_end_though_the_limit_is_lifted(self, framing, cut):
        for chunks in cut(b"more\r.\nthan that\r\nnext\r\n"):
            program = Program(framing, b"\r\n", 5, False)
            with pytest.raises(Interrupted):
                program.receive(b"123456")
            program.buffer.overlong = False
            program.buffer.set_options(None, False)
            program.buffer.terminator = b"\r\n"
            program.receive(*chunks)
            assert program.payloads == ([b"next"], b"")

    def test_data_collected_again_count_once_for_the_limit(self, framing):
        program = Program(framing, b"\n", 5, False)

        def fail(data):
            raise CallbackError

        program.collect = fail
        for chunk in (b"123", b"", b""):
            with pytest.raises(CallbackError):
                program.receive(chunk)
        program.collect = lambda data: None
        program.receive(b"45\n")
        assert program.trace == [b"123"] * 3 + [b"12345", None]

    @pytest.mark.parametrize("terminator", [100, None])
    def test_the_limit_is_for_terminators_of_bytes_only(self, framing, cut, terminator):
        for chunks in cut(b"more than five bytes"):
            program = Program(framing, terminator, 5, False)
            program.receive(*chunks)
            assert program.trace == chunks

    @pytest.mark.parametrize("terminator", [100, None])
    def test_data_from_before_a_terminator_of_bytes_do_not_count_for_the_limit(self, framing, terminator):
        """Neither an InputBuffer counts those bytes, nor a channel whose get_terminator() is overridden."""
        program = Program(framing, terminator, 5, False)
        program.collect = lambda data: setattr(program.buffer, "terminator", b"\n")
        program.receive(b"more than five bytes", b"12345\n")
        assert program.payloads == ([b"more than five bytes12345"], b"")

    @counts_references
    @pytest.mark.parametrize("terminator", [None, 100, 24, b"\r\n", b"late\r\n"])
    @pytest.mark.parametrize("views", [False, True])
    def test_nothing_received_is_held_once_they_have_ended(self, framing, terminator, views):
        chunk = b"".join([b"a chunk\r\nof ", b"some data.\r"])
        unheld = sys.getrefcount(chunk)
        buffer = framing.EventBuffer()
        buffer.set_options(None, views)
        buffer.terminator = terminator
        for _ in buffer.feed(chunk):
            pass
        del _
        assert sys.getrefcount(chunk) == unheld
        assert len(buffer.unread) <= 1


def data_of(most):
    return st.text("ab\r\n", max_size=most).map(str.encode)


terminators = data_of(4) | st.sampled_from([None, 0, 1, 2, 3, 7, 1 << 80, True, "", bytearray(b"ab"), LONG, b"aaab"])
no_terminators = st.sampled_from([-1, "a", 1.5, [1]])
limits = st.none() | st.integers(0, 8)
fed = (
    data_of(12)
    | data_of(300)
    | data_of(9).map(bytearray)
    | data_of(9).map(memoryview)
    | st.sampled_from(["text", None])
)
changes = [
    st.tuples(st.just("feed"), fed),
    st.tuples(st.just("next")),
    st.tuples(st.just("unread"), data_of(8) | data_of(8).map(bytearray) | st.just("text")),
    st.tuples(st.just("overlong"), st.just(False)),
]
steps = st.lists(
    st.one_of(
        *changes,
        st.tuples(st.just("all")),
        st.tuples(st.just("take_partial")),
        st.tuples(st.just("set_terminator"), terminators | no_terminators, limits | st.just(-1), st.booleans()),
        st.tuples(st.just("set_options"), limits, st.booleans()),
    ),
    max_size=30,
)
event_steps = st.lists(
    st.one_of(
        *changes,
        *changes[:2],
        st.tuples(st.just("terminator"), terminators | no_terminators),
        st.tuples(st.just("set_options"), limits, st.booleans()),
        st.tuples(st.just("hold"), no_terminators),
        *(st.tuples(st.just(name)) for name in ("unset", "undo", "interrupt")),
    ),
    max_size=40,
)


def follow(buffer, step, *args):
    """Take one step; return all its visible results."""
    taken = []
    try:
        if step in ("next", "all"):
            for payload in buffer:
                taken.append(payload)
                if step == "next":
                    break
        elif step in ("unread", "overlong", "terminator"):
            setattr(buffer, step, args[0])
        else:
            result = getattr(buffer, step)(*args)
            taken = ["itself" if result is buffer else result]
    except (TypeError, ValueError, Interrupted) as error:
        taken.append(type(error))
    terminator = getattr(buffer, "terminator", "unset")
    seen = [(type(each), each) for each in taken]
    return seen, terminator, buffer.unread, len(buffer), bool(buffer), bool(buffer.overlong), buffer.fed


@pytest.fixture(scope="module")
def compiled():
    modules = [
        pytest.importorskip(f"asynchat_fast.{name}", reason="the compiled module has not been built")
        for name in ("_framing", "_events")
    ]
    return SimpleNamespace(**vars(modules[0]) | vars(modules[1]))


@given(terminators, limits, st.booleans(), steps)
@example(b"\r\n", None, False, [("feed", b"\r" * 200 + b"\r\n\r"), ("all",)])
def test_both_do_the_same(compiled, terminator, limit, views, steps):
    """The plain buffer is the specification of the compiled one."""
    one = compiled.InputBuffer(terminator, limit, views)
    other = PlainInputBuffer(terminator, limit, views)
    for step in steps:
        assert follow(one, *step) == follow(other, *step), step


@given(terminators, event_steps)
@example(b"\r\n", [("feed", b"a\r\nb\r\n"), ("next",), ("next",), ("next",), ("feed", "text"), ("next",), ("next",)])
@example(
    b"\n",
    [
        ("set_options", 1, False),
        ("feed", b"abc"),
        ("next",),
        ("overlong", False),
        ("set_options", None, False),
        ("feed", b"d\ne\n"),
        ("next",),
    ],
)
def test_both_have_the_same_events(compiled, terminator, steps):
    one, other = compiled.EventBuffer(), PlainEventBuffer()
    for step in [("terminator", terminator), *steps]:
        assert follow(one, *step) == follow(other, *step), step


@given(data_of(9) | st.text("ab\r\n", max_size=9), data_of(6) | st.text("ab\r\n", max_size=6))
def test_both_find_the_same_prefix(compiled, haystack, needle):
    if type(haystack) is type(needle):
        for kind in (bytes, bytearray) if type(haystack) is bytes else (str,):
            assert compiled.find_prefix_at_end(kind(haystack), kind(needle)) == plain_find_prefix_at_end(
                haystack, needle
            )
