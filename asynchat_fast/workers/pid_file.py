"""The file that has the number of the parent's process, and is locked as long as that runs."""

import contextlib
import errno
import fcntl
import os

__all__ = ["PidFile", "pid_file_at"]


class PidFile:
    """Write the number of this process to the file at *path*, which is removed when the context is left.

    A lock, and not the file, tells that a process runs, as a file outlives a crash.  OSError if the file cannot be
    written, or another process has it locked.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._fd = _locked(self.path)
        try:
            os.ftruncate(self._fd, 0)
            os.write(self._fd, b"%d\n" % os.getpid())
        except BaseException:
            self.__exit__()
            raise

    def let_go(self) -> None:
        """Close the copy of a forked process, which would keep the lock when the parent has gone."""
        os.close(self._fd)

    def __enter__(self) -> "PidFile":
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            os.unlink(self.path)  # while it is locked: later, it might be another process's
        except OSError:
            pass
        finally:
            os.close(self._fd)


def pid_file_at(path: str | os.PathLike[str] | None) -> contextlib.AbstractContextManager[PidFile | None]:
    """Return the ``PidFile`` at *path*, or a context without one for None."""
    return contextlib.nullcontext() if path is None else PidFile(path)


def _locked(path: str) -> int:
    """Return a descriptor of the file at *path*, locked."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(fd, path):
                return fd
        except BlockingIOError:
            running = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            raise BlockingIOError(errno.EWOULDBLOCK, f"process {running} has locked it, and runs", path) from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # removed by a process that has just ended


def _is_at(fd: int, path: str) -> bool:
    """Tell whether *path* is still the file that *fd* is open at."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
