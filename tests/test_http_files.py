"""``file_handler``: which paths lead to a file and which do not, and the fields of its response."""

import base64
import errno
import html
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from unittest.mock import patch
from urllib.parse import quote, urljoin

import pytest

from asynchat_fast import loop
from asynchat_fast.http import HTTPError
from asynchat_fast.http.dates import parse_date
from asynchat_fast.http.document_root import DocumentRoot, Entry, segments_of
from asynchat_fast.http.files import file_handler
from asynchat_fast.http.listing import listing_page

posix = pytest.mark.skipif(os.name != "posix", reason="names, FIFOs and permissions are not like this on Windows")
LARGE = bytes(range(256)) * 4096
TEXT = b"0123456789"
WRITTEN = 1_600_000_000
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture
def site(tmp_path):
    """A directory to be served, with a secret beside it."""
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "site-2").mkdir()
    (tmp_path / "site-2" / "secret.txt").write_bytes(b"secret")
    site = tmp_path / "site"
    (site / "folder" / "inner").mkdir(parents=True)
    (site / "with index").mkdir()
    (site / "with index" / "index.html").write_bytes(b"<p>index")
    (site / "text.txt").write_bytes(TEXT)
    (site / "empty").write_bytes(b"")
    (site / "large.bin").write_bytes(LARGE)
    os.utime(site / "text.txt", (WRITTEN, WRITTEN))
    return site


@pytest.fixture
def connect(serve_http, site):
    """A function that connects a Wire to the site, served with the class attributes it is given."""

    def connect(**attributes):
        return serve_http(type("handler", (file_handler,), {"directory": site} | attributes))()

    return connect


@pytest.fixture
def get(connect):
    """A function that returns the response to one request."""

    def get(path, *fields, method="GET", **attributes):
        wire = connect(**attributes)
        wire.send(request(path, *fields, method=method))
        response = wire.response(method)
        if response.closes:
            wire.ended()
        else:
            wire.nothing_comes()
        wire.sock.close()
        return response

    return get


@pytest.fixture
def link(site):
    """A function that makes a symbolic link in the site."""

    def link(name, target):
        try:
            os.symlink(target, site / name, target_is_directory=os.path.isdir(site / target))
        except OSError as error:
            pytest.skip(f"no symbolic links here: {error}")

    return link


def request(path, *fields, method="GET"):
    lines = [f"{method} {path} HTTP/1.1", "Host: a", *(f"{name}: {value}" for name, value in fields)]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def names_in(page):
    """Return the links of a listing, in order."""
    return [html.unescape(each) for each in re.findall('<a href="([^"]*)"', page.decode())]


# Files


def test_a_file_with_all_that_is_said_of_it(get):
    response = get("/text.txt?query=ignored")
    assert (response.status, response.body) == (200, TEXT)
    assert response.get("content-type") == b"text/plain; charset=utf-8"
    assert response.get("last-modified") == formatdate(WRITTEN, usegmt=True).encode()
    assert re.fullmatch(rb'"[0-9a-f-]+"', response.get("etag"))
    assert response.get("accept-ranges") == b"bytes"
    assert response.get("x-content-type-options") == b"nosniff"


@pytest.mark.parametrize(
    ("size", "path"),
    [(0, "/sized"), (1, "/sized"), (1 << 15, "/sized"), ((1 << 15) + 1, "/sized"), (3 << 20, "/sized")],
)
def test_files_of_any_size_arrive_whole_and_the_connection_stays(site, connect, size, path):
    content = os.urandom(size)
    (site / "sized").write_bytes(content)
    wire = connect()
    for _ in range(3):
        wire.send(request(path))
        response = wire.response()
        assert response.framing == b"%d" % size
        assert response.body == content
    wire.send(request(path) * 3)
    assert [response.body == content for response in wire.responses("GET", "GET", "GET")] == [True] * 3


@pytest.mark.parametrize(
    "path", ["/text.txt", "/large.bin", "/empty", "/folder/", "/folder", "/nothing", "/with%20index/"]
)
def test_head_has_the_fields_of_get(get, path):
    by_get, by_head = get(path), get(path, method="HEAD")
    assert by_head.status == by_get.status
    assert by_head.body == b""
    assert [field for field in by_head.fields if field[0] != b"date"] == [
        field for field in by_get.fields if field[0] != b"date"
    ]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(get, site, method):
    response = get("/text.txt", ("Content-Length", 0), method=method)
    assert response.status == 405
    assert response.get("allow") == b"GET, HEAD, OPTIONS"
    assert f"This address does not take {method}.".encode() in response.body
    assert (site / "text.txt").read_bytes() == TEXT


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.html", b"text/html"),
        ("PAGE.HTML", b"text/html"),
        ("style.css", b"text/css; charset=utf-8"),
        ("code.js", b"text/javascript; charset=utf-8"),
        ("data.json", b"application/json"),
        ("image.svg", b"image/svg+xml"),
        ("image.png", b"image/png"),
        ("module.wasm", b"application/wasm"),
        ("archive.tar.gz", b"application/gzip"),
        ("archive.tgz", b"application/gzip"),
        ("page.html.xz", b"application/x-xz"),
        ("unknown.suffix-of-nobody", b"application/octet-stream"),
        ("README", b"application/octet-stream"),
        ("feed.xml", b"application/xml"),
        ("page.xhtml", b"application/xhtml+xml"),
        ("sound.ogg", b"audio/ogg"),
        ("font.ttf", b"font/ttf"),
        ("told.shtml", b"text/html; charset=koi8-r"),
        ("own.thing", b"application/thing"),
    ],
)
def test_types(get, site, name, kind):
    (site / name).write_bytes(b"<html>")
    told = {".thing": "application/thing", ".shtml": "text/html; charset=koi8-r"}
    assert get(f"/{name}", content_types=told).get("content-type") == kind


def test_a_file_that_changes_while_it_is_sent_ends_the_connection(site, connect):
    size = 64 << 20  # more than can be on its way
    with open(site / "huge", "wb") as file:
        file.truncate(size)
    wire = connect()
    wire.send(request("/huge"))
    with open(site / "huge", "r+b") as file:
        file.truncate(10)
    with pytest.raises(AssertionError, match="has ended"):
        wire.response()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to count open descriptors")
def test_no_descriptor_stays_open(site, connect, http_map, link):
    link("out", "../secret.txt")
    with open(site / "huge", "wb") as file:
        file.truncate(64 << 20)

    def opened():
        paths = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
        return [path for path in paths if os.path.exists(path) and os.path.realpath(path).startswith(str(site.parent))]

    wire = connect()
    for path in ("/text.txt", "/large.bin", "/folder/", "/out", "/nothing", "/empty"):
        wire.send(request(path))
        wire.response()
        wire.send(request(path, ("If-None-Match", "*"), ("Range", "bytes=999999999-")))
        wire.response()
        wire.send(request(path, ("Range", "bytes=999999999-")))
        wire.response()
        assert opened() == []
    wire.send(request("/huge"))
    assert len(opened()) == 1
    wire.sock.close()
    deadline = time.monotonic() + 20
    while opened():
        assert time.monotonic() < deadline
        loop(0.01, map=http_map, count=1)


def test_a_file_that_only_grows_while_it_is_sent_is_sent_as_promised(site, connect):
    """A busy log can be fetched."""
    size = 64 << 20
    with open(site / "busy.log", "wb") as file:
        file.truncate(size)
    wire = connect()
    wire.send(request("/busy.log"))
    with open(site / "busy.log", "ab") as file:
        file.write(b"one more line")
    response = wire.response()
    assert response.framing == b"%d" % size
    assert len(response.body) == size
    wire.nothing_comes()


def test_the_log_names_a_file_that_was_cut(site, connect, caplog):
    with open(site / "huge", "wb") as file:
        file.truncate(64 << 20)
    wire = connect()
    wire.send(request("/huge"))
    os.truncate(site / "huge", 10)
    with pytest.raises(AssertionError, match="has ended"):
        wire.response()
    assert str(site / "huge") in caplog.text


# Compressed files beside others


@pytest.fixture
def compressed(site):
    """A page with compressed ones beside it, each with its own content."""
    for suffix in ("", ".gz", ".br", ".zst"):
        (site / f"page.html{suffix}").write_bytes(b"0123456789" + suffix.encode())
    return site


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br;q=0.5", "gzip"),
        ("gzip;q=0, br", "br"),
        ("*;q=0", None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_compressed_file_is_sent_to_those_that_take_it(get, compressed, accepted, coding, method):
    fields = [] if accepted is None else [("Accept-Encoding", accepted)]
    response = get("/page.html", *fields, method=method)
    suffix = {None: b"", "gzip": b".gz", "br": b".br", "zstd": b".zst"}[coding]
    assert response.status == 200
    assert response.get("content-encoding") == (coding.encode() if coding else None)
    assert response.get("content-type") == b"text/html"
    assert response.get("vary") == b"Accept-Encoding"
    assert response.framing == b"%d" % (10 + len(suffix))
    assert response.body == (b"0123456789" + suffix if method == "GET" else b"")


def test_each_coding_has_a_validator_of_its_own(get, compressed):
    for suffix in ("", ".gz", ".br", ".zst"):
        (compressed / f"page.html{suffix}").write_bytes(b"same size")
        os.utime(compressed / f"page.html{suffix}", (WRITTEN, WRITTEN))
    tags = {}
    for coding in ("identity", "gzip", "br", "zstd"):
        tags[coding] = get("/page.html", ("Accept-Encoding", coding)).get("etag").decode()
    assert len(set(tags.values())) == 4
    for coding, tag in tags.items():
        for other, etag in tags.items():
            response = get("/page.html", ("Accept-Encoding", coding), ("If-None-Match", etag))
            assert response.status == (304 if coding == other else 200)
            assert response.get("vary") == b"Accept-Encoding"
            assert response.get("etag").decode() == tag


@pytest.mark.parametrize(
    ("status", "field"),
    [
        (200, ("X-A", "1")),
        (206, ("Range", "bytes=0-0")),
        (304, ("If-None-Match", "*")),
        (412, ("If-Match", '"other"')),
        (416, ("Range", "bytes=99-")),
    ],
)
@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_each_response_that_the_coding_decides_says_so(get, compressed, status, field, accepted):
    response = get("/page.html", ("Accept-Encoding", accepted), field)
    assert (response.status, response.get("vary")) == (status, b"Accept-Encoding")
    assert get("/large.bin", ("Accept-Encoding", accepted), field).get("vary") is None


def varying(response):
    """Return the names in all Vary fields of *response*."""
    return {value for name, value in response.fields if name == b"vary"}


@pytest.mark.parametrize("accepted", ["text/html", "application/json"])
def test_each_response_that_the_type_decides_says_so(get, site, accepted):
    def ask(path, *fields, **settings):
        return get(path, ("Accept", accepted), *fields, single_page=True, **settings)

    (site / "index.html").write_bytes(b"the page")
    (site / "index.html.gz").write_bytes(b"the page")
    is_page = accepted == "text/html"
    response = ask("/users")
    page = 200, {b"Accept", b"Accept-Encoding"}
    assert (response.status, varying(response)) == (page if is_page else (404, {b"Accept"}))
    response = ask("/users", ("Range", "bytes=99-"))
    assert (response.status, b"Accept" in varying(response)) == (416 if is_page else 404, True)
    assert b"Accept" in varying(ask("/users", not_found_page=site / "text.txt"))
    for path in "/missing.js", "/text.txt", "/folder/", "/folder":
        assert b"Accept" not in varying(ask(path))
    os.remove(site / "index.html")
    response = ask("/users")
    assert (response.status, varying(response)) == (404, {b"Accept"})


def test_a_response_does_not_say_what_decided_the_one_before_it(connect, compressed):
    wire = connect(single_page=True)
    paths = ["/page.html", "/text.txt", "/users", "/folder/", "/page.html"]
    wire.send(b"".join(map(request, paths)))
    assert [varying(wire.response()) for _ in paths] == [
        {b"Accept-Encoding"},
        set(),
        {b"Accept"},
        set(),
        {b"Accept-Encoding"},
    ]


def test_ranges_are_of_the_compressed_file(get, compressed):
    response = get("/page.html", ("Accept-Encoding", "gzip"), ("Range", "bytes=8-"))
    assert (response.status, response.body) == (206, b"89.gz")
    assert response.get("content-range") == b"bytes 8-12/13"
    assert response.get("content-encoding") == b"gzip"


def test_a_compressed_index_page_stands_for_its_folder(get, site):
    (site / "with index" / "index.html.gz").write_bytes(b"gz")
    response = get("/with%20index/", ("Accept-Encoding", "gzip"))
    assert (response.body, response.get("content-encoding")) == (b"gz", b"gzip")


def test_a_compressed_file_alone_is_a_file_like_others(get, site):
    (site / "alone.js.gz").write_bytes(b"gz")
    assert get("/alone.js", ("Accept-Encoding", "gzip")).status == 404
    response = get("/alone.js.gz", ("Accept-Encoding", "gzip"))
    assert (response.get("content-type"), response.get("content-encoding")) == (b"application/gzip", None)
    assert get("/text.txt", ("Accept-Encoding", "gzip")).get("vary") is None


def test_a_compressed_file_that_may_not_be_served_is_passed_over(get, site, link):
    link("text.txt.gz", "../secret.txt")
    (site / "text.txt.br").mkdir()
    response = get("/text.txt", ("Accept-Encoding", "gzip, br"))
    assert (response.status, response.body, response.get("content-encoding")) == (200, TEXT, None)


def test_svgz_is_an_image_that_is_compressed(get, site):
    (site / "image.svgz").write_bytes(b"gz")
    response = get("/image.svgz")
    assert (response.get("content-type"), response.get("content-encoding")) == (b"image/svg+xml", b"gzip")


# Options


def test_names_that_begin_with_a_dot_are_neither_served_nor_listed(get, site):
    hidden = ["/.env", "/.git/", "/.git", "/.git/config", "/folder/.htaccess", "/%2eenv", "/.well-known/.secret"]
    for path in (".git", ".well-known"):
        (site / path).mkdir()
    for path in (".env", ".git/config", "folder/.htaccess", ".well-known/acme", ".well-known/.secret"):
        (site / path).write_bytes(b"dot")
    assert [get(path).status for path in hidden] == [404] * len(hidden)
    assert get("/.well-known/acme").body == b"dot"
    assert [name for name in names_in(get("/").body) if name.startswith(".")] == [".well-known/"]
    assert names_in(get("/.well-known/").body) == ["../", "acme"]
    shown = [get(path, hidden_files=True).status for path in hidden]
    assert shown == [200, 200, 301, 200, 200, 200, 200]
    listed = names_in(get("/", hidden_files=True).body)
    assert [name for name in listed if name.startswith(".")] == [".git/", ".well-known/", ".env"]


HTML = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/users/7", [HTML], 200),
        ("/users/", [HTML], 200),
        ("/users?id=1.5", [HTML], 200),
        ("/a.b/users", [HTML], 200),
        ("/users", [], 404),
        ("/users", [("Accept", "*/*")], 404),
        ("/users", [("Accept", "application/json")], 404),
        ("/users", [("Accept", "text/html;q=0")], 404),
        ("/missing.js", [HTML], 404),
        ("/text.txt/", [HTML], 404),
        ("/../users", [HTML], 404),
        ("/.git/config", [HTML], 404),
        ("/.well-known/users", [HTML], 404),
    ],
)
def test_a_single_page_stands_for_pages_that_are_not_there(get, site, path, fields, status):
    (site / "index.html").write_bytes(b"the page")
    response = get(path, *fields, single_page=True)
    assert response.status == status
    assert (response.body == b"the page") == (status == 200)
    if status == 200:
        assert response.get("content-type") == b"text/html"
        assert response.get("vary") == b"Accept"
    assert get(path, *fields).status == 404


def test_a_single_page_leaves_files_and_folders_alone(get, site):
    (site / "index.html").write_bytes(b"the page")
    assert get("/text.txt", HTML, single_page=True).body == TEXT
    assert get("/folder", HTML, single_page=True).status == 301
    assert get("/folder/", HTML, single_page=True).status == 200
    os.remove(site / "index.html")
    assert get("/users", HTML, single_page=True).status == 404


def test_a_page_of_ones_own_for_missing_files(get, site, caplog):
    (site / "404.xhtml").write_bytes(b"<p>gone fishing")
    for method, body in (("GET", b"<p>gone fishing"), ("HEAD", b"")):
        response = get("/nothing", not_found_page=site / "404.xhtml", method=method)
        assert (response.status, response.body, response.framing) == (404, body, b"15")
        assert response.get("content-type") == b"application/xhtml+xml"
    assert get("/folder/", not_found_page=site / "404.xhtml", list_directories=False).body != b"<p>gone fishing"
    assert get("/text.txt", not_found_page=site / "404.xhtml").body == TEXT
    response = get("/nothing", not_found_page=site / "missing.html")
    assert (response.status, response.get("content-type")) == (404, b"text/html; charset=utf-8")
    assert "missing.html" in caplog.text


@pytest.mark.parametrize(
    ("status", "path", "method", "attributes"),
    [
        (301, "/folder", "GET", {}),
        (401, "/text.txt", "GET", {"credentials": ("me", "secret")}),
        (404, "/nothing", "GET", {}),
        (405, "/text.txt", "POST", {}),
    ],
)
def test_error_pages_of_ones_own_have_a_type_of_ones_own(get, status, path, method, attributes):
    def error_page(handler, code, message=None, explain=None):
        return f"[{code}]"

    attributes |= {"error_page": error_page, "error_content_type": "application/json"}
    response = get(path, method=method, **attributes)
    assert (response.status, response.body) == (status, b"[%d]" % status)
    assert response.get("content-type") == b"application/json"


@pytest.mark.parametrize("path", ["/text.txt", "/folder/", "/folder", "/nothing", "/large.bin", "/empty"])
def test_fields_of_ones_own_are_in_each_response(get, path):
    own = (("Cache-Control", "no-store"), ("X-A", "1"), ("X-A", "2"), ("x-content-type-options", "own"))
    response = get(path, extra_headers=own)
    assert [value for name, value in response.fields if name == b"x-a"] == [b"1", b"2"]
    assert response.get("cache-control") == b"no-store"
    assert [value for name, value in response.fields if name == b"x-content-type-options"] == [b"own"]
    etag = get("/text.txt").get("etag").decode()
    assert get("/text.txt", ("If-None-Match", etag), extra_headers=own).get("cache-control") == b"no-store"


def test_fields_of_ones_own_replace_others_but_vary(get, compressed):
    own = (("Vary", "Cookie"), ("Content-Type", "text/x-own"), ("Server", "own"))
    response = get("/page.html", extra_headers=own)
    assert [value for name, value in response.fields if name == b"content-type"] == [b"text/x-own"]
    assert [value for name, value in response.fields if name == b"server"] == [b"own"]
    assert sorted(value for name, value in response.fields if name == b"vary") == [b"Accept-Encoding", b"Cookie"]


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (None, 401),
        ("", 401),
        (basic("me:pass:wörd"), 200),
        (basic("me:pass:wörd").replace("Basic", "bASIC"), 200),
        (basic("me:pass:wörd").replace("Basic", "Bearer"), 401),
        (basic("me:"), 401),
        (basic("me:pass"), 401),
        (basic("me:pass:wörd2"), 401),
        (basic("ME:pass:wörd"), 401),
        (basic("pass:wörd"), 401),
        ("Basic", 401),
        ("Basic !!!!", 401),
        ("Basic bWU", 401),
        ("me:pass:w", 401),
    ],
)
def test_credentials(connect, caplog, value, status):
    wire = connect(credentials=("me", "pass:wörd"))
    fields = [] if value is None else [("Authorization", value)]
    for method in ("GET", "HEAD", "OPTIONS"):
        wire.send(request("/text.txt", *fields, method=method))
        response = wire.response(method)
        assert response.status == status
        assert not response.closes
        if status == 401:
            assert response.get("www-authenticate").startswith(b"Basic realm=")
            assert TEXT not in response.body
    assert "wörd" not in caplog.text
    assert base64.b64encode("me:pass:wörd".encode()).decode() not in caplog.text


def test_credentials_of_a_user_whose_name_is_no_utf_8(get):
    user = os.fsdecode(b"\xff")
    right = ("Authorization", "Basic " + base64.b64encode(b"\xff:pass").decode())
    assert get("/text.txt", right, credentials=(user, "pass")).status == 200
    assert get("/text.txt", ("Authorization", basic("ÿ:pass")), credentials=(user, "pass")).status == 401


# Folders


def test_a_folder_without_its_slash_is_redirected_to_it(get):
    response = get("/folder?a=1&b=/%2f")
    assert response.status == 301
    assert response.get("location") == b"/folder/?a=1&b=/%2f"


@pytest.mark.parametrize(
    "path", ["//evil.com", "//evil.com/%2e%2e/evil.com", "///evil.com", "/.//evil.com", "//./evil.com"]
)
def test_redirects_stay_here(get, site, path):
    (site / "evil.com").mkdir()
    location = get(path).get("location")
    assert urljoin("http://here/", location.decode()) == "http://here/evil.com/"


@posix
def test_redirects_of_names_that_mean_something_elsewhere_stay_here(get, site):
    for name in ("\\evil.com", "\\\\evil.com", "http:", "a\r\nX: y", "@evil.com", "?#"):
        (site / name).mkdir()
        response = get("/" + quote(name, safe=""))
        assert response.get("location").decode() == f"/{quote(name, safe='')}/"
        assert response.get("x") is None


def test_the_index_page_stands_for_its_folder(get, site):
    response = get("/with%20index/")
    assert (response.status, response.body) == (200, b"<p>index")
    assert get("/with%20index/", ("If-None-Match", response.get("etag").decode())).status == 304
    (site / "folder" / "index.htm").write_bytes(b"other")
    assert get("/folder/").body == b"other"
    (site / "folder" / "own").write_bytes(b"own")
    assert get("/folder/", index_pages=("own",)).body == b"own"


def test_a_folder_named_like_an_index_page_is_none(get, site):
    (site / "folder" / "index.html").mkdir()
    assert names_in(get("/folder/").body) == ["../", "index.html/", "inner/"]


def test_a_listing(get, site):
    for name in ("b", "A", "c & d.txt", "50%.txt", "ünï☃", "#hash"):
        (site / "folder" / name).write_bytes(b"x" * 1234)
    response = get("/folder/")
    page = response.body.decode()
    assert response.get("content-type") == b"text/html; charset=utf-8"
    assert b"default-src 'none'" in response.get("content-security-policy")
    assert names_in(response.body) == [
        *("../", "inner/", "%23hash", "50%25.txt", "A", "b", "c%20%26%20d.txt", "%C3%BCn%C3%AF%E2%98%83")
    ]
    assert "c &amp; d.txt" in page
    assert "ünï☃" in page
    assert "1.2 KiB" in page
    assert time.strftime("%Y-%m-%d") in page or time.strftime("%Y-%m-%d", time.localtime(time.time() - 60)) in page
    for link in names_in(response.body):
        assert get(urljoin("/folder/", link)).status == 200


@posix
def test_names_that_are_no_text_are_listed_and_found(get, site):
    names = [b"latin-\xe9", b"line\nend", b"turn\xe2\x80\xaeed", b"a:b", b"back\\slash", b'"quoted"', b"\x01"]
    try:
        for name in names:
            (site / "folder" / os.fsdecode(name)).write_bytes(name)
    except (OSError, ValueError) as error:
        pytest.skip(f"no such names here: {error}")
    response = get("/folder/")
    response.body.decode()
    links = names_in(response.body)[2:]
    assert len(links) == len(names)
    assert {get(f"/folder/{link}").body for link in links} == set(names)
    assert not re.search("[\0-\x09\x0b-\x1f\x80-\x9f\u202e]", response.body.decode())


def test_a_listing_has_an_end(get, site):
    for number in range(12):
        (site / "folder" / str(number)).touch()
    page = get("/folder/", max_entries=10).body
    assert len(names_in(page)) == 11
    assert b"There is more than the 10" in page
    assert b"There is more" not in get("/folder/", max_entries=13).body
    assert b"nothing in this folder" in get("/folder/inner/").body


def test_names_are_escaped():
    page = listing_page(["<u>"], [Entry("<i>'\"&amp;", True, 0, 0.0)]).decode()
    assert "<title>Index of /&lt;u&gt;/</title>" in page
    assert ">&lt;i&gt;&#x27;&quot;&amp;amp;<" in page
    assert "<i>" not in page
    assert "<u>" not in page


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (1023 << 10, "1.0 MiB"),
        (10**18, "888 PiB"),
    ],
)
def test_sizes_are_told_in_units(size, shown):
    assert f">{shown}<" in listing_page([], [Entry("name", False, size, 0.0)]).decode()


@pytest.mark.parametrize("seconds", [1e30, float("inf"), float("nan"), -1e30])
def test_times_that_cannot_be_told_are_left_out(seconds):
    assert "name" in listing_page([], [Entry("name", False, 1, seconds)]).decode()


def test_folders_may_be_kept_from_being_listed(get):
    assert get("/folder/", list_directories=False).status == 403
    assert get("/with%20index/", list_directories=False).status == 200


# Never outside


ATTACKS = [
    "/..",
    "/../",
    "/../secret.txt",
    "/folder/../../secret.txt",
    "/%2e%2e/secret.txt",
    "/%2E%2e/secret.txt",
    "/.%2e/secret.txt",
    "/folder/%2e%2e/%2e%2e/secret.txt",
    "/..%2fsecret.txt",
    "/..%2Fsecret.txt",
    "/%2e%2e%2fsecret.txt",
    "/folder%2f..%2f..%2fsecret.txt",
    "/..%5csecret.txt",
    "/..%5Csecret.txt",
    "/%5c..%5csecret.txt",
    "/..\\secret.txt",
    "/\\..\\secret.txt",
    "/%252e%252e/secret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/%c0%af../secret.txt",
    "/..;/secret.txt",
    "/../site-2/secret.txt",
    "//../secret.txt",
    "/./../secret.txt",
    "http://a/../secret.txt",
    "http://a/%2e%2e/secret.txt",
    "/{tmp}/secret.txt",
    "//{tmp}/secret.txt",
    "/%2f{tmp}/secret.txt",
    "/C:/Windows/win.ini",
    "/C:secret.txt",
    "/file:///{tmp}/secret.txt",
    "/~root/.profile",
    "/text.txt/",
    "/text.txt/.",
    "/text.txt/../../secret.txt",
    "/text.txt%2f",
    "/folder/text.txt",
    "/" + "a" * 5000,
    "/" + "a/" * 3000,
    "/text.txt%20" * 100,
]
MALFORMED = ["/%", "/%2", "/%zz", "/text%.txt", "/%00", "/text.txt%00", "/text.txt%00.html", "/%u002e", "/%+1", "/% 1"]


@pytest.mark.parametrize("path", ATTACKS)
@pytest.mark.parametrize("symlinks", ["within", "follow", "refuse"])
def test_no_path_leads_outside(get, tmp_path, path, symlinks):
    response = get(path.replace("/{tmp}", str(tmp_path).replace("\\", "/")), symlinks=symlinks)
    assert response.status == 404
    assert b"secret" not in response.body


@pytest.mark.parametrize("path", MALFORMED)
def test_malformed_paths_are_bad_requests(get, path):
    response = get(path)
    assert response.status == 400
    assert response.closes


@pytest.mark.parametrize(
    "path", ["/folder/../text.txt", "/./text.txt", "//text.txt", "/%74ext.txt", "/%2e/text.txt", "http://a/text.txt"]
)
def test_other_ways_to_write_a_path_lead_to_the_same(get, path):
    assert get(path).body == TEXT


@pytest.mark.parametrize(
    "name",
    [
        *("C:", "c:x", "text.txt::$DATA", "a\\b", "..\\x", "x.", "x ", "a*b", "a?b", 'a"b', "a<b", "a|b", "\x01"),
        *("NUL", "con", "Aux.txt", "com1", "LPT9.log", "COM²", "nul .txt", "CONIN$"),
    ],
)
def test_names_that_mean_more_on_windows_mean_nothing_there(name):
    with pytest.raises(HTTPError) as caught:
        segments_of("/folder/" + quote(name, safe=""), windows=True)
    assert caught.value.status == 404


@pytest.mark.parametrize("name", ["console", "com", "com10", "null.txt", "a.b", ".hidden", "nulls", "lpt"])
def test_usual_names_are_names_on_windows(name):
    assert segments_of(f"/folder/{name}", windows=True) == (["folder", name], False)


def test_symbolic_links_within(get, site, link):
    link("to-text", "text.txt")
    link("to-folder", "folder")
    link("to-secret", "../secret.txt")
    link("to-parent", "..")
    link("to-sibling", "../site-2")
    link("to-absolute", str(site / "text.txt"))
    link("to-nothing", "nothing")
    link("to-itself", "to-itself")
    link("via", "to-parent/secret.txt")
    (site / "folder" / "f").write_bytes(b"f")
    inside = ["to-absolute", "to-text", "to-folder/f"]
    outside = [
        "to-secret",
        "to-parent/",
        "to-parent",
        "to-parent/secret.txt",
        "to-sibling/secret.txt",
        "via",
        "to-sibling",
    ]
    nowhere = ["to-nothing", "to-itself", "to-itself/x"]
    assert [get(f"/{name}").status for name in inside + outside + nowhere] == [200] * 3 + [404] * 10
    assert [get(f"/{name}", symlinks="follow").status for name in inside + outside + nowhere] == (
        [200] * 5 + [301, 200, 200, 200, 301] + [404] * 3
    )
    assert [get(f"/{name}", symlinks="refuse").status for name in inside + outside + nowhere] == [404] * 13
    assert get("/text.txt", symlinks="refuse").status == get("/folder/", symlinks="refuse").status == 200

    def linked(policy):
        return [name for name in names_in(get("/", symlinks=policy).body) if name.startswith(("to", "via"))]

    assert linked("within") == ["to-folder/", "to-absolute", "to-text"]
    assert linked("follow") == ["to-folder/", "to-parent/", "to-sibling/", "to-absolute", "to-secret", "to-text", "via"]
    assert linked("refuse") == []


def test_the_same_is_so_without_proc(get, site, link):
    link("to-secret", "../secret.txt")
    link("to-text", "text.txt")
    asked = os.readlink

    def readlink(path, **options):
        if str(path).startswith("/proc/"):
            raise FileNotFoundError(errno.ENOENT, "there is no /proc")
        return asked(path, **options)

    with patch("os.readlink", readlink):
        assert [get(f"/{name}").status for name in ("text.txt", "to-text", "to-secret", "folder/")] == [
            200,
            200,
            404,
            200,
        ]
        assert [get(f"/{name}", symlinks="refuse").status for name in ("text.txt", "to-text")] == [200, 404]


def test_the_directory_itself_may_be_a_link_and_be_replaced(get, site, link):
    link("current", "folder")
    (site / "folder" / "f").write_bytes(b"old")
    (site / "folder-2").mkdir()
    (site / "folder-2" / "f").write_bytes(b"new")
    assert get("/f", directory=site / "current").body == b"old"
    os.remove(site / "current") if os.name == "posix" else os.rmdir(site / "current")
    link("current", "folder-2")
    assert get("/f", directory=site / "current").body == b"new"


def test_a_relative_directory(get, site, monkeypatch):
    monkeypatch.chdir(site)
    assert get("/text.txt", directory="").body == get("/text.txt", directory=".").body == TEXT
    monkeypatch.chdir(site / "with index")
    assert get("/index.html", directory=".").body == b"<p>index"


@posix
def test_the_root_of_the_system_can_be_served(get, site):
    assert get(quote(str(site / "text.txt")), directory="/").body == TEXT


def test_an_unknown_policy_is_an_error():
    with pytest.raises(ValueError, match="within, follow, refuse"):
        DocumentRoot(".", "maybe")


@posix
def test_only_files_are_served(get, site):
    os.mkfifo(site / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            listening.bind(os.path.relpath(site / "socket"))
        except OSError as error:
            pytest.skip(f"the path is too long for a socket: {error}")
        assert get("/fifo").status == get("/socket").status == get("/fifo/").status == 404
        assert not {"fifo", "socket"} & set(names_in(get("/").body))


@posix
def test_a_fifo_that_takes_the_place_of_a_file_hangs_no_client(site):
    tree = DocumentRoot(site)
    os.mkfifo(site / "fifo")
    with pytest.raises(HTTPError) as caught:
        tree.open_file(["fifo"])
    assert caught.value.status == 404


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="root may read every file, and Windows has no such permissions"
)
def test_a_file_without_read_permission_is_forbidden(get, site):
    (site / "text.txt").chmod(0)
    (site / "folder").chmod(0)
    assert get("/text.txt").status == get("/folder/").status == get("/folder/inner/").status == 403
    (site / "folder").chmod(0o700)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PermissionError(errno.EACCES, "no"), 403),
        (FileNotFoundError(errno.ENOENT, "vanished"), 404),
        (OSError(errno.EMFILE, "too many"), 503),
        (OSError(errno.EIO, "broken"), 500),
    ],
)
def test_files_that_cannot_be_opened_any_more(get, error, status):
    opens = os.open

    def open_with_error(path, *args, **options):
        if str(path).endswith("text.txt"):
            raise error
        return opens(path, *args, **options)

    with patch("os.open", open_with_error):
        assert get("/text.txt").status == status


# Conditions

DATE = formatdate(WRITTEN, usegmt=True)
BEFORE, AFTER = formatdate(WRITTEN - 1, usegmt=True), formatdate(WRITTEN + 1, usegmt=True)
OLD_FORM = "Sunday, 13-Sep-20 12:26:40 GMT"
C_FORM = "Sun Sep 13 12:26:40 2020"


@pytest.fixture
def ask(get):
    """A function that asks for the text; "ETAG" in a field becomes its validator."""
    etag = get("/text.txt").get("etag").decode()

    def ask(*fields, method="GET", path="/text.txt"):
        return get(path, *((name, value.replace("ETAG", etag)) for name, value in fields), method=method)

    return ask


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (304, [("If-None-Match", "ETAG")]),
        (304, [("If-None-Match", "W/ETAG")]),
        (304, [("If-None-Match", '"a", W/"b,c", ETAG')]),
        (304, [("If-None-Match", '"a"'), ("If-None-Match", "ETAG")]),
        (304, [("If-None-Match", "*")]),
        (200, [("If-None-Match", '"other"')]),
        (200, [("If-None-Match", "malformed")]),
        (200, [("If-None-Match", '"other"'), ("If-Modified-Since", DATE)]),
        (304, [("If-None-Match", "ETAG"), ("If-Modified-Since", BEFORE)]),
        (304, [("If-Modified-Since", DATE)]),
        (304, [("If-Modified-Since", AFTER)]),
        (304, [("If-Modified-Since", OLD_FORM)]),
        (304, [("If-Modified-Since", C_FORM)]),
        (200, [("If-Modified-Since", BEFORE)]),
        (200, [("If-Modified-Since", "Tue, 01 Jan 2999 00:00:00 GMT")]),
        (200, [("If-Modified-Since", "yesterday")]),
        (200, [("If-Modified-Since", DATE.replace("GMT", "+0000"))]),
        (200, [("If-Modified-Since", DATE), ("If-Modified-Since", DATE)]),
        (200, [("If-Match", "ETAG")]),
        (200, [("If-Match", '"a", ETAG')]),
        (200, [("If-Match", "*")]),
        (412, [("If-Match", '"other"')]),
        (412, [("If-Match", "W/ETAG")]),
        (412, [("If-Match", "malformed")]),
        (200, [("If-Match", "ETAG"), ("If-Unmodified-Since", BEFORE)]),
        (412, [("If-Match", '"other"'), ("If-Unmodified-Since", AFTER)]),
        (412, [("If-Match", '"other"'), ("If-None-Match", "ETAG")]),
        (304, [("If-Match", "ETAG"), ("If-None-Match", "ETAG")]),
        (200, [("If-Unmodified-Since", DATE)]),
        (200, [("If-Unmodified-Since", AFTER)]),
        (412, [("If-Unmodified-Since", BEFORE)]),
        (200, [("If-Unmodified-Since", "never")]),
        (304, [("If-Unmodified-Since", DATE), ("If-Modified-Since", DATE)]),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(ask, status, fields, method):
    response = ask(*fields, method=method)
    assert response.status == status
    if status == 304:
        assert response.body == b""
        assert response.get("etag")
        assert response.get("last-modified")
        assert response.framing is None


def test_conditions_do_not_matter_for_missing_files(ask):
    assert ask(("If-None-Match", "*"), path="/nothing").status == 404
    assert ask(("If-Match", '"a"'), path="/nothing").status == 404
    assert ask(("Range", "bytes=99999-"), path="/nothing").status == 404


def test_the_validator_changes_with_the_file(get, site):
    seen = [get("/text.txt").get("etag")]
    os.utime(site / "text.txt", ns=(WRITTEN * 10**9, WRITTEN * 10**9 + 1000))
    seen.append(get("/text.txt").get("etag"))
    (site / "text.txt").write_bytes(b"longer than before")
    os.utime(site / "text.txt", ns=(WRITTEN * 10**9, WRITTEN * 10**9 + 1000))
    seen.append(get("/text.txt").get("etag"))
    assert len(set(seen)) == 3


def test_the_validator_is_the_same_for_a_copy(get, site):
    """Servers behind one address have copies of the same files, which differ in their inodes."""
    seen = get("/text.txt").get("etag")
    shutil.copy2(site / "text.txt", site / "copy")
    os.replace(site / "copy", site / "text.txt")
    assert get("/text.txt").get("etag") == seen


def test_nothing_was_modified_in_the_future(get, site):
    os.utime(site / "text.txt", (2**32, 2**32))
    response = get("/text.txt")
    assert parse_date(response.get("last-modified").decode()) <= parse_date(response.get("date").decode())
    assert get("/text.txt", ("If-Modified-Since", formatdate(time.time() - 100, usegmt=True))).status == 200


# Ranges


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 4)),
        ("BYTES=2-5", (2, 4)),
        ("bytes= 2-5 ", (2, 4)),
        ("bytes=5-", (5, 5)),
        ("bytes=9-9", (9, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=0-100", (0, 10)),
        ("bytes=8-99999999999999999999999999999999", (8, 2)),
        (f"bytes=00000000000000000000000{2}-5", (2, 4)),
        ("bytes=-3", (7, 3)),
        ("bytes=-10", (0, 10)),
        ("bytes=-100", (0, 10)),
        (f"bytes=-{'9' * 5000}", (0, 10)),
        ("bytes=10-", None),
        ("bytes=10-20", None),
        ("bytes=99999999999999999999999999999999-", None),
        ("bytes=-0", None),
    ],
)
def test_a_range(ask, value, part):
    response = ask(("Range", value))
    if part is None:
        assert response.status == 416
        assert response.get("content-range") == b"bytes */10"
        return
    offset, count = part
    assert response.status == 206
    assert response.body == TEXT[offset : offset + count]
    assert response.get("content-range") == b"bytes %d-%d/10" % (offset, offset + count - 1)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=1--2",
            "bytes 0-1",
        ),
        *(
            "lines=0-1",
            "bytes=0x1-2",
            "bytes=1_0-",
            "bytes=0-1,3-4",
            "bytes=0-1, -1",
            "bytes=0-,0-,0-,0-",
            "bytes=1 -2",
        ),
        *("bytes=,", "bytes=99-,98-", "0-1", "bytes=1.5-2", "bytes:0-1", "bytes=²-"),
    ],
)
def test_a_range_field_that_is_no_single_range_gets_the_whole(connect, value):
    wire = connect()
    wire.send(request("/text.txt").replace(b"\r\n\r\n", b"\r\nRange: " + value.encode("latin-1") + b"\r\n\r\n"))
    response = wire.response()
    assert (response.status, response.body, response.get("content-range")) == (200, TEXT, None)


def test_ranges_of_nothing_and_for_head(get):
    assert get("/empty", ("Range", "bytes=0-")).status == 416
    assert get("/empty", ("Range", "bytes=-5")).status == 200
    response = get("/text.txt", ("Range", "bytes=2-5"), method="HEAD")
    assert (response.status, response.framing) == (200, b"10")


@pytest.mark.parametrize(("offset", "count"), [(0, 1), (1000, 5), (1, 100_000), (1_000_000, 48_576), (0, 1 << 20)])
def test_ranges_of_a_large_file(get, offset, count):
    response = get("/large.bin", ("Range", f"bytes={offset}-{offset + count - 1}"))
    assert response.status == 206
    assert response.body == LARGE[offset : offset + count]


@pytest.mark.parametrize(
    "date", ["Sat, 01 Jan 0000 00:00:00 GMT", "Sat Jan  1 00:00:00 0000", "Mon, 30 Feb 2015 00:00:00 GMT"]
)
def test_dates_that_no_calendar_has_are_ignored(ask, date):
    assert ask(("If-Modified-Since", date)).status == 200
    assert ask(("If-Unmodified-Since", date)).status == 200
    assert ask(("Range", "bytes=2-5"), ("If-Range", date)).status == 200


@pytest.mark.parametrize(
    ("status", "condition"),
    [
        (206, "ETAG"),
        (206, DATE),
        (206, C_FORM),
        (200, "W/ETAG"),
        (200, '"other"'),
        (200, AFTER),
        (200, BEFORE),
        (200, "*"),
        (200, "ETAG, ETAG"),
        (200, ""),
    ],
)
def test_if_range(ask, status, condition):
    response = ask(("Range", "bytes=2-5"), ("If-Range", condition))
    assert response.status == status
    assert response.body == (TEXT[2:6] if status == 206 else TEXT)


def test_a_date_is_too_weak_for_a_range_of_a_file_just_written(get, site):
    os.utime(site / "text.txt", (time.time() + 60,) * 2)
    date = get("/text.txt").get("last-modified").decode()
    # Within the second in which the date is the present, and after it, when the date is another.
    assert get("/text.txt", ("Range", "bytes=2-5"), ("If-Range", date)).status == 200


def test_preconditions_come_before_ranges(ask):
    assert ask(("Range", "bytes=2-5"), ("If-None-Match", "ETAG")).status == 304
    assert ask(("Range", "bytes=99-"), ("If-None-Match", "ETAG")).status == 304
    assert ask(("Range", "bytes=2-5"), ("If-Match", '"other"')).status == 412
    assert ask(("Range", "bytes=2-5"), ("If-Match", "ETAG")).status == 206


# Real clients


@pytest.fixture
def url(serve_http, site, http_map):
    """The address of the site, which another thread serves meanwhile."""
    wire = serve_http(type("handler", (file_handler,), {"directory": site, "keep_alive_timeout": 5}))()
    host, port = wire.sock.getpeername()
    over = threading.Event()
    serving = threading.Thread(target=lambda: [loop(0.05, map=http_map, count=1) for _ in iter(over.is_set, True)])
    serving.start()
    yield f"http://{host}:{port}"
    over.set()
    serving.join()


def test_http_client_reads_files(url, site):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    for path, body in [
        ("/text.txt", TEXT),
        ("/large.bin", LARGE),
        ("/empty", b""),
        ("/with%20index/", b"<p>index"),
    ] * 3:
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, body)
    connection.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_curl_resumes_and_revalidates(url, tmp_path):
    def curl(*arguments):
        command = ["curl", "-sS", "--noproxy", "*", "--max-time", "20", *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout

    assert curl(f"{url}/large.bin") == LARGE
    part, tag = tmp_path / "part", tmp_path / "tag"
    part.write_bytes(LARGE[:1000])
    curl("-C", "-", "-o", part, f"{url}/large.bin")
    assert part.read_bytes() == LARGE
    code = ("-o", os.devnull, "-w", "%{http_code}")
    curl("--etag-save", tag, *code, f"{url}/text.txt")
    assert curl("--etag-compare", tag, *code, f"{url}/text.txt") == b"304"
    assert curl("-L", *code, f"{url}/folder") == b"200"


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here")
@pytest.mark.skipif(sys.platform != "linux", reason="the options are for Chromium without a display on Linux")
def test_chromium_follows_a_listing(url, site, tmp_path):
    name = 'a "b" & <i>c #1?%41.txt'
    (site / "folder" / name).write_bytes(b"the content")

    def dump(address):
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        command = [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", address]
        return subprocess.run(command, capture_output=True, timeout=100, check=True).stdout.decode()

    folder = dump(f"{url}/folder")
    parent, inner, file = names_in(folder.encode())
    assert (parent, inner) == ("../", "inner/")
    assert 'a "b" &amp; &lt;i&gt;c #1?%41.txt</bdi>' in folder
    assert "the content" in dump(urljoin(f"{url}/folder/", file))
