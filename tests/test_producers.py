"""simple_producer, fifo and find_prefix_at_end, as programs use them without a channel."""

import copy
import gc
import pickle
import weakref
from collections import deque

import pytest

from asynchat_fast import fifo, simple_producer


def drain(producer):
    pieces = []
    while piece := producer.more():
        pieces.append(piece)
    return pieces


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024, 1300])
def test_a_producer_hands_out_all_in_order(size):
    data = bytes(byte % 251 for byte in range(size))
    pieces = drain(simple_producer(data))
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces[:-1]] == [512] * (len(pieces) - 1)


@pytest.mark.parametrize("data", [b"0123456789", bytearray(b"0123456789"), memoryview(b"0123456789"), "0123456789"])
def test_a_producer_takes_whatever_can_be_sliced(data):
    producer = simple_producer(data, 4)
    assert drain(producer) == [data[:4], data[4:8], data[8:]]
    assert not producer.more()
    assert type(producer.more()) is type(data)


def test_a_producer_takes_its_size_by_either_way():
    assert simple_producer(b"").buffer_size == 512
    assert simple_producer(b"", 9).buffer_size == 9
    producer = simple_producer(data=b"12345", buffer_size=1)
    assert producer.more() == b"1"
    producer.buffer_size = 3
    assert producer.more() == b"234"


@pytest.mark.parametrize("size", [0, -1])
def test_a_producer_without_a_size_is_an_error_and_not_an_end(size):
    producer = simple_producer(b"data", size)
    with pytest.raises(ValueError, match=str(size)):
        producer.more()
    assert producer.data == b"data"


def test_the_rest_of_a_producer_can_be_read_and_assigned():
    producer = simple_producer(b"0123456789", 4)
    assert producer.data == b"0123456789"
    producer.more()
    assert producer.data == b"456789"
    producer.data += b"abc"
    assert producer.more() == b"4567"
    producer.data = b"other"
    assert drain(producer) == [b"othe", b"r"]
    assert producer.data == b""


def test_a_producer_can_be_subclassed():
    class Counting(simple_producer):
        calls = 0

        def more(self):
            self.calls += 1
            return super().more()

    class Late(simple_producer):
        def __init__(self):
            self.data = b"set without __init__"
            self.buffer_size = 100

    producer = Counting(b"abc", buffer_size=1)
    assert drain(producer) == [b"a", b"b", b"c"]
    assert producer.calls == 4
    assert drain(Late()) == [b"set without __init__"]


def test_a_producer_can_be_pickled_and_copied_half_way():
    producer = simple_producer(b"0123456789", 4)
    producer.more()
    for twin in (pickle.loads(pickle.dumps(producer)), copy.copy(producer)):
        assert twin.data == b"456789"
        assert drain(twin) == [b"4567", b"89"]
    assert drain(producer) == [b"4567", b"89"]


def test_an_exhausted_producer_holds_nothing():
    class Referable(bytearray):
        __slots__ = ("__weakref__",)

    producer = simple_producer(Referable(b"some data"))
    gone = weakref.ref(producer.data)
    drain(producer)
    gc.collect()
    assert gone() is None


def test_handing_out_copies_each_byte_once():
    """Copies are counted and not timed: asynchat copies the remaining data at each call."""

    class Counted:
        copied = 0

        def __init__(self, size):
            self.size = size

        def __len__(self):
            return self.size

        def __getitem__(self, piece):
            size = len(range(*piece.indices(self.size)))
            Counted.copied += size
            return Counted(size)

    drain(simple_producer(Counted(1 << 20)))
    assert Counted.copied <= 1 << 20


def test_a_fifo():
    queue = fifo()
    assert queue.is_empty()
    assert len(queue) == 0
    assert queue.pop() == (0, None)
    with pytest.raises(IndexError):
        queue.first()
    queue.push(b"1")
    queue.push(None)
    assert not queue.is_empty()
    assert len(queue) == 2
    assert queue.first() == b"1"
    assert len(queue) == 2
    assert queue.pop() == (1, b"1")
    assert queue.pop() == (1, None)
    assert queue.pop() == (0, None)


@pytest.mark.parametrize("kind", [list, tuple, deque, iter])
def test_a_fifo_begins_with_the_given_list(kind):
    queue = fifo(kind([1, 2]))
    assert type(queue.list) is deque
    assert list(queue.list) == [1, 2]
    assert len(fifo(list=[1])) == 1


def test_a_fifo_is_a_queue_of_its_own():
    items = [1, 2]
    queue = fifo(items)
    queue.push(3)
    assert items == [1, 2]


@pytest.mark.parametrize(
    ("haystack", "needle", "length"),
    [
        ("qwerty\r", "\r\n", 1),
        ("qwertydkjf", "\r\n", 0),
        ("", "\r\n", 0),
        ("\r", "\r\n", 1),
        ("x\r\n", "\r\n.\r\n", 2),
        ("x\r\n.\r", "\r\n.\r\n", 4),
        ("\r\n.", "\r\n.\r\n", 3),
        ("x\r\n\r", "\r\n.\r\n", 1),
        ("aaaa", "aaab", 3),
        ("aa", "aaab", 2),
        ("abab", "ababa", 4),
        ("ababab", "ababac", 4),
        ("abcabxab", "abcab", 2),
        ("x", "x", 0),
        ("anything", "x", 0),
        ("a\0", "\0\0", 1),
    ],
)
@pytest.mark.parametrize(
    "kind", [str, str.encode, lambda text: bytearray(text.encode())], ids=["str", "bytes", "bytearray"]
)
def test_the_longest_prefix_at_the_end(framing, kind, haystack, needle, length):
    found = framing.find_prefix_at_end(kind(haystack), kind(needle))
    assert found == length
    assert type(found) is int


@pytest.mark.parametrize(("haystack", "needle"), [("", ""), (b"x", b""), (bytearray(b"xy"), bytearray())])
def test_nothing_is_a_prefix_of_nothing(framing, haystack, needle):
    """asynchat counts down from -1 here."""
    assert framing.find_prefix_at_end(haystack, needle) == 0


class BytesSubclass(bytes):
    pass


@pytest.mark.parametrize("haystack", [b"ab\r", BytesSubclass(b"ab\r"), bytearray(b"ab\r")])
@pytest.mark.parametrize("needle", [b"\r\n", BytesSubclass(b"\r\n")])
def test_the_longest_prefix_of_kindred_types(framing, haystack, needle):
    assert framing.find_prefix_at_end(haystack, needle) == 1


def test_a_needle_longer_than_the_haystack(framing):
    assert framing.find_prefix_at_end(b"ab", b"ab" * 5000) == 2
    assert framing.find_prefix_at_end(b"ab" * 5000, b"ab" * 5000 + b"c") == 10000
