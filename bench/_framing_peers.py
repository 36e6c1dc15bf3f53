"""What can cut a stream in memory: a base for each peer, to which a program's callbacks are added."""

import asyncio
import sys
from contextlib import closing
from functools import partial

import _common

from asynchat_fast.benchmark_cases import Floor, FromMemory, with_own_code

FLOOR = "floor"


class Nowhere:
    """A transport that swallows what is written."""

    disconnecting = False

    def write(self, data):
        pass

    def is_closing(self):
        return True  # a StreamWriter that is thrown away warns otherwise


def asynchat_bases(name):
    return with_own_code(FromMemory), _common.load_asynchat(name).async_chat


def floor_bases():
    return (with_own_code(Floor),)


def twisted_bases():
    from twisted.protocols.basic import LineReceiver

    class Receiver(LineReceiver):
        MAX_LENGTH = sys.maxsize // 2
        transport = Nowhere()

        def set_terminator(self, terminator):
            self.delimiter = terminator

        def push(self, data):
            self.transport.write(data)

        def lineReceived(self, line):
            if line:
                self.collect_incoming_data(line)
            self.found_terminator()

        def run(self, case):
            for read in case.reads:
                self.dataReceived(read)

    return (Receiver,)


def streams_bases(loop):
    class Streams:
        def set_terminator(self, terminator):
            self.terminator = terminator

        def push(self, data):
            self.writer.write(data)

        async def take_lines(self, reader):
            terminator = self.terminator
            while True:
                line = (await reader.readuntil(terminator))[: -len(terminator)]
                if line:
                    self.collect_incoming_data(line)
                self.found_terminator()

        async def take_frames(self, reader):
            while True:
                self.collect_incoming_data(await reader.readexactly(self.terminator))
                self.found_terminator()

        def run(self, case):
            reader = asyncio.StreamReader(limit=sys.maxsize // 2, loop=loop)
            self.writer = asyncio.StreamWriter(Nowhere(), None, None, loop)
            with closing((self.take_frames if self.terminator == 4 else self.take_lines)(reader)) as taking:
                taking.send(None)  # up to where it waits for input; then it need not be woken by a loop
                for read in case.reads:
                    reader.feed_data(read)
                    taking.send(None)

    return (Streams,)


def protocol_bases():
    class Protocol(asyncio.Protocol):
        rest = b""
        transport = Nowhere()

        def set_terminator(self, terminator):
            self.terminator = terminator

        def push(self, data):
            self.transport.write(data)

        def lines_received(self, data):
            *lines, self.rest = (self.rest + data).split(self.terminator)
            for line in lines:
                if line:
                    self.collect_incoming_data(line)
                self.found_terminator()

        def frames_received(self, data):
            data, at = self.rest + data, 0
            while len(data) - at >= self.terminator:
                end = at + self.terminator
                self.collect_incoming_data(data[at:end])
                self.found_terminator()
                at = end
            self.rest = data[at:]

        def run(self, case):
            data_received = self.frames_received if self.terminator == 4 else self.lines_received
            for read in case.reads:
                data_received(read)

    return (Protocol,)


def load_peers(loop):
    """Return by name, in the order of the table, what makes the bases of a peer's class: anew for each case."""
    peers = {name: partial(asynchat_bases, name) for name in _common.asynchat_peers()}
    if _common.has_twisted():
        peers["LineReceiver"] = twisted_bases
    peers["asyncio streams"] = partial(streams_bases, loop)
    peers["asyncio protocol"] = protocol_bases
    peers[FLOOR] = floor_bases
    return peers
