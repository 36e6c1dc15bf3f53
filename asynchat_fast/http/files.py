"""``file_handler``: the files of a directory, as HTTP has them: types, validators, ranges, listings."""

import io
import mimetypes
import os
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import quote

from ..producers import file_producer
from .conditions import format_date, status_for, wanted_range
from .errors import HTTPError
from .handler import http_request_handler
from .listing import listing_page
from .trees import Tree, segments_of

__all__ = ["file_handler"]

_READ_MOST = 1 << 15  # octets of a file that are read, to leave in one piece with the head
_HTML = "text/html; charset=utf-8"
_NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
_LISTING_FIELDS = (_NO_SNIFFING, ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"))
_KEEPS = (403, 404, 412, 416)  # statuses of a request that was right, but in vain

# What mimetypes knows on some systems only, or differently in other versions of Python.
_TYPES = {
    ".avif": "image/avif",
    ".js": "text/javascript",
    ".json": "application/json",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
_COMPRESSED = {"bzip2": "application/x-bzip2", "gzip": "application/gzip", "xz": "application/x-xz"}

_tree = lru_cache(maxsize=64)(Tree)


@lru_cache(maxsize=1024)
def _content_type(suffix: str) -> str:
    """Return the Content-Type of files with *suffix*, "" or beginning with a dot."""
    kind = _TYPES.get(suffix)
    if kind is None:
        kind, encoding = mimetypes.guess_type(f"x{suffix}")
        if encoding is not None:
            kind = _COMPRESSED.get(encoding)
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


class file_handler(http_request_handler):
    """Serve the files of ``directory`` by GET and HEAD.

    A folder is shown by its index page, or else listed.  Sources: ``http.server``; RFC 9110,
    sections 8, 13 and 14.
    """

    directory: str | os.PathLike[str] = os.curdir
    """What is served (str or os.PathLike); nothing outside of it is."""

    symlinks: str = "within"
    """Which symbolic links are followed (str): those that stay "within" it, all by "follow", or none by "refuse"."""

    index_pages: Sequence[str] = ("index.html", "index.htm")
    """The names of the files that stand for the folder that they are in (strs), the first that is there."""

    list_directories: bool = True
    """Whether folders without an index page are listed (bool); else 403."""

    max_entries: int = 10_000
    """The most files and folders that a listing shows (int)."""

    content_types: Mapping[str, str] = MappingProxyType({})
    """The Content-Type (str) by suffix in lower case, such as ".txt", where it is to be another than is known."""

    def do_GET(self) -> None:
        """Answer with what the path leads to."""
        try:
            self.__serve()
        except HTTPError as error:
            if error.status not in _KEEPS:
                raise
            page = self.error_page(error.status, explain=error.reason)
            self.respond(error.status, page, (_NO_SNIFFING, *error.headers), _HTML)

    def __serve(self) -> None:
        path, _, query = self.path.partition("?")
        segments, says_folder = segments_of(path)
        tree = _tree(os.fspath(self.directory), self.symlinks)
        if not tree.has_folder(segments):
            if says_folder:
                raise HTTPError(404, "this is not a folder")
            self.__send_file(tree, segments)
        elif says_folder:
            self.__send_folder(tree, segments)
        else:
            self.__redirect(segments, query)

    def __redirect(self, segments: list[str], query: str) -> None:
        # Made of the names alone: what began with two slashes would lead to another host.
        location = "".join(f"/{quote(os.fsencode(name), safe='')}" for name in segments) + "/"
        if query:
            location += f"?{query}"
        self.respond(301, self.error_page(301), [("Location", location), _NO_SNIFFING], _HTML)

    def __send_folder(self, tree: Tree, segments: list[str]) -> None:
        for name in self.index_pages:
            page = [*segments, name]
            try:
                if not tree.has_folder(page):
                    self.__send_file(tree, page)
                    return
            except HTTPError as error:
                if error.status != 404:
                    raise
        if not self.list_directories:
            raise HTTPError(403, "folders are not listed here")
        entries = tree.entries(segments, self.max_entries + 1)
        shown = entries[: self.max_entries]
        self.respond(200, listing_page(segments, shown, len(shown) == len(entries)), _LISTING_FIELDS, _HTML)

    def content_type(self, name: str) -> str:
        """Return the Content-Type (str) of the file *name* (str)."""
        suffix = os.path.splitext(name)[1].lower()
        return self.content_types.get(suffix) or _content_type(suffix)

    def __send_file(self, tree: Tree, segments: list[str]) -> None:
        fd, status = tree.open_file(segments)
        try:
            file = io.FileIO(fd, closefd=True)
        except BaseException:
            os.close(fd)
            raise
        is_wanted = False
        try:
            is_wanted = self.__respond_file(file, status, segments[-1])
        finally:
            if not is_wanted:
                file.close()

    def __respond_file(self, file: io.FileIO, status: os.stat_result, name: str) -> bool:
        """Answer with *file*, of *status* (os.stat_result) and *name*; tell whether it is still to be read."""
        size = status.st_size
        etag = f'"{status.st_mtime_ns:x}-{size:x}-{status.st_ino:x}"'
        modified = min(max(int(status.st_mtime), 0), int(time.time()))  # not after Date (RFC 9110, section 8.8.2.1)
        headers = [_NO_SNIFFING, ("ETag", etag), ("Last-Modified", format_date(modified)), ("Accept-Ranges", "bytes")]
        index = self.headers.index
        code = status_for(index, etag, modified)
        if code == 304:
            self.respond(304, b"", headers)
            return False
        if code == 412:
            raise HTTPError(412, "this is not what the request was made for")
        offset, count = 0, size
        if "range" in index and self.command == "GET":
            part = wanted_range(index, size, etag, modified)
            if part is not None:
                offset, count = part
                if not count:
                    raise HTTPError(416, "there is no such range", (("Content-Range", f"bytes */{size}"),))
                headers.append(("Content-Range", f"bytes {offset}-{offset + count - 1}/{size}"))
                code = 206
        return self.__respond_part(code, file, offset, count, headers, self.content_type(name))

    def __respond_part(
        self, code: int, file: io.FileIO, offset: int, count: int, headers: list[tuple[str, str]], content_type: str
    ) -> bool:
        if self.command == "HEAD":
            self.respond(code, b"", [*headers, ("Content-Length", str(count))], content_type)
            return False
        if count > _READ_MOST:
            self.__file = file
            self.respond(code, file_producer(file, offset, count), headers, content_type)
            return True
        if offset:
            file.seek(offset)
        body = file.read(count) if count else b""
        if len(body) != count:
            raise HTTPError(503, "the file was changed while it was read")
        self.respond(code, body, headers, content_type)
        return False

    __file: io.FileIO | None = None  # the last that was sent, and not read for that

    def close(self) -> None:
        """Close, and the file that was being sent."""
        super().close()
        if self.__file is not None:
            self.__file.close()
            self.__file = None
