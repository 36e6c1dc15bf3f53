"""The recipes of docs/terminators.md cut what real peers send, however it arrives."""

import re
import struct
from pathlib import Path

import pytest

from asynchat_fast.testing import MemoryTransport

DOCS = Path(__file__).parents[1] / "docs"
if not DOCS.is_dir():
    pytest.skip("these tests are not in a source tree, so there is no documentation", allow_module_level=True)

_BLOCK = re.compile(r"^<!-- file: ([\w.]+) -->\n```python\n(.*?)^```$", re.M | re.S)
RECIPES = dict(_BLOCK.findall((DOCS / "terminators.md").read_text(encoding="utf-8")))


def read_recipe(name):
    """Return the class that the block *name* defines."""
    namespace = {"__name__": "recipe"}
    exec(RECIPES[name], namespace)
    (recipe,) = (each for each in namespace.values() if getattr(each, "__module__", "") == "recipe")
    return recipe


def feed(recipe, chunks, **attributes):
    """Return the transport of a channel of class *recipe* that has received each of *chunks*, and its messages."""
    messages = []

    class Fed(recipe):
        def message_received(self, *message):
            messages.append(message if message[1:] else message[0])

    transport = MemoryTransport(type("Fed", (Fed,), attributes))
    for chunk in chunks:
        if not transport.closed:
            transport.receive(chunk)
    return transport, messages


def ways_to_arrive(stream):
    """Yield the chunks of *stream*: whole, cut in two at each byte, and byte by byte."""
    yield [stream]
    for at in range(1, len(stream)):
        yield [stream[:at], stream[at:]]
    yield [stream[at : at + 1] for at in range(len(stream))]


BLANK, LITTLE = {"end": b""}, {"head": struct.Struct("<I")}
OF_MEMCACHED = {"announced": re.compile(rb"VALUE .* (\d{1,9})").fullmatch}

# The recipe, what is received, the messages that are read, and attributes of a subclass.
CASES = [
    ("line.py", b"one\r\n\r\ntwo\nthr\ree\r\nnot yet", [b"one", b"", b"two", b"thr\ree"], {}),
    ("block.py", b".\r\na\r\n..\r\n\r\n.\r\n.b\n.\nmore\r\n", [[], [b"a", b".", b""], [b"b"]], {}),
    ("block.py", b"\na: 1\r\n\r\n.\n\nb", [[], [b"a: 1"], [b"."]], BLANK),
    (
        "counted.py",
        b"+OK\r\n$4\r\na\r\nb\r\n$0\r\n\r\n$-1\r\n:1\r\n$5\r\nrest",
        [(b"+OK", None), (b"$4", b"a\r\nb"), (b"$0", b""), (b"$-1", None), (b":1", None)],
        {},
    ),
    (
        "counted.py",
        b"VALUE k 0 5\r\nEND\r\n\r\nVALUE k 0 0\r\n\r\nEND\r\n",
        [(b"VALUE k 0 5", b"END\r\n"), (b"VALUE k 0 0", b""), (b"END", None)],
        OF_MEMCACHED,
    ),
    ("framed.py", b"\0\0\0\3one\0\0\0\0\0\0\0\0\0\0\0\4\0\0\0\1\0\0", [b"one", b"", b"", b"\0\0\0\1"], {}),
    ("framed.py", b"\3\0\0\0one\0\0\0\0\1\0\0\0x", [b"one", b"", b"x"], LITTLE),
    (
        "literal.py",
        b"a login {2}\r\n\r\n {0}\r\n\r\nb noop\r\nc x {3+}\r\n{1}{1+}\r\ny end\r\n",
        [[b"a login {2}", b"\r\n", b" {0}", b"", b""], [b"b noop"], [b"c x {3+}", b"{1}", b"{1+}", b"y", b" end"]],
        {},
    ),
    ("prompted.py", b"\n> one\ntwo\n\n> \n> >", [b"", b"one\ntwo\n", b""], {}),
    ("ended_by_byte.py", b"one\0\0\r\n\0rest", [b"one", b"", b"\r\n"], {}),
    ("ended_by_byte.py", b"one\x1atwo\0\x1a", [b"one", b"two\0"], {"end": b"\x1a"}),
]


@pytest.mark.parametrize(("name", "stream", "messages", "attributes"), CASES, ids=[case[0] for case in CASES])
def test_messages_do_not_depend_on_how_they_arrive(both_buffers, name, stream, messages, attributes):
    recipe = read_recipe(name)
    for chunks in ways_to_arrive(stream):
        assert feed(recipe, chunks, **attributes)[1] == messages, chunks


@pytest.mark.parametrize("stream", [b"", b"one\r\n\0 two"])
def test_by_close(both_buffers, stream):
    recipe = read_recipe("by_close.py")
    for chunks in ways_to_arrive(stream):
        transport, messages = feed(recipe, filter(None, chunks))
        transport.eof()
        assert (messages, transport.closed) == ([stream], True)


def test_a_literal_is_asked_for_unless_it_comes_unasked(both_buffers):
    recipe = read_recipe("literal.py")
    assert feed(recipe, [b"a {1}\r\n"])[0].sent == b"+ go ahead\r\n"
    assert feed(recipe, [b"a {1+}\r\n"])[0].sent == b""


OVERLONG = [
    ("line.py", b"12345678901\n", {}),
    ("block.py", b"12345678901\n", {}),
    ("block.py", b"1\n2\n3\n.\n", {"most_lines": 2}),
    ("counted.py", b"$11\r\n12345678901\r\n", {}),
    ("framed.py", b"\0\0\0\x0b12345678901", {}),
    ("literal.py", b"{4}\r\n1234{4}\r\n1234\r\n", {}),
    ("prompted.py", b"12345678901\n> ", {}),
    ("ended_by_byte.py", b"12345678901\0", {}),
    ("by_close.py", b"12345678901", {}),
]


@pytest.mark.parametrize(("name", "stream", "attributes"), OVERLONG, ids=[case[0] for case in OVERLONG])
def test_what_exceeds_the_limit_closes_and_is_not_a_message(both_buffers, name, stream, attributes):
    recipe = read_recipe(name)
    for chunks in ways_to_arrive(stream):
        transport, messages = feed(recipe, chunks, max_payload=10, **attributes)
        assert (messages, transport.closed) == ([], True), chunks


def test_each_recipe_is_tested():
    assert RECIPES.keys() == {name for name, *_ in CASES} | {"by_close.py"} == {name for name, *_ in OVERLONG}
