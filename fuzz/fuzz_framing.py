"""Fuzz the compiled InputBuffer: whatever is done to it, it does what the one of plain Python does."""

import sys

import atheris

from asynchat_fast import _framing, _framing_py

TERMINATORS = (b"\n", b"\r\n", b"\r\n.\r\n", b"aab", b"abab", b"", None, 0, 1, 7, -1, "text", bytearray(b"\r\n"))
LIMITS = (None, 0, 1, 5, 40)


def octets(data):
    """Return octets in which terminators, and the beginnings of some, are frequent."""
    if data.ConsumeBool():
        return data.ConsumeBytes(data.ConsumeIntInRange(0, 80))
    alphabet = data.PickValueInList([b"\r\n", b"\r\n.", b"ab", b"a\n"])
    return bytes(alphabet[octet % len(alphabet)] for octet in data.ConsumeBytes(data.ConsumeIntInRange(0, 300)))


def terminator(data):
    return octets(data) if data.ConsumeIntInRange(0, 3) == 0 else data.PickValueInList(list(TERMINATORS))


def feed(data):
    chunk = octets(data)
    if data.ConsumeIntInRange(0, 7) == 0:
        chunk = bytearray(chunk)
    return lambda buffer: buffer.feed(chunk)


def set_terminator(data):
    arguments = terminator(data), data.PickValueInList(list(LIMITS)), data.ConsumeBool()
    return lambda buffer: buffer.set_terminator(*arguments)


def assign(data):
    chunk = octets(data)
    return lambda buffer: setattr(buffer, "unread", chunk)


def take_several(data):
    return lambda buffer: [bytes(payload) for payload in buffer]


def take(data):
    return lambda buffer: bytes(next(buffer, b"none"))


def take_partial(data):
    return lambda buffer: bytes(buffer.take_partial())


def take_and_put_back(data):
    taking = take(data) if data.ConsumeBool() else take_partial(data)
    return lambda buffer: (taking(buffer), buffer.put_back())


def skip(data):
    count = data.ConsumeIntInRange(0, 100)
    return lambda buffer: buffer.skip(count)


def forgive(data):
    return lambda buffer: setattr(buffer, "overlong", False)


STEPS = [feed, feed, take_several, take, take_partial, take_and_put_back, set_terminator, assign, skip, forgive]


def outcome(step, buffer):
    """Return what *step* returns or raises, and all that can be seen of *buffer* then."""
    try:
        result = step(buffer)
    except (TypeError, ValueError) as error:
        result = type(error)
    return result, buffer.unread, buffer.untaken, len(buffer), buffer.taken, buffer.fed, bool(buffer.overlong)


def test_one_input(raw):
    data = atheris.FuzzedDataProvider(raw)
    arguments = terminator(data), data.PickValueInList(list(LIMITS)), data.ConsumeBool()
    compiled, plain = _framing.InputBuffer(*arguments), _framing_py.InputBuffer(*arguments)
    for _ in range(50):
        if not data.remaining_bytes():
            break
        step = data.PickValueInList(STEPS)(data)
        assert outcome(step, compiled) == outcome(step, plain)
    haystack, needle = octets(data), octets(data)
    assert _framing.find_prefix_at_end(haystack, needle) == _framing_py.find_prefix_at_end(haystack, needle)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
