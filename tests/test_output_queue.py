"""OutputQueue, both builds of it: items leave once and in their order, by one sender at a time."""

import sys
import threading
from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynchat_fast.conversation import Conversation
from asynchat_fast.output_queue import PlainOutputQueue

SIZE = 8


@pytest.fixture
def queue(output_queue):
    """An empty queue whose last sender was allowed SIZE bytes."""
    made = output_queue.OutputQueue()
    assert made.begin(SIZE) is None
    return made


@pytest.fixture(params=[0, 1, 2, 3], ids="{} before".format)
def filled(queue, request):
    """A queue in which some items wait, and a list of them."""
    items = [b"item %d" % number for number in range(request.param)]
    assert all(map(queue.put, items))
    return queue, items


def send_all(queue, size=SIZE, most=1 << 20):
    """Send the bytes at the head of *queue*, at most *most* bytes at once; return all that went."""
    sent = []
    while data := queue.begin(size):
        sent.append(data[:most])
        queue.end(data, len(sent[-1]))
    assert data is None
    return b"".join(sent)


def test_a_new_queue_is_empty(output_queue):
    queue = output_queue.OutputQueue()
    assert (len(queue), bool(queue), queue.items, queue.sends, queue.corked) == (0, False, deque(), 0, 0)
    assert not queue.joins
    assert not queue.known
    assert not queue.owed
    assert queue.begin(SIZE) is None


class TestPutting:
    def test_queues_bytes_in_their_order(self, filled):
        queue, items = filled
        assert (len(queue), bool(queue), list(queue.items)) == (len(items), bool(items), items)
        assert queue.put(b"last")
        assert list(queue.items) == [*items, b"last"]

    def test_queues_the_very_object(self, filled):
        queue, _ = filled
        data = bytes(bytearray(b"object"))
        assert queue.put(data)
        assert queue.items[-1] is data

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"longer than",
            bytearray(b"bytes"),
            memoryview(b"bytes"),
            "text",
            None,
            5,
            type("B", (bytes,), {})(b"bytes"),
        ],
        ids=lambda each: type(each).__name__,
    )
    def test_leaves_items_that_cannot_be_sent_as_they_are_to_the_caller(self, filled, data):
        queue, items = filled
        assert queue.put(data) is False
        assert list(queue.items) == items

    def test_leaves_everything_to_the_caller_before_anything_was_sent(self, output_queue):
        """The queue does not know yet how many bytes may be sent at once."""
        queue = output_queue.OutputQueue()
        assert queue.put(b"bytes") is False
        assert not queue

    def test_goes_by_the_size_of_the_last_sender(self, queue):
        assert queue.begin(3) is None
        assert (queue.put(b"123"), queue.put(b"1234")) == (True, False)
        assert queue.begin(4) == b"123"
        queue.end(None, 0)
        assert queue.put(b"1234")

    def test_leaves_everything_to_the_caller_while_the_program_has_the_deque(self, queue):
        queue.known = True
        assert queue.put(b"bytes") is False
        queue.known = False
        assert queue.put(b"bytes")


class TestSending:
    @pytest.mark.parametrize("most", [1, 2, 5, 100])
    def test_sends_everything_once_and_in_its_order(self, filled, most):
        queue, items = filled
        assert send_all(queue, most=most) == b"".join(items)
        assert (len(queue), bool(queue), queue.items) == (0, False, deque())

    def test_hands_out_the_very_object_that_was_put(self, filled):
        queue, items = filled
        for item in items:
            data = queue.begin(SIZE)
            assert data is item
            queue.end(data, len(data))

    @pytest.mark.parametrize("sent", [0, None])
    def test_keeps_unsent_data(self, filled, sent):
        queue, items = filled
        data = queue.begin(SIZE)
        if items:
            assert queue.end(data, sent) is True
            assert queue.sends == 0
        assert list(queue.items) == items

    def test_tells_whether_something_is_left(self, filled):
        queue, items = filled
        for left in reversed(range(len(items))):
            data = queue.begin(SIZE)
            assert queue.end(data, len(data)) is (left > 0)

    def test_counts_how_often_something_was_sent(self, filled):
        queue, items = filled
        for number in range(len(items)):
            data = queue.begin(SIZE)
            queue.end(data, 2)
            assert queue.sends == 2 * number + 1
            data = queue.begin(SIZE)
            queue.end(data, len(data))
            assert queue.sends == 2 * number + 2

    @pytest.mark.parametrize(
        "head", [b"", b"longer than", bytearray(b"bytes"), "text", None, deque()], ids=lambda each: type(each).__name__
    )
    def test_has_the_caller_look_at_items_that_cannot_be_sent_as_they_are(self, filled, head):
        queue, items = filled
        queue.items.appendleft(head)
        assert queue.begin(SIZE) is False
        assert queue.begin(SIZE) is None  # it is inside
        queue.items.popleft()
        assert queue.end(None, 0) is True  # as another has begun
        assert list(queue.items) == items
        assert send_all(queue) == b"".join(items)

    @pytest.mark.parametrize("size", [SIZE, 13, 14, 1 << 80])
    def test_joins_what_fits_where_items_leave_as_one(self, filled, size):
        queue, items = filled
        queue.joins = True
        whole = b"".join(items)
        expected = b"".join(items[: size // len(b"item 0")])
        data = queue.begin(size)
        assert data == (expected or None)
        assert b"".join(queue.items) == whole
        assert not data or (queue.items[0] is data and queue.end(data, 3) and b"".join(queue.items) == whole[3:])
        assert send_all(queue, size) == whole[3:]

    @pytest.mark.parametrize(
        "other", [None, "text", bytearray(b"x"), memoryview(b"x"), deque()], ids=lambda each: type(each).__name__
    )
    def test_has_the_caller_look_where_an_item_of_another_kind_would_be_joined(self, filled, other):
        queue, items = filled
        queue.joins = True
        queue.extend([other])
        assert queue.begin(1 << 16) is False
        assert list(queue.items) == [*items, other]

    def test_joins_nothing_in_a_deque_that_the_program_has(self, queue):
        queue.joins = queue.known = True
        queue.items = deque([b"one", b"two"])
        assert queue.begin(SIZE) is False
        assert queue.items == deque([b"one", b"two"])

    def test_goes_by_the_size_of_the_moment(self, queue):
        assert queue.put(b"12345")
        assert queue.begin(4) is False
        queue.end(None, 0)
        assert queue.begin(5) == b"12345"
        queue.end(None, 0)
        assert queue.begin(5.9) == b"12345"
        queue.end(None, 0)
        assert queue.begin(4.9) is False
        queue.end(None, 0)
        assert queue.begin(1 << 80) == b"12345"
        queue.end(None, 0)
        assert queue.put(b"any size" * 1000)

    @pytest.mark.parametrize("size", [0, -1, 0.5, -(1 << 80)])
    def test_is_impossible_below_a_byte_at_once(self, filled, size):
        queue, items = filled
        with pytest.raises(ValueError, match="ac_out_buffer_size"):
            queue.begin(size)
        assert send_all(queue) == b"".join(items)

    @pytest.mark.parametrize("size", [None, "8", b"8", [8]])
    def test_is_impossible_with_a_size_that_is_no_number(self, filled, size):
        queue, items = filled
        with pytest.raises(TypeError):
            queue.begin(size)
        assert send_all(queue) == b"".join(items)

    @pytest.mark.parametrize("sent", [1.5, "1", b"1"])
    def test_a_count_that_is_none_changes_nothing(self, filled, sent):
        """A send() of a program may return such a count; the caller ends once more, and may send again."""
        queue, items = filled
        if data := queue.begin(SIZE):
            with pytest.raises(TypeError):
                queue.end(data, sent)
            assert queue.end(None, 0) is True
            assert queue.sends == 0
        assert send_all(queue) == b"".join(items)


class TestChangesWhileSomebodyIsInside:
    @pytest.mark.parametrize("change", ["clear", "assign", "popleft"])
    def test_discarded_items_are_not_discarded_again(self, filled, change):
        queue, items = filled
        data = queue.begin(SIZE)
        if change == "clear":
            queue.items.clear()
        elif change == "assign":
            queue.items = deque()
        elif items:
            queue.items.popleft()
        left = items[1:] if change == "popleft" else []
        for put in (b"new one", b"new two"):
            assert queue.put(put)
        if data:
            assert queue.end(data, len(data)) is True
        assert list(queue.items) == [*left, b"new one", b"new two"]

    def test_items_put_meanwhile_stay_behind(self, filled):
        queue, items = filled
        if data := queue.begin(SIZE):
            assert queue.put(b"new")
            assert queue.end(data, 1) is True
            assert list(queue.items) == [items[0][1:], *items[1:], b"new"]

    def test_items_put_before_the_head_stay(self, filled):
        queue, items = filled
        if data := queue.begin(SIZE):
            queue.items.appendleft(b"before")
            queue.end(data, len(data))
            assert list(queue.items) == [b"before", *items]


class TestOneSenderAtATime:
    def test_a_sender_that_comes_meanwhile_leaves_a_debt(self, queue):
        queue.put(b"one")
        assert queue.begin(SIZE) == b"one"
        assert not queue.owed
        for _ in range(2):
            assert queue.begin(SIZE) is None
            assert queue.owed
        assert queue.end(b"one", 3) is True
        assert queue.owed
        queue.put(b"two")
        assert queue.begin(SIZE) == b"two"
        assert not queue.owed
        assert queue.end(b"two", 3) is False

    def test_no_debt_is_left_once_a_sender_has_looked(self, queue):
        queue.put(b"one")
        data = queue.begin(SIZE)
        queue.begin(SIZE)
        queue.end(data, 3)
        assert queue.begin(SIZE) is None
        assert not queue.owed

    def test_an_empty_queue_keeps_no_sender_out(self, queue):
        for _ in range(3):
            assert queue.begin(SIZE) is None
            assert not queue.owed
        queue.put(b"one")
        assert queue.begin(SIZE) == b"one"

    def test_an_error_of_the_sender_lets_the_next_one_in(self, queue):
        queue.put(b"one")
        assert queue.begin(SIZE) == b"one"
        queue.end(None, 0)
        assert queue.begin(SIZE) == b"one"

    def test_threads_are_inside_one_after_the_other(self, queue):
        inside, most, sent = [], [], []

        def work(name):
            for number in range(300):
                while not queue.put(b"%d:%d" % (name, number)):
                    pass
                while (data := queue.begin(SIZE)) is not None:
                    inside.append(name)
                    most.append(len(inside))
                    sent.append(data)
                    inside.pop()
                    if not queue.end(data, len(data)):
                        break

        run_at_once([lambda name=name: work(name) for name in range(4)])
        while data := queue.begin(SIZE):
            sent.append(data)
            queue.end(data, len(data))
        assert set(most) == {1}
        assert sorted(sent) == sorted(b"%d:%d" % (name, number) for name in range(4) for number in range(300))
        for name in range(4):
            assert [each for each in sent if each.startswith(b"%d:" % name)] == [
                b"%d:%d" % (name, n) for n in range(300)
            ]


class TestTheItemsOfTheProgram:
    def test_may_be_changed(self, filled):
        queue, items = filled
        queue.known = True
        mine = queue.items
        mine.append(b"mine")
        mine.appendleft(b"first")
        assert queue.items is mine
        assert send_all(queue) == b"".join([b"first", *items, b"mine"])
        assert queue.items is mine  # also when it is empty
        mine.append(b"again")
        assert (len(queue), bool(queue)) == (1, True)
        assert send_all(queue) == b"again"

    @pytest.mark.parametrize("kind", [deque, list, type("D", (deque,), {})])
    def test_may_be_replaced(self, filled, kind):
        queue, _ = filled
        mine = kind([b"one", b"two"])
        queue.items = mine
        queue.known = True
        assert queue.items is mine
        assert (len(queue), bool(queue)) == (2, True)
        assert send_all(queue, most=2) == b"onetwo"
        assert queue.items is mine
        assert list(mine) == []

    def test_may_be_replaced_before_anything_is_put(self, queue):
        queue.items = deque()
        assert not queue
        assert queue.put(b"one")
        assert send_all(queue) == b"one"

    def test_are_not_lost_where_a_thread_adds_to_them_while_another_ends(self, queue):
        """Adding is one step: a deque that the program has not seen is dropped once it is empty."""
        for number in range(3):
            assert queue.extend([b"%d" % number])
            assert not queue.end(queue.begin(SIZE), 1)
            assert queue.extend([b"added"])
            assert send_all(queue) == b"added"


class TestCorking:
    def test_happens_once(self, queue):
        assert queue.cork() is True
        assert queue.corked == 1
        assert queue.cork() is False
        assert queue.uncork() == 0
        assert queue.corked == 0
        assert queue.cork() is True

    def test_holds_what_is_put_and_counts_it(self, filled):
        queue, items = filled
        assert queue.extend(items[:0])
        send_all(queue)
        queue.cork()
        assert queue.put(b"held") is None
        assert queue.extend([b"too"]) is False
        assert queue.uncork() == 2
        assert list(queue.items) == [b"held", b"too"]
        assert queue.put(b"more")
        assert send_all(queue) == b"heldtoomore"

    def test_is_over_only_once(self, queue):
        assert queue.uncork() == 0
        queue.cork()
        queue.extend([b"held"] * 5)
        assert (queue.uncork(), queue.uncork()) == (5, 0)

    def test_counts_no_items_that_were_removed(self, queue):
        queue.forget_held()
        assert queue.corked == 0
        queue.cork()
        queue.extend([b"removed"] * 5)
        queue.items.clear()
        queue.forget_held()
        assert queue.extend([b"held"]) is False
        assert queue.uncork() == 1


def run_at_once(functions):
    """Call each function in a thread of its own, all from the same moment on; raise their errors."""
    barrier, errors = threading.Barrier(len(functions)), []

    def run(function):
        barrier.wait()
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "it does not end"
    assert errors == []


@pytest.fixture
def switching():
    """Have threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Sink(Conversation):
    """Pushed data end up in a list, a few bytes at a time."""

    def __init__(self, most):
        Conversation.__init__(self)
        self.connected = True
        self.most = most
        self.sent = []

    def send(self, data):
        self.sent.append(bytes(data[: self.most]))
        return len(self.sent[-1])


@pytest.mark.parametrize("known", [False, True], ids=["", "known"])
@pytest.mark.parametrize("size", [4, 16, 1000])
def test_pushes_of_threads_leave_once_whole_and_in_the_order_of_each(both_buffers, switching, size, known):
    sink = Sink(5)
    sink.ac_out_buffer_size = size
    if known:
        assert not sink.producer_fifo

    def push_all(name):
        for number in range(150):
            sink.push(
                b"%d:%04d, with more bytes than go at once;" % (name, number)
                if number % 2
                else b"%d:%04d;" % (name, number)
            )

    run_at_once([lambda name=name: push_all(name) for name in range(4)])
    while sink.writable():
        sink.initiate_send()
    messages = b"".join(sink.sent).split(b";")
    assert messages.pop() == b""
    for name in range(4):
        assert [int(each[2:6]) for each in messages if each.startswith(b"%d:" % name)] == list(range(150))
    assert len(messages) == 4 * 150


def test_threads_that_push_leave_nothing_unsent_behind(both_buffers, switching):
    """The thread that sends also sends data pushed meanwhile, or else reports that something waits."""
    for _ in range(200):
        sink = Sink(100)
        run_at_once([lambda sink=sink: sink.push(b"abc")] * 3)
        assert b"".join(sink.sent) == b"abc" * 3 or sink.writable()
        while sink.writable():
            sink.initiate_send()
        assert b"".join(sink.sent) == b"abc" * 3


class Pair:
    """A queue of each build; every step is taken on both, and all that can be seen is compared."""

    def __init__(self, *queues):
        self.queues = queues
        self.out = [None, None]  # the result of begin() for the thread that sends

    def take(self, step, *args):
        outcomes = [self.take_one(at, step, args) for at in (0, 1)]
        assert outcomes[0] == outcomes[1], step

    def take_one(self, at, step, args):
        queue = self.queues[at]
        try:
            if step == "end":
                data, self.out[at] = self.out[at], None
                outcome = data is not None and queue.end(data or None if args[0] else None, args[1])
            elif step in ("joins", "known"):
                outcome = setattr(queue, step, args[0])
            elif step == "items":
                queue.items = deque(args[0])
                outcome = list(queue.items)
            elif step in ("append", "appendleft", "clear"):
                outcome = getattr(queue.items, step)(*args)
            else:
                outcome = getattr(queue, step)(*args)
                if step == "begin" and outcome is not None:
                    self.out[at] = outcome
        except (TypeError, ValueError) as error:
            outcome = type(error)
        seen = queue.owed, queue.corked, queue.sends, queue.joins, queue.known
        return type(outcome), outcome, len(queue), bool(queue), seen


items = st.sampled_from([b"a", b"bc", b"defg", b"hijklmno", b"", "text", None, 7, bytearray(b"pq"), memoryview(b"rst")])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), items),
        st.tuples(st.just("put"), items),
        st.tuples(st.just("begin"), st.sampled_from([1, 2, 4, 8, 8, 8, 8.5, 1 << 80, 0, -1, 0.5, None])),
        st.tuples(st.just("begin"), st.just(8)),
        st.tuples(st.just("end"), st.just(True), st.sampled_from([0, 1, 2, 4, 8, 100, None])),
        st.tuples(st.just("end"), st.just(False), st.just(0)),
        st.tuples(st.sampled_from(["joins", "known"]), st.booleans()),
        st.tuples(st.sampled_from(["append", "appendleft"]), items),
        st.tuples(st.sampled_from(["cork", "uncork", "forget_held", "clear"])),
        st.tuples(st.just("items"), st.lists(items, max_size=3)),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def compiled():
    return pytest.importorskip("asynchat_fast._output_queue", reason="the compiled module has not been built")


@given(steps)
@example([("begin", 8), ("put", b"a"), ("begin", 8), ("begin", 8), ("end", True, 1), ("begin", 8)])
def test_both_do_the_same(compiled, steps):
    """The plain queue is the specification of the compiled one."""
    pair = Pair(compiled.OutputQueue(), PlainOutputQueue())
    for step in steps:
        pair.take(*step)
    assert list(pair.queues[0].items) == list(pair.queues[1].items)
