"""``DocumentRoot``: opens the files of a directory by the paths in requests, and never one outside of it.

A file is checked after it was opened.  If it were checked before, its name could be made to lead elsewhere in between.
"""

import errno
import io
import os
import re
import stat
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple, NoReturn
from urllib.parse import unquote_to_bytes

from .errors import HTTPError

__all__ = ["POLICIES", "DocumentRoot", "Entry", "is_hidden", "segments_of"]

POLICIES = ("within", "follow", "refuse")
"""How symbolic links are treated: follow those that stay within the directory, or all of them, or none."""

# O_NONBLOCK, because opening a FIFO would wait for its other end; it has no effect on regular files.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_IN_USE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ, errno.ENXIO)
_WINDOWS = os.name == "nt"
_NO_FILE = "There is no such file here."

_has_bad_escape = re.compile("%(?![0-9A-Fa-f]{2})").search
_has_slash = re.compile("%2f", re.IGNORECASE).search
# Names with a special meaning on Windows: drives, streams, devices, separators, and those that lose the last character.
_means_more = re.compile(
    r'[\0-\x1f<>:"|?*\\] | [. ]$ | ^(?: CON | PRN | AUX | NUL | CONIN\$ | CONOUT\$ | (?:COM|LPT)[0-9¹²³] )\ *(?:\.|$)',
    re.IGNORECASE | re.VERBOSE,
).search


class Entry(NamedTuple):
    """A file or a folder in a listing: its size in bytes, its time of modification in seconds since the epoch."""

    name: str
    is_folder: bool
    size: int
    modified: float


def segments_of(path: str, windows: bool = _WINDOWS) -> tuple[list[str], bool]:
    """Return the decoded names in *path* (str, as it was sent), and whether it is the path of a folder: it ends in "/".

    Dot segments are removed (RFC 3986, section 5.2.4).  HTTPError 400 for a malformed path, 404 for one
    that cannot be the path of a file.
    """
    if "%" in path:
        if _has_bad_escape(path):
            raise HTTPError(400, "The address has a % without two hexadecimal digits after it.")
        data = unquote_to_bytes(path)
        if 0 in data:
            raise HTTPError(400, "The address has a NUL in it.")
        if _has_slash(path):
            raise HTTPError(404, _NO_FILE)
        try:
            path = os.fsdecode(data)
        except UnicodeDecodeError:
            raise HTTPError(404, _NO_FILE) from None
    names = path.split("/")
    segments: list[str] = []
    for name in names:
        if name == "..":
            if not segments:
                raise HTTPError(404, _NO_FILE)
            segments.pop()
        elif name and name != ".":
            if windows and _means_more(name):
                raise HTTPError(404, _NO_FILE)
            segments.append(name)
    return segments, names[-1] in ("", ".", "..")


def is_hidden(name: str) -> bool:
    """Return whether *name* begins with a dot; ``.well-known`` does not count, as it is public (RFC 8615)."""
    return name.startswith(".") and name != ".well-known"


class DocumentRoot:
    """The files and folders in *directory*, with symbolic links treated by one of ``POLICIES``.

    Its methods take the segments of a path, and raise HTTPError: 404 for files that do not exist
    or are not served, 403 for those that may not be read, 503 if descriptors have run out.
    """

    def __init__(self, directory: str | os.PathLike[str], symlinks: str = "within") -> None:
        if symlinks not in POLICIES:
            raise ValueError(f"symlinks is one of {', '.join(POLICIES)}, not {symlinks!r}")
        self._symlinks = symlinks
        self._start = (os.fspath(directory) or os.curdir).rstrip(os.sep + (os.altsep or "")) + "/"
        self._find_prefix()

    def _find_prefix(self) -> None:
        self._prefix = os.path.normcase(os.path.join(os.path.realpath(self._start), ""))

    def _path(self, segments: Sequence[str]) -> str:
        return self._start + "/".join(segments)

    def suffixes_beside(self, segments: Sequence[str], suffixes: Iterable[str]) -> list[str]:
        """Return those of *suffixes* with which a file of the same name exists; ``open_file()`` may refuse it."""
        path = self._path(segments)
        return [suffix for suffix in suffixes if os.access(path + suffix, os.F_OK)]

    def open_file(self, segments: Sequence[str]) -> tuple[io.FileIO, os.stat_result] | None:
        """Return a regular file, open for reading, and its status; None if there is a folder."""
        try:
            fd = os.open(self._path(segments), _FLAGS)
        except OSError as error:
            # Windows cannot open folders, and a folder that may not be read may have files that may.
            if isinstance(error, PermissionError) and self._has_folder(segments):
                return None
            self._refuse(error, segments)
        try:
            status = os.fstat(fd)
            is_folder = stat.S_ISDIR(status.st_mode)
            if not (is_folder or stat.S_ISREG(status.st_mode)) or not self._may_serve_file(fd, segments):
                raise HTTPError(404, _NO_FILE)
            if is_folder:
                os.close(fd)
                return None
            file = io.FileIO(fd)
        except BaseException:
            os.close(fd)
            raise
        file.name = self._path(segments)  # for messages, which would show the descriptor otherwise
        return file, status

    def entries(self, segments: Sequence[str], most: int, hidden: bool = False) -> list[Entry]:
        """Return at most *most* entries of a folder, those that would be served, in no particular order.

        With *hidden* (bool), entries for which ``is_hidden()`` is true are among them.
        """
        if os.scandir not in os.supports_fd:
            return self._entries(self._path(segments), segments, most, hidden)
        fd = self._open(segments)
        try:
            if not self._may_serve_file(fd, segments):
                raise HTTPError(404, "There is no such folder here.")
            return self._entries(fd, segments, most, hidden)
        finally:
            os.close(fd)

    def _entries(self, where: int | str, segments: Sequence[str], most: int, hidden: bool) -> list[Entry]:
        try:
            with os.scandir(where) as found:
                public = (each for each in found if hidden or not is_hidden(each.name))
                return list(islice(filter(None, (self._entry(each, segments) for each in public)), most))
        except OSError as error:
            self._refuse(error, segments)

    def _entry(self, found: "os.DirEntry[str]", segments: Sequence[str]) -> Entry | None:
        """Return the Entry of *found*, None if that would not be served."""
        try:
            if found.is_symlink() and self._symlinks != "follow":
                inner = [*segments, found.name]
                if not self._may_serve(os.path.realpath(self._path(inner)), inner):
                    return None
            status = found.stat()
        except OSError:
            return None  # it was removed, or is a broken link
        is_folder = stat.S_ISDIR(status.st_mode)
        if not is_folder and not stat.S_ISREG(status.st_mode):
            return None
        return Entry(found.name, is_folder, status.st_size, status.st_mtime)

    def _has_folder(self, segments: Sequence[str]) -> bool:
        """Return whether *segments* lead to a folder that may be served."""
        path = self._path(segments)
        return os.path.isdir(path) and self._may_serve(os.path.realpath(path), segments)

    def _open(self, segments: Sequence[str]) -> int:
        try:
            return os.open(self._path(segments), _FLAGS)
        except OSError as error:
            self._refuse(error, segments)

    def _refuse(self, error: OSError, segments: Sequence[str]) -> NoReturn:
        if error.errno in _IN_USE:
            raise HTTPError(503, "Too many files are open. Please try again in a moment.") from error
        if isinstance(error, PermissionError):
            if self._may_serve(os.path.realpath(self._path(segments)), segments):
                raise HTTPError(403, "This may not be read.") from error
        elif error.errno not in _ABSENT:
            raise error
        raise HTTPError(404, _NO_FILE) from error

    def _may_serve_file(self, fd: int, segments: Sequence[str]) -> bool:
        """Return whether the open file *fd*, found at *segments*, may be served."""
        if self._symlinks == "follow":
            return True
        try:
            real = os.readlink(f"/proc/self/fd/{fd}")  # on Linux: one system call, not one a segment
        except OSError:
            real = os.path.realpath(self._path(segments))
            try:
                if not os.path.samestat(os.stat(real), os.fstat(fd)):
                    return False
            except OSError:
                return False
        return self._may_serve(real, segments)

    def _may_serve(self, real: str, segments: Sequence[str]) -> bool:
        """Return whether *real*, the path without symbolic links to which *segments* lead, may be served."""
        if self._symlinks == "follow":
            return True
        real = os.path.normcase(os.path.join(real, ""))
        if self._fits_policy(real, segments):
            return True
        self._find_prefix()  # the directory may have been replaced, or be relative
        return self._fits_policy(real, segments)

    def _fits_policy(self, real: str, segments: Sequence[str]) -> bool:
        if self._symlinks == "within":
            return real.startswith(self._prefix)
        return real == self._prefix + os.path.normcase("".join(f"{name}{os.sep}" for name in segments))
