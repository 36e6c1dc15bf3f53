"""The file with the process number of the parent, locked as long as the parent runs."""

import contextlib
import errno
import fcntl
import os
import stat

__all__ = ["PidFile", "pid_file_at"]


class PidFile:
    """Write the number of this process to the file at *path*; leaving the context removes the file.

    The lock on the file, not its existence, shows that a process runs, because a file outlives a crash.  OSError if the
    file cannot be written, is no regular file, or is in use by another process.
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
        """Close the descriptor in a forked process, which would hold the lock after the parent has ended."""
        os.close(self._fd)

    def __enter__(self) -> "PidFile":
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            os.unlink(self.path)  # while it is locked: later, it might be the file of another process
        except OSError:
            pass
        finally:
            os.close(self._fd)


def pid_file_at(path: str | os.PathLike[str] | None) -> contextlib.AbstractContextManager[PidFile | None]:
    """Return the PidFile at *path*; for None, a context that does nothing."""
    return contextlib.nullcontext() if path is None else PidFile(path)


def _locked(path: str) -> int:
    """Return a descriptor of the file at *path*, locked."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):  # such as /dev/null, which must not be removed at the end
                raise OSError(errno.EINVAL, "it is no regular file", path)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(fd, path):
                return fd
        except BlockingIOError:
            running = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            raise BlockingIOError(errno.EWOULDBLOCK, f"it is in use by process {running}", path) from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # a process that has just ended has removed this file: try again with a new one


def _is_at(fd: int, path: str) -> bool:
    """Return whether *path* is still the file that *fd* refers to."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
