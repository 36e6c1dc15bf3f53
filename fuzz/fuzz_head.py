"""Fuzz the compiled head parser: it returns the same as the one in plain Python, or raises the same error.

A head is refused as soon as its first wrong byte has arrived.
"""

import sys

import atheris

from asynchat_fast.http import _head
from asynchat_fast.http.errors import HTTPError
from asynchat_fast.http.head import PlainHeadParser

PIECES = (
    *(b"GET ", b"OPTIONS * ", b"/", b" HTTP/1.1", b" HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\r", b"\n", b":", b": ", b" "),
    *(b"Host: a", b"host:b", b"Content-Length: 5", b"Transfer-Encoding:chunked", b"X: \xff\x7f", b"\t", b"\0"),
)


def any_head(data):
    """Return bytes that resemble a head, more or less."""
    head = b""
    for _ in range(data.ConsumeIntInRange(0, 30)):
        if data.ConsumeBool():
            head += data.PickValueInList(list(PIECES))
        else:
            head += data.ConsumeBytes(data.ConsumeIntInRange(0, 12))
    return head


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except HTTPError as error:
        return error.args, error.status


def compare(name, *arguments):
    compiled = outcome(getattr(_head, name), *arguments)
    assert compiled == outcome(getattr(PlainHeadParser, name), *arguments), (name, arguments)
    return compiled


def test_one_input(raw):
    data = atheris.FuzzedDataProvider(raw)
    max_fields, max_line = data.PickValueInList([0, 1, 3, 100]), data.PickValueInList([70, 100, 8192])
    head = any_head(data)
    result = compare("parse_head", head, max_fields, max_line)
    compare("parse_fields", head, max_fields)
    checked = size = 0
    while size < len(head):
        size = min(size + 1 + data.ConsumeIntInRange(0, 40), len(head))
        checked = compare("check_beginning", head[:size], checked, max_fields, max_line)
        if type(checked) is not int:
            assert checked == result, "refused early for another reason than the whole head"
            break


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
