"""The access log: its lines, and that a log that fails costs no client its response."""

import io
import json
import logging
import re
from datetime import datetime
from types import SimpleNamespace

import pytest

from asynchat_fast.http import http_request_handler
from asynchat_fast.http.access_log import FORMATS, log_writer


def request(line="GET /a HTTP/1.1", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(requestline=line, headers=headers, address_string=lambda: "192.0.2.1")


HOSTILE = 'GET /"\\\x1b[31m\r\nX \x9b\xff HTTP/1.1'


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_text_from_a_client_begins_no_line_and_moves_no_cursor(name):
    line = FORMATS[name](request(HOSTILE, user_agent='a"\n\x1b', referer="\r"), 400, 0)
    for escape in ("\x1b[31m", "\x9b", "\r", "\n", '\x1b"'):
        assert escape not in line


def test_json():
    read = json.loads(FORMATS["json"](request(HOSTILE, user_agent="agent", referer="from"), 404, 12))
    assert abs(datetime.fromisoformat(read.pop("time")).timestamp() - datetime.now().timestamp()) < 20
    assert read == {
        "client": "192.0.2.1",
        "method": "GET",
        "target": '/"\\\x1b[31m\r\nX',
        "protocol": "\x9b\xff HTTP/1.1",
        "status": 404,
        "bytes": 12,
        "referer": "from",
        "user_agent": "agent",
    }
    assert json.loads(FORMATS["json"](request("garbage"), 400, 0))["method"] == "garbage"
    assert json.loads(FORMATS["json"](request(""), 408, 0))["target"] == ""


def test_a_coloured_line_is_a_common_one_in_colours():
    for status, colour in [(200, 32), (304, 36), (404, 33), (500, 31)]:
        line = FORMATS["coloured"](request(), status, 5)
        assert f"\x1b[{colour}m{status}\x1b[0m" in line
        plain = re.sub("\x1b\\[[0-9]+m", "", line)
        assert re.fullmatch(rf'192\.0\.2\.1 - - \[[^]]+\] "GET /a HTTP/1\.1" {status} 5', plain)


class Failing:
    """A log that fails, however it is written to."""

    def __init__(self, error):
        self.error = error

    def __call__(self, line):
        raise self.error

    log = write = __call__

    def filter(self, record):
        raise self.error


def failing_logs():
    failing = Failing(OSError(28, "No space left on device"))
    logger = logging.getLogger("failing")
    logger.setLevel(logging.INFO)
    closed = io.StringIO()
    closed.close()
    broken = logging.Logger("broken", logging.INFO)
    broken.addFilter(Failing(ValueError("broken")))
    return [failing, SimpleNamespace(log=failing), SimpleNamespace(write=failing), closed, broken]


@pytest.mark.parametrize("kind", range(5), ids=["function", "log()", "write()", "closed file", "logger"])
def test_a_log_that_fails_costs_no_response(kind, serve_http, capsys):
    log = failing_logs()[kind]

    class Handler(http_request_handler):
        def do_GET(self):
            self.respond(200, self.path)

    connect = serve_http(Handler, log=log)
    for _ in range(2):
        wire = connect()
        wire.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [response.body for response in wire.responses("GET", "GET")] == [b"/1", b"/2"]
        wire.send(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.response().body == b"/3"
        wire.sock.close()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "the access log cannot be written" in said[0]


def test_a_log_request_that_fails_costs_no_response(serve_http, capsys):
    class Handler(http_request_handler):
        def do_GET(self):
            self.respond(200, self.path)

        def log_request(self, code="-", size="-"):
            raise ZeroDivisionError(self.path)

    wire = serve_http(Handler)()
    wire.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [response.body for response in wire.responses("GET", "GET")] == [b"/1", b"/2"]
    (said,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError: /1" in said


def test_stderr_may_fail_itself(monkeypatch):
    failing = Failing(BrokenPipeError(32, "Broken pipe"))
    stderr = SimpleNamespace(write=failing, flush=failing)
    monkeypatch.setattr("sys.stderr", stderr)
    log_writer(stderr)("a line")
    monkeypatch.setattr("sys.stderr", None)
    log_writer(Failing(OSError("another")))("a line")


def test_a_log_that_works_again_is_written_to():
    lines, errors = [], [OSError("full")]

    def log(line):
        if errors:
            raise errors.pop()
        lines.append(line)

    write = log_writer(log)
    write("lost")
    write("kept")
    assert lines == ["kept"]


def test_an_object_that_is_no_log_is_refused():
    with pytest.raises(TypeError, match="cannot be logged to"):
        log_writer(42)
