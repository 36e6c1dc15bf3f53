"""InputBuffer, both of them: how a stream is cut must never depend on how it arrived."""

import asyncio
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynchat_fast import InputBuffer, _framing_py

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


def held(octets, terminator):
    """Return the longest end of *octets* that the terminator begins with."""
    return next(octets[at:] for at in range(len(octets) + 1) if terminator.startswith(octets[at:]))


LONG = bytes(range(256)) + b"\0" * 144

STREAMS = {
    "nothing else": (b"\r\n", b"\r\n"),
    "no terminator": (b"\r\n", b"just a beginning"),
    "lines": (b"\r\n", b"HELO example\r\nMAIL FROM:<>\r\n\r\n\r\nQUIT\r\n"),
    "rest": (b"\r\n", b"one\r\ntwo\r\nthr"),
    "rest like the terminator": (b"\r\n", b"one\r\ntwo\r"),
    "one octet": (b"\n", b"a\nbb\n\nccc"),
    "three octets": (b"<->", b"<-><<-><-<-><->-><-"),
    "five octets": (b"\r\n.\r\n", b"body\r\n..\r\n.\r\n\r\n.\r\nmore\r\n.\r"),
    "NUL": (b"\0\0", b"\0a\0\0\0b\0\0c\0"),
    "high octets": (b"\xff\xfe", b"\xff\xff\xfe\xfe\xff\xfe\x80\xff"),
    "overlaps itself": (b"aa", b"aaaaabaaa"),
    "overlaps itself, periodic": (b"abab", b"abaabababbababaaba"),
    "begins like its end": (b"abcab", b"abcabcabaabcabxabca"),
    "ends alike": (b"a12b", b"a34b" * 40 + b"a12ba34b"),
    "bare CRs": (b"\r\n", b"\r" * 200 + b"\r\n" + b"\r" * 40 + b"\n\r\n\r\r"),
    "bare CRs before five octets": (b"\r\n.\r\n", b"\r\n.\r" * 50 + b"\r\n.\r\n" + b"\r\n" * 30),
    "all but the last octet": (b"aaab", b"aaa" * 80 + b"baab" + b"a" * 90 + b"baa"),
    "long": (LONG, b"x" + LONG + LONG[:-1] + b"y" + LONG + LONG[:399]),
}

each_stream = pytest.mark.parametrize(("terminator", "stream"), STREAMS.values(), ids=STREAMS)


@each_stream
def test_payloads_end_at_octets(framing, cut, terminator, stream):
    *payloads, rest = stream.split(terminator)
    for chunks in cut(stream):
        buffer = framing.InputBuffer(terminator)
        assert pull(buffer, chunks) == (payloads, rest.removesuffix(held(rest, terminator)))
        assert buffer.unread == held(rest, terminator)
        assert len(buffer) == len(buffer.unread)


def test_payloads_end_at_four_thousand_octets(framing):
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


def test_payloads_of_a_number_of_octets(framing, cut):
    """Who pulls counts: the number is the most that is given at once."""
    for chunks in cut(b"0123456789"):
        buffer = framing.InputBuffer(4)
        payloads, due, taken = [], 4, b""
        for chunk in chunks:
            buffer.feed(chunk)
            assert next(buffer, None) is None
            while part := buffer.take_partial():
                taken += part
                due -= len(part)
                if not due:
                    payloads.append(taken)
                    due, taken = 4, b""
                buffer.set_terminator(due)
        assert (payloads, taken, due) == ([b"0123", b"4567"], b"89", 2)
        assert buffer.unread == b""


@pytest.mark.parametrize("terminator", [None, 0, b"", "", bytearray(), False])
def test_a_false_terminator_ends_nothing(framing, cut, terminator):
    for chunks in cut(b"any\r\nthing"):
        buffer = framing.InputBuffer(terminator)
        assert pull(buffer, chunks) == ([], b"any\r\nthing")
        assert buffer.unread == b""
    assert framing.InputBuffer().terminator is None


def test_the_greatest_number_is_greater_than_any_stream(framing):
    buffer = framing.InputBuffer(1 << 80)
    buffer.feed(b"octets")
    assert buffer.take_partial() == b"octets"


def test_a_terminator_set_between_payloads_holds_from_the_next_octet_on(framing, cut):
    stream = b"size 6\r\n\r\n\r\n;;:\r\n;:last\r"
    for chunks in cut(stream):
        script = iter([b"\r\n", 6, b"\r\n;:", None])
        buffer, taken, due = framing.InputBuffer(next(script)), [b""], 6
        for chunk in chunks:
            buffer.feed(chunk)
            while buffer:
                payload = next(buffer, None)
                part = buffer.take_partial() if payload is None else payload
                taken[-1] += part
                if buffer.terminator == due:
                    due -= len(part)
                    buffer.set_terminator(due)
                    whole = due == 0
                else:
                    whole = payload is not None
                if whole:
                    buffer.set_terminator(next(script))
                    taken.append(b"")
                elif not part:
                    break
        assert taken == [b"size 6", b"\r\n\r\n;;", b":", b"last\r"]


def test_a_terminator_may_begin_in_what_was_searched_for_another(framing):
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


def test_the_unread_octets_may_be_looked_at_and_replaced(framing):
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


@pytest.mark.parametrize("terminator", [b"\r\n", 4, None])
def test_a_taking_can_be_undone(framing, terminator):
    buffer = framing.InputBuffer(terminator)
    buffer.feed(b"1234\r\n5678\r")
    for _ in range(9):
        before = buffer.unread
        taken = next(buffer, None) or buffer.take_partial()
        assert buffer.untaken == before
        buffer.put_back()
        assert buffer.unread == buffer.untaken == before
        assert (next(buffer, None) or buffer.take_partial()) == taken
    assert not taken


def test_a_taking_can_be_undone_though_the_search_has_gone_on(framing):
    buffer = framing.InputBuffer(b"\n")
    buffer.feed(b"one\ntwo")
    assert [*buffer] == [b"one"]
    buffer.put_back()
    assert (buffer.unread, [*buffer], buffer.unread) == (b"one\ntwo", [b"one"], b"two")


def test_the_rest_of_an_overlong_payload_cannot_be_put_back(framing):
    buffer = framing.InputBuffer(b"\n", 2)
    buffer.feed(b"1234")
    assert buffer.take_partial() == b""
    buffer.feed(b"56\n789\n")
    assert next(buffer, None) is None
    buffer.put_back()
    assert (buffer.untaken, buffer.unread) == (b"789\n", b"789\n")


@pytest.mark.parametrize("terminator", [b"\r\n", 3, None])
def test_octets_can_be_skipped_and_put_back(framing, terminator):
    buffer = framing.InputBuffer(terminator)
    buffer.feed(b"0123\r\n45")
    buffer.skip(2)
    assert (buffer.untaken, buffer.unread) == (b"0123\r\n45", b"23\r\n45")
    buffer.put_back()
    assert buffer.unread == b"0123\r\n45"
    buffer.skip(6)
    assert next(buffer, None) is None
    buffer.skip(100)
    assert (buffer.untaken, buffer.unread) == (b"45", b"")
    buffer.feed(b"67\r\n")
    assert (next(buffer, None) or buffer.take_partial()).startswith(b"67")


def test_it_counts_how_often_it_was_fed(framing):
    buffer = framing.InputBuffer(b"\n")
    assert buffer.fed == 0
    for octets in (b"1\n", b"2", b""):
        buffer.feed(octets)
    assert buffer.fed == 3


def test_any_bytes_like_object_is_fed_and_bytes_come_out(framing):
    class Octets(bytes):
        pass

    reused = bytearray(b"one\ntw")
    buffer = framing.InputBuffer(b"\n")
    buffer.feed(reused)
    reused[:] = b"??????"
    assert list(buffer) == [b"one"]
    buffer.feed(memoryview(b"--o\nthr--")[2:-2])
    buffer.feed(Octets(b"ee\n"))
    assert list(buffer) == [b"two", b"three"]
    buffer = framing.InputBuffer(None)
    buffer.feed(Octets(b"octets"))
    assert type(buffer.take_partial()) is bytes


@pytest.mark.parametrize("fed", ["text", None, 7])
def test_what_is_not_octets_is_not_fed(framing, fed):
    buffer = framing.InputBuffer(b"\n")
    buffer.feed(b"1\n2")
    with pytest.raises(TypeError):
        buffer.feed(fed)
    with pytest.raises(TypeError):
        buffer.unread = fed
    assert list(buffer) == [b"1"]
    assert buffer.unread == b"2"


@pytest.mark.parametrize(
    ("terminator", "error"), [(-1, ValueError), ("\r\n", TypeError), (2.5, TypeError), ([13, 10], TypeError)]
)
def test_what_cannot_end_a_payload_is_an_error_once_it_is_needed(framing, terminator, error):
    buffer = framing.InputBuffer(terminator)
    buffer.feed(b"1\r\n2")
    for _ in range(2):
        with pytest.raises(error):
            next(buffer)
        with pytest.raises(error):
            buffer.take_partial()
        assert buffer.unread == b"1\r\n2"
    buffer.set_terminator(b"\r\n")
    assert list(buffer) == [b"1"]


@pytest.mark.parametrize("terminator", [None, 7, 6, b"\r\n"])
def test_a_chunk_that_is_one_payload_goes_out_as_the_object_that_came_in(framing, terminator):
    buffer = framing.InputBuffer(terminator)
    chunk = b"octets"
    buffer.feed(chunk)
    assert next(buffer, None) is None
    assert buffer.take_partial() is chunk


@counts_references
@pytest.mark.parametrize("terminator", [None, 100, 24, b"\r\n", b"late\r\n"])
@pytest.mark.parametrize("views", [False, True])
def test_nothing_received_is_held_once_it_is_taken(framing, terminator, views):
    chunk = b"".join([b"a chunk\r\nof ", b"some octets\r\n"])
    unheld = sys.getrefcount(chunk)
    buffer = framing.InputBuffer(terminator, views=views)
    buffer.feed(chunk)
    while next(buffer, None) is not None or buffer.take_partial():
        pass
    assert next(buffer, None) is None
    if buffer:
        buffer.feed(b"")  # what is left of it is now a copy
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
        chunk = b"octets"
        buffer = framing.InputBuffer(terminator, views=True)
        buffer.feed(chunk)
        view = buffer.take_partial()
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

    def test_outlive_what_comes_later(self, framing):
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
    """Return the payloads of *chunks*, with "overlong" in the place of each that is, and what was left of them."""
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
def test_the_limit_is_for_octet_terminators_only(framing, cut, terminator):
    for chunks in cut(b"more than five octets"):
        assert pull_limited(framing.InputBuffer(terminator, 5), chunks) == ([], b"more than five octets")


def test_what_is_put_back_does_not_count_for_the_limit(framing):
    buffer = framing.InputBuffer(b"\n", 5)
    for chunk in (b"123", b"45"):
        buffer.feed(chunk)
        for _ in range(3):
            assert buffer.take_partial() == chunk
            buffer.put_back()
        assert buffer.take_partial() == chunk
    buffer.feed(b"\n")
    assert next(buffer) == b""
    assert not buffer.overlong


def test_an_overlong_payload_is_skipped_until_no_terminator_is_awaited(framing):
    buffer = framing.InputBuffer(b"\n", 2)
    buffer.feed(b"123")
    assert buffer.take_partial() == b""
    assert buffer.overlong
    buffer.overlong = False
    buffer.feed(b"456")
    assert buffer.take_partial() == b""
    assert not buffer.overlong  # said once
    buffer.set_terminator(None, 2)
    buffer.feed(b"789")
    assert buffer.take_partial() == b"789"
    buffer.set_terminator(b"\n", 2)
    buffer.feed(b"ab\n")
    assert list(buffer) == [b"ab"]


def test_inside_an_asyncio_protocol():
    """As its documentation says: without asyncore."""

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


def octets(most):
    return st.text("ab\r\n", max_size=most).map(str.encode)


terminators = octets(4) | st.sampled_from([None, 0, 1, 2, 3, 7, -1, "", "a", 1.5, bytearray(b"ab"), LONG, b"aaab"])
limits = st.none() | st.integers(0, 8)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), octets(12) | octets(300) | octets(9).map(bytearray)),
        st.tuples(st.just("next")),
        st.tuples(st.just("take_partial")),
        st.tuples(st.just("put_back")),
        st.tuples(st.just("skip"), st.integers(0, 9)),
        st.tuples(st.just("unread"), octets(8)),
        st.tuples(st.just("set_terminator"), terminators, limits, st.booleans()),
        st.tuples(st.just("overlong")),
        st.tuples(st.just("all")),
    ),
    max_size=30,
)


def follow(buffer, step, *args):
    """Take one step; return all that can be seen of it."""
    try:
        if step == "next":
            outcome = next(buffer, None)
        elif step == "all":
            outcome = [*buffer, buffer.take_partial()]
        elif step == "unread":
            outcome = buffer.unread = args[0]
        elif step == "overlong":
            outcome = buffer.overlong = False
        else:
            outcome = getattr(buffer, step)(*args)
    except (TypeError, ValueError) as error:
        outcome = error
    seen = [(type(taken), taken) for taken in (outcome if type(outcome) is list else [outcome])]
    if isinstance(outcome, Exception):
        seen = type(outcome)
    return seen, buffer.unread, buffer.untaken, buffer.taken, len(buffer), bool(buffer), buffer.overlong, buffer.fed


@given(terminators, limits, st.booleans(), steps)
@example(b"\r\n", None, False, [("feed", b"\r" * 200 + b"\r\n\r"), ("all",)])
def test_both_do_the_same(terminator, limit, views, steps):
    """The plain one is the specification of the compiled one."""
    compiled = pytest.importorskip("asynchat_fast._framing", reason="the compiled module has not been built")
    one = compiled.InputBuffer(terminator, limit, views)
    other = _framing_py.InputBuffer(terminator, limit, views)
    for step in steps:
        assert follow(one, *step) == follow(other, *step), step
