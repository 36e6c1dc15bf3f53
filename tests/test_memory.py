"""The compiled modules read no byte beyond those that they are given.

Not one: the bytes end where a page begins that must not be touched, which ends the process.
So the checks are in a process of their own, which runs this file as a script.
"""

import contextlib
import ctypes
import importlib
import mmap
import signal
import sys
import sysconfig
from pathlib import Path

import pytest

PROT_NONE = 0  # the mmap module does not name it
HEADER = bytes.__basicsize__ - 1
ALIGNMENT = 8

owners = []  # of the memory


def guarded(data):
    """Return bytes like *data*, of a multiple of ALIGNMENT, that end at a page that must not be touched."""
    size = HEADER + len(data)
    assert size % ALIGNMENT == 0, "the object would not be aligned"
    usable = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    owners.append(mmap.mmap(-1, usable + mmap.PAGESIZE))
    end = ctypes.addressof(ctypes.c_char.from_buffer(owners[-1])) + usable
    ctypes.memmove(end - size, id(data), size)
    ctypes.c_ssize_t.from_address(end - size).value = 1 << 20  # references: never to be freed
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(end), mmap.PAGESIZE, PROT_NONE):
        raise OSError("mprotect")
    copy = ctypes.cast(end - size, ctypes.py_object).value
    assert copy == data
    return copy


def endings(before, stream):
    """Yield each beginning of *stream*, guarded, with *before* and as many bytes before it as alignment needs."""
    for size in range(not before, len(stream) + 1):  # CPython itself looks at the end of empty bytes
        padding = -(len(before) + size) % ALIGNMENT
        yield guarded(before + b"x" * padding + stream[:size])


def read_beyond():
    data = guarded(b"01234567")
    ctypes.string_at(id(data) + HEADER, len(data) + 1)


def frame():
    framing = importlib.import_module("asynchat_fast._framing")
    compiled_events = importlib.import_module("asynchat_fast._events")
    events = importlib.import_module("asynchat_fast.events")
    terminators = (b"\n", b"\r\n", b"\r\n.\r\n", guarded(b"\r\n.\r\n.\r\n"), guarded(b"aaaaaaab"), 5, None)
    # Short: where a search goes badly bytes.find() takes over, which looks at the NUL that ends all bytes.
    for stream in (b"\r\n.\r\n.\r\n\r\n.\r", b"\n.\r\n.\r\r\n", b"aaaaaaabaaaaa", b"\r\r\r\r\r\r"):
        for data in endings(b"", stream):
            for terminator in terminators:
                buffer = framing.InputBuffer(terminator)
                buffer.feed(data)
                list(buffer)
                buffer.take_partial()
                for most in (None, 3):
                    buffer = compiled_events.EventBuffer()
                    buffer.set_options(most, False)
                    buffer.terminator = terminator
                    for _ in range(2):
                        with contextlib.suppress(events.Interrupted):
                            list(buffer.feed(data))
                        buffer.overlong = False
                if type(terminator) is bytes:
                    framing.find_prefix_at_end(data, terminator)


def parse_heads():
    head = importlib.import_module("asynchat_fast.http._head")
    errors = importlib.import_module("asynchat_fast.http.errors")
    rest = b" HTTP/1.1\r\nHost: a\r\nUser-Agent: somebody's program\r\nContent-Length:0 \r\nX:\r\nx-y:\t\r\n\r\n"
    for before, stream in (
        (b"GET /", rest),
        (b"", rest),
        (b"", b" / HTTP/1.1\r\n\r"),
        (b"GET /", rest.replace(b":", b";")),
    ):
        for data in endings(before, stream):
            for function in (head.parse_head, head.parse_fields, head.check_beginning):
                with contextlib.suppress(errors.HTTPError):
                    function(data)
            with contextlib.suppress(errors.HTTPError):
                head.check_beginning(data, data.rfind(b"\r\n", 0, -1) + 2)
    for data in endings(b"", b"Host: a\r\nX-Long-Enough: for words of eight\x7fpieces"):
        with contextlib.suppress(errors.HTTPError):
            head.parse_fields(data)


CHECKS = {"asynchat_fast._framing": frame, "asynchat_fast.http._head": parse_heads}


@pytest.fixture
def check(run_python):
    if sys.platform == "win32" or sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("guards a bytes object by mprotect(), laid out as by a CPython that has the GIL")
    return lambda name: run_python(str(Path(__file__).absolute()), name)


def test_a_read_beyond_the_bytes_ends_the_process(check):
    assert check("read_beyond").returncode in (-signal.SIGSEGV, -signal.SIGBUS)


@pytest.mark.parametrize("module", CHECKS)
def test_no_read_beyond_the_bytes(check, module):
    pytest.importorskip(module, reason="the compiled module has not been built for this Python")
    process = check(CHECKS[module].__name__)
    assert process.returncode == 0, process.stderr


if __name__ == "__main__":
    globals()[sys.argv[1]]()
