"""``file_handler``: the files of a directory over HTTP, with types, validators, ranges and listings."""

import base64
import binascii
import contextlib
import hmac
import io
import os
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from ..producers import file_producer
from .dates import format_date
from .document_root import DocumentRoot, is_hidden, segments_of
from .errors import HTTPError
from .handler import http_request_handler
from .listing import listing_page
from .media_types import media_type
from .negotiation import preferred_coding, wants_html
from .pages import HTML, PAGE_FIELDS
from .preconditions import range_applies, status_for
from .ranges import wanted_part
from .response_head import pairs_of

__all__ = ["file_handler"]

_JOINED_MAX = 1 << 15  # bytes: a file up to that size is read at once, and sent together with the head
_NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
_KEEPS = (403, 404, 412, 416)  # statuses after which the connection stays open, as the request was well-formed
_CODINGS = {".zst": "zstd", ".br": "br", ".gz": "gzip"}  # content codings by suffix of the compressed file, best first

_Fields = list[tuple[str, str]]

_root_of = lru_cache(maxsize=64)(DocumentRoot)


class _Sent(NamedTuple):
    """An open file that was chosen for a response."""

    file: io.FileIO
    status: os.stat_result
    suffix: str  # of a compressed file, such as ".gz", else ""
    coding: _Fields  # the Content-Encoding of its bytes, if they have one


class file_handler(http_request_handler):
    """A handler that serves the files of ``directory`` by GET and HEAD.

    For a folder, the response is its index page, or else a listing.  A client that accepts compressed data gets the
    compressed version of a file, if there is one beside it: a file of the same name with ``.zst``, ``.br`` or ``.gz``
    after it.
    Sources: ``http.server``; RFC 9110, sections 8, 12, 13 and 14; RFC 7617.
    """

    directory: str | os.PathLike[str] = os.curdir
    """The directory that is served (str or os.PathLike); files outside of it are not, but see ``symlinks``."""

    symlinks: str = "within"
    """Which symbolic links are followed (str): "within", those that stay inside; "follow", all; "refuse", none."""

    hidden_files: bool = False
    """Whether names that begin with a dot are served and listed (bool); ``.well-known`` always is."""

    index_pages: Sequence[str] = ("index.html", "index.htm")
    """The names of index pages (sequence of str): the first that exists is shown for its folder."""

    list_directories: bool = True
    """Whether folders without an index page are listed (bool); else the response is 403."""

    max_entries: int = 10_000
    """The most files and folders that a listing shows (int)."""

    content_types: Mapping[str, str] = MappingProxyType({})
    """Content-Types (str) by suffix in lower case, such as ".txt", that replace the built-in ones."""

    extra_headers: Sequence[tuple[str, str]] = ()
    """Fields (pairs of name and value, str) for each response.  Except Vary, they replace other fields of that name."""

    single_page: bool = False
    """Whether browsers that ask for a page that does not exist get the index page of ``directory`` (bool)."""

    not_found_page: str | os.PathLike[str] | None = None
    """The file (str or os.PathLike) that is sent with status 404; None sends a short page."""

    credentials: tuple[str, str] | None = None
    """The user and the password (pair of str) that a request must have, else the response is 401; None: no check."""

    __vary: tuple[tuple[str, str], ...] = ()  # the Vary fields of the present response, whatever its status

    def handle_request(self) -> Any:
        """Handle the request if it has the ``credentials``; else respond with 401."""
        if self.credentials is None or self.__has_credentials(*self.credentials):
            return super().handle_request()
        challenge = ("WWW-Authenticate", 'Basic realm="files", charset="UTF-8"')
        self.respond(401, self.error_page(401), [challenge, *PAGE_FIELDS], self.error_content_type)
        return None

    def __has_credentials(self, user: str, password: str) -> bool:
        scheme, _, encoded = self.headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded.strip(" "), validate=True)
        except (binascii.Error, ValueError):
            return False
        wanted = f"{user}:{password}".encode("utf-8", "surrogateescape")  # the user is an argument of the command line
        return scheme.lower() == "basic" and hmac.compare_digest(given, wanted)

    def respond(self, status: int, body: Any = b"", headers: Any = (), content_type: str | None = None) -> None:
        """Respond as ``http_request_handler`` does, with ``extra_headers`` among the fields."""
        if self.__vary:
            headers = (*pairs_of(headers), *self.__vary)
        if self.extra_headers:
            own = {name.lower() for name, _ in self.extra_headers} - {"vary"}
            headers = [pair for pair in pairs_of(headers) if pair[0].lower() not in own]
            headers += self.extra_headers
            if "content-type" in own:
                content_type = None
        super().respond(status, body, headers, content_type)

    def _ac_wants_body(self) -> bool:
        # do_GET() of this class reads no body.
        reads = self.command not in ("GET", "HEAD") or type(self).do_GET is not file_handler.do_GET
        return super()._ac_wants_body() and (reads or self.stream_body)

    def do_GET(self) -> None:
        """Respond with the file or folder that the path leads to."""
        try:
            self.__serve()
        except HTTPError as error:
            if error.status not in _KEEPS:
                raise
            if error.status == 404 and self.not_found_page is not None and self.__send_not_found(self.not_found_page):
                return
            page = self.error_page(error.status, explain=error.reason)
            self.respond(error.status, page, (*PAGE_FIELDS, *error.headers), self.error_content_type)
        finally:
            self.__vary = ()

    def __send_not_found(self, path: str | os.PathLike[str]) -> bool:
        """Respond with the file at *path* and status 404; return False if it could not be read."""
        try:
            with open(path, "rb") as file:
                page = file.read()
        except OSError as error:
            self.log_error("the page for status 404 cannot be read: %s", error)
            return False
        self.respond(404, page, [_NO_SNIFFING], self.content_type(os.fspath(path)))
        return True

    def __serve(self) -> None:
        path, _, query = self.path.partition("?")
        segments, says_folder = segments_of(path)
        if not self.hidden_files and any(map(is_hidden, segments)):
            raise HTTPError(404, "There is no such file here.")
        root = _root_of(os.fspath(self.directory), self.symlinks)
        try:
            self.__send(root, segments, says_folder, query)
        except HTTPError as error:
            if error.status != 404 or not self.__may_be_route(segments):
                raise
            self.__vary = (("Vary", "Accept"),)
            if not wants_html(self.headers.get("accept")) or not self.__send_index(root, []):
                raise

    def __may_be_route(self, segments: list[str]) -> bool:
        """Return whether *segments* may be a page that the single-page application itself makes."""
        has_suffix = bool(segments) and "." in segments[-1]
        return self.single_page and not has_suffix and not any(name[0] == "." for name in segments)

    def __send(self, root: DocumentRoot, segments: list[str], says_folder: bool, query: str) -> None:
        opened = root.open_file(segments)
        if opened is not None:
            if says_folder:
                opened[0].close()
                raise HTTPError(404, "This is a file, not a folder: leave out the slash at the end.")
            self.__send_file(root, segments, *opened)
        elif not says_folder:
            self.__redirect(segments, query)
        elif not self.__send_index(root, segments):
            self.__send_listing(root, segments, query)

    def __redirect(self, segments: list[str], query: str) -> None:
        # Made of the names, not of the path: a Location that begins with two slashes would lead to another host.
        location = "".join(f"/{quote(os.fsencode(name), safe='')}" for name in segments) + "/"
        if query:
            location += f"?{query}"
        page = self.error_page(301, explain="This is a folder: its address ends in a slash.")
        self.respond(301, page, [("Location", location), *PAGE_FIELDS], self.error_content_type)

    def __send_index(self, root: DocumentRoot, segments: list[str]) -> bool:
        """Respond with the index page of the folder at *segments*; return False if it has none."""
        for name in self.index_pages:
            page = [*segments, name]
            try:
                opened = root.open_file(page)
            except HTTPError as error:
                if error.status != 404:
                    raise
                continue
            if opened is not None:
                self.__send_file(root, page, *opened)
                return True
        return False

    def __send_listing(self, root: DocumentRoot, segments: list[str], query: str) -> None:
        if not self.list_directories:
            raise HTTPError(403, "The files in this folder are not listed.")
        entries = root.entries(segments, self.max_entries + 1, self.hidden_files)
        shown = entries[: self.max_entries]
        page = listing_page(segments, shown, len(shown) == len(entries), query)
        self.respond(200, page, PAGE_FIELDS, HTML)

    def content_type(self, name: str) -> str:
        """Return the Content-Type (str) of the file *name* (str)."""
        suffix = os.path.splitext(name)[1].lower()
        return self.content_types.get(suffix) or media_type(suffix)

    def __send_file(self, root: DocumentRoot, segments: list[str], file: io.FileIO, status: os.stat_result) -> None:
        sent = self.__chosen(root, segments, file, status)
        is_read_later = False
        try:
            is_read_later = self.__respond_file(sent, self.content_type(segments[-1]))
        finally:
            if not is_read_later:
                sent.file.close()

    def __chosen(self, root: DocumentRoot, segments: list[str], file: io.FileIO, status: os.stat_result) -> _Sent:
        """Return *file*, or instead the compressed version that the client prefers; then close *file*."""
        *above, name = segments
        if name[-5:].lower() == ".svgz":
            return _Sent(file, status, "", [("Content-Encoding", "gzip")])
        suffixes = root.suffixes_beside(segments, _CODINGS)
        if not suffixes:
            return _Sent(file, status, "", [])
        codings = {_CODINGS[suffix]: suffix for suffix in suffixes}
        self.__vary += (("Vary", "Accept-Encoding"),)
        coding = preferred_coding(self.headers.get("accept-encoding"), codings)
        if coding is not None:
            opened = None
            with contextlib.suppress(HTTPError, OSError):  # a version that cannot be served is left out
                opened = root.open_file([*above, name + codings[coding]])
            if opened is not None:
                file.close()
                return _Sent(*opened, codings[coding], [("Content-Encoding", coding)])
        return _Sent(file, status, "", [])

    def __respond_file(self, sent: _Sent, content_type: str) -> bool:
        """Respond with a file or a part of it; return True if the file is read later, and must stay open."""
        size = sent.status.st_size
        etag = f'"{sent.status.st_mtime_ns:x}-{size:x}{sent.suffix}"'
        modified = min(max(int(sent.status.st_mtime), 0), int(time.time()))  # not after Date: RFC 9110, 8.8.2.1
        headers = [_NO_SNIFFING, ("ETag", etag), ("Last-Modified", format_date(modified)), ("Accept-Ranges", "bytes")]
        status = status_for(self.headers, etag, modified)
        if status == 304:
            self.respond(304, b"", headers)
            return False
        if status == 412:
            raise HTTPError(412, "This has changed since your program last saw it.")
        headers += sent.coding
        offset, count = 0, size
        wanted = self.headers.get("range") if self.command == "GET" else None
        if wanted is not None and range_applies(self.headers, etag, modified):
            part = wanted_part(wanted, size)
            if part is not None:
                offset, count = part
                if not count:
                    raise HTTPError(416, "The file has no such part.", (("Content-Range", f"bytes */{size}"),))
                headers.append(("Content-Range", f"bytes {offset}-{offset + count - 1}/{size}"))
                status = 206
        return self.__respond_part(status, sent.file, offset, count, headers, content_type)

    def __respond_part(
        self, status: int, file: io.FileIO, offset: int, count: int, headers: _Fields, content_type: str
    ) -> bool:
        if self.command == "HEAD":
            self.respond(status, b"", [*headers, ("Content-Length", str(count))], content_type)
            return False
        if count > _JOINED_MAX:
            self.respond(status, file_producer(file, offset, count), headers, content_type)
            return True
        if offset:
            file.seek(offset)
        body = file.read(count) if count else b""
        if len(body) != count:
            raise HTTPError(503, "The file was changed while it was read. Please try again.")
        self.respond(status, body, headers, content_type)
        return False
