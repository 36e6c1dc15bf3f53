"""Fuzz the compiled OutputQueue: whatever is done to it, it does what that of plain Python does."""

import sys
from collections import deque

import atheris

from asynchat_fast import _output_queue, output_queue

ITEMS = (b"a", b"bc", b"defg", b"hijklmno", b"", "text", None, 7, bytearray(b"pq"), memoryview(b"rst"))
SIZES = (1, 2, 4, 8, 8.5, 100, 1 << 80, 0, -1, 0.5, None, "8")


def item(data):
    return data.ConsumeBytes(data.ConsumeIntInRange(0, 20)) if data.ConsumeBool() else data.PickValueInList(list(ITEMS))


def put(data):
    each = item(data)
    return lambda sender: sender.queue.put(each)


def begin(data):
    size = data.PickValueInList(list(SIZES)) if data.ConsumeBool() else 8
    return lambda sender: sender.begin(size)


def end(data):
    looked_at, sent = data.ConsumeBool(), data.PickValueInList([0, 1, 2, 4, 8, 100, None])
    return lambda sender: sender.end(looked_at, sent)


def change_items(data):
    name, each = data.PickValueInList(["append", "appendleft", "remove"]), item(data)
    return lambda sender: getattr(sender.queue.items, name)(each)


def clear(data):
    return lambda sender: sender.queue.items.clear()


def assign(data):
    items = [item(data) for _ in range(data.ConsumeIntInRange(0, 3))]
    return lambda sender: setattr(sender.queue, "items", deque(items))


def set_flag(data):
    name, value = data.PickValueInList(["joins", "known"]), data.ConsumeBool()
    return lambda sender: setattr(sender.queue, name, value)


def call(name):
    return lambda data: lambda sender: getattr(sender.queue, name)()


CORKS = [call("cork"), call("uncork"), call("forget_held")]
STEPS = [put, put, put, begin, begin, end, end, change_items, clear, assign, set_flag, *CORKS]


class Sender:
    """One that leaves *queue* only after it has entered."""

    def __init__(self, queue):
        self.queue = queue
        self.data = None

    def begin(self, size):
        data = self.queue.begin(size)
        self.data = self.data if data is None else data
        return data

    def end(self, looked_at, sent):
        data, self.data = self.data, None
        return data is not None and self.queue.end(None if looked_at else data or None, sent)


def outcome(step, sender):
    """Return what *step* returns or raises, and all that can be seen of the queue then."""
    try:
        result = step(sender)
    except (TypeError, ValueError) as error:
        result = type(error)
    queue = sender.queue
    return result, len(queue), bool(queue), queue.owed, queue.corked, queue.sends, queue.joins, queue.known


def test_one_input(raw):
    data = atheris.FuzzedDataProvider(raw)
    compiled, plain = Sender(_output_queue.OutputQueue()), Sender(output_queue.PlainOutputQueue())
    for _ in range(60):
        if not data.remaining_bytes():
            break
        step = data.PickValueInList(STEPS)(data)
        assert outcome(step, compiled) == outcome(step, plain)
    assert list(compiled.queue.items) == list(plain.queue.items)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
