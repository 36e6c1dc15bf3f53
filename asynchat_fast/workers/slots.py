"""The listening sockets of all workers, kept open by the parent, so that waiting connections outlive a worker."""

import contextlib
import os
import socket
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from ..addresses import bound_socket, checked, has_file, inherited_sockets, naming, remove_dead
from ..arguments import check_count

__all__ = ["Slots"]

_BACKLOG = 1024
_NUMBER = "{worker}"

_SO_ATTACH_FILTER = 26  # of Linux
# A program for the system's filter of packets, (code, jump if true, jump if false, operand): load byte 13 of the TCP
# header, the flags; if SYN is among them, skip the next instruction; keep the whole packet; drop it.
_DROP_SYN = ((0x30, 0, 0, 13), (0x45, 1, 0, 0x02), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0))


class Slots:
    """The listening sockets by worker: ``slots[0]`` are those of the first worker, one for each address.

    See ``run()`` for the arguments.  Leaving the context closes all, and removes the files of unix sockets.
    """

    def __init__(self, addresses: Iterable[Any], count: int | None, balance: bool = True, mode: int | None = None):
        self.count = _processors() if count is None else count
        check_count("workers", self.count, least=1)
        self._by_address: list[list[socket.socket]] = []  # for each address a list of sockets, one for each worker
        self._files: list[str | bytes] = []
        self._ports: list[socket.socket] = []  # the sockets for host and port that were opened here
        inherited = inherited_sockets()
        if inherited:
            self._by_address = [[sock] * self.count for sock in inherited]
            return
        wanted = _listed(addresses)
        if mode is not None and not any(map(has_file, wanted)):
            raise ValueError(f"a mode of {mode:#o} is for the files of unix sockets, and there are none")
        try:
            for address in wanted:
                self._open(address, balance, mode)
        except BaseException:
            self.__exit__()
            raise

    def __getitem__(self, number: int) -> list[socket.socket]:
        return [sockets[number] for sockets in self._by_address]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[socket.socket]]:
        return map(self.__getitem__, range(self.count))

    def _open(self, address: Any, balance: bool, mode: int | None) -> None:
        sockets: list[socket.socket] = []
        self._by_address.append(sockets)
        if isinstance(address, socket.socket):
            sockets += [address] * self.count
        elif isinstance(address, (str, bytes)):
            name = os.fsdecode(address)
            if _NUMBER in name:
                for number in range(self.count):
                    sockets.append(self._open_unix(name.replace(_NUMBER, str(number)), mode))
            else:
                sockets += [self._open_unix(address, mode)] * self.count
        elif balance and self.count > 1 and sys.platform == "linux":  # other systems may prefer one of the sockets
            self._open_balanced(address, sockets)
        else:
            sockets += [_listening(address)] * self.count
        if not isinstance(address, (socket.socket, str, bytes)):
            self._ports += sockets

    def _open_unix(self, path: str | bytes, mode: int | None) -> socket.socket:
        sock = _listening(path, mode=mode if has_file(path) else None)
        if has_file(path):
            self._files.append(path)
        return sock

    def _open_balanced(self, address: Any, sockets: list[socket.socket]) -> None:
        host, port, *rest = address
        if port:  # check without SO_REUSEPORT, by which a second program could share the port instead of an error
            with naming(address):
                bound_socket(address).close()
        for _ in range(self.count):
            sock = _listening((host, port, *rest), reuse_port=True)
            sockets.append(sock)
            port = sock.getsockname()[1]  # for port 0, all workers use the port that the first socket has got

    def keep_only(self, number: int) -> None:
        """Close the sockets of all workers but *number*; called in that worker.

        As copies, they would go on to listen when their own worker has closed them.
        """
        kept = self[number]
        for sockets in self._by_address:
            for sock in sockets:
                if sock not in kept:
                    sock.close()

    def accept_no_more(self) -> None:
        """Let nobody connect any more, to the workers either; what has begun to connect succeeds.

        A connection that came between a worker's last accept() and its close() would be reset.  For ports, only Linux
        can do this.
        """
        for path in self._files:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._files.clear()
        if sys.platform == "linux":
            program = array("B", b"".join(struct.pack("HBBI", *each) for each in _DROP_SYN))
            described = struct.pack("HP", len(_DROP_SYN), program.buffer_info()[0])
            for sock in self._ports:
                with contextlib.suppress(OSError):  # forbidden, as in some containers
                    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)

    def close(self) -> None:
        """Close all sockets in this process; the workers still have theirs."""
        for sockets in self._by_address:
            for sock in sockets:
                sock.close()

    def __enter__(self) -> "Slots":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        for path in self._files:
            remove_dead(path)  # leaves the file of another program that listens there by now


def _processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _listed(addresses: Iterable[Any]) -> list[Any]:
    """Return *addresses* as a list, each checked; TypeError for a single one."""
    if isinstance(addresses, (str, bytes, os.PathLike, socket.socket)):
        raise TypeError(f"addresses must be a list, not {addresses!r}: write [{addresses!r}]")
    addresses = list(addresses)
    if [type(each) for each in addresses] == [str, int]:
        raise TypeError(f"addresses must be a list, not one of them: write [{tuple(addresses)!r}]")
    if not addresses:
        raise ValueError("there is no address to listen at")
    return [each if isinstance(each, socket.socket) else checked(each) for each in addresses]


def _listening(address: Any, *, reuse_port: bool = False, mode: int | None = None) -> socket.socket:
    with naming(address):
        sock = bound_socket(address, reuse_port, mode)
        try:
            sock.listen(_BACKLOG)
        except BaseException:
            sock.close()
            raise
    return sock
