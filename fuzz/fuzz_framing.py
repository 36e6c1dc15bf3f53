"""Fuzz the compiled InputBuffer and EventBuffer: whatever is done to one, it does what that of plain Python does."""

import sys

import atheris

from asynchat_fast import _events, _framing, events, framing

TERMINATORS = (
    b"\n",
    b"\r\n",
    b"\r\n.\r\n",
    b"aab",
    b"abab",
    b"",
    None,
    0,
    1,
    7,
    1 << 80,
    -1,
    "text",
    bytearray(b"\r\n"),
)
LIMITS = (None, 0, 1, 5, 40)


def bytes_of(data):
    """Return bytes in which terminators, and the beginnings of some, are frequent."""
    if data.ConsumeBool():
        return data.ConsumeBytes(data.ConsumeIntInRange(0, 80))
    alphabet = data.PickValueInList([b"\r\n", b"\r\n.", b"ab", b"a\n"])
    return bytes(alphabet[byte % len(alphabet)] for byte in data.ConsumeBytes(data.ConsumeIntInRange(0, 300)))


def terminator(data):
    return bytes_of(data) if data.ConsumeIntInRange(0, 3) == 0 else data.PickValueInList(list(TERMINATORS))


def bytes_like(data):
    chunk = bytes_of(data)
    kind = data.ConsumeIntInRange(0, 15)
    return {0: bytearray(chunk), 1: memoryview(chunk), 2: "text", 3: None}.get(kind, chunk)


def feed(data):
    chunk = bytes_like(data)
    return lambda buffer: buffer.feed(chunk) is buffer


def assign(data):
    chunk = bytes_like(data)
    return lambda buffer: setattr(buffer, "unread", chunk)


def take(data):
    return lambda buffer: plain(next(buffer, "nothing"))


def forgive(data):
    return lambda buffer: setattr(buffer, "overlong", False)


def set_options(data):
    arguments = data.PickValueInList(list(LIMITS)), data.ConsumeBool()
    return lambda buffer: buffer.set_options(*arguments)


def take_several(data):
    return lambda buffer: [plain(payload) for payload in buffer]


def take_partial(data):
    return lambda buffer: plain(buffer.take_partial())


def set_terminator(data):
    arguments = terminator(data), data.PickValueInList([*LIMITS, -1]), data.ConsumeBool()
    return lambda buffer: buffer.set_terminator(*arguments)


def assign_terminator(data):
    chosen = terminator(data)
    return lambda buffer: setattr(buffer, "terminator", chosen)


def hold(data):
    chosen = terminator(data)
    return lambda buffer: buffer.hold(chosen)


def call(name):
    return lambda data: lambda buffer: getattr(buffer, name)()


COMMON = [feed, feed, take, take, assign, forgive, set_options]
INPUT_STEPS = [*COMMON, take_several, take_partial, take_partial, set_terminator]
EVENT_STEPS = [*COMMON, take, take, assign_terminator, hold, *map(call, ("undo", "interrupt", "unset"))]


def plain(payload):
    """Return what kind of thing *payload* is, and its bytes."""
    return type(payload), bytes(payload) if isinstance(payload, memoryview) else payload


def outcome(step, buffer):
    """Return what *step* returns or raises, and all that can be seen of *buffer* then."""
    try:
        result = step(buffer)
    except (TypeError, ValueError, events.Interrupted) as error:
        result = type(error)
    set_to = getattr(buffer, "terminator", "unset")
    return result, set_to, buffer.unread, len(buffer), buffer.fed, bool(buffer.overlong)


def compare(data, steps, compiled, specified):
    for _ in range(50):
        if not data.remaining_bytes():
            break
        step = data.PickValueInList(steps)(data)
        assert outcome(step, compiled) == outcome(step, specified)


def test_one_input(raw):
    data = atheris.FuzzedDataProvider(raw)
    haystack, needle = bytes_of(data), bytes_of(data)
    assert _framing.find_prefix_at_end(haystack, needle) == framing.plain_find_prefix_at_end(haystack, needle)
    if data.ConsumeBool():
        compare(data, INPUT_STEPS, _framing.InputBuffer(), framing.PlainInputBuffer())
    else:
        compare(data, EVENT_STEPS, _events.EventBuffer(), events.PlainEventBuffer())


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
