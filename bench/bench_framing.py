"""Cut streams in memory into payloads, on asynchat_fast and its peers, in one run.

    python bench/bench_framing.py [--quick] [--case NAME] [--json FILE]

Every peer hands each payload to the same two callbacks: one appends it to a list, one joins
and clears the list.  The floor is these callbacks alone, on payloads cut in advance.  Channels
read from memory by an overridden recv(); Twisted's LineReceiver and asyncio's StreamReader
(readuntil() and readexactly(), without a running loop) are fed the same reads.

Figures are nanoseconds per line, record, frame or octet, the best of several rounds in which
the peers take turns; beside them stands how many times faster than the standard library's
asynchat that is.  Hostile and very long inputs come in two sizes or more: the figure of what
is linear stays the same.
"""

import asyncio
import gc
import sys
import time
from contextlib import closing
from functools import partial
from types import FunctionType

import _common
from _common import figure, times_faster
from _framing_cases import all_cases

FLOOR = "floor"

# CPU time leaves out what other processes take, but not every system counts it finely.
now = time.process_time if time.get_clock_info("process_time").resolution < 1e-6 else time.perf_counter


class LineProgram:
    """What a user of asynchat writes."""

    def collect_incoming_data(self, data):
        self.incoming.append(data)

    def found_terminator(self):
        self.payload = b"".join(self.incoming)
        self.incoming.clear()


class FrameProgram(LineProgram):
    """The same for frames: a header of 4 octets, which says how many follow."""

    def found_terminator(self):
        self.payload = payload = b"".join(self.incoming)
        self.incoming.clear()
        self.set_terminator(int.from_bytes(payload, "big") if len(payload) == 4 else 4)


class FromMemory:
    """A channel's way to its input."""

    def recv(self, size):
        return self.read

    def run(self, reads):
        for self.read in reads:
            self.handle_read()


class Floor:
    def set_terminator(self, terminator):
        self.terminator = terminator

    def run(self, payloads):
        for payload in payloads:
            if payload:
                self.collect_incoming_data(payload)
            self.found_terminator()


def with_own_code(cls):
    """Copy *cls* down to the code of its methods, which the interpreter specialises for the type that runs it."""
    functions = {
        name: FunctionType(value.__code__.replace(), value.__globals__, name)
        for base in reversed(cls.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, FunctionType)
    }
    return type(cls.__name__, (), functions)


def twisted_receiver():
    from twisted.protocols.basic import LineReceiver

    class Receiver(LineReceiver):
        MAX_LENGTH = sys.maxsize // 2

        def set_terminator(self, terminator):
            self.delimiter = terminator

        def lineReceived(self, line):
            if line:
                self.collect_incoming_data(line)
            self.found_terminator()

        def run(self, reads):
            for read in reads:
                self.dataReceived(read)

    return Receiver


def asyncio_reader(loop):
    class Reader:
        def set_terminator(self, terminator):
            self.terminator = terminator

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

        def run(self, reads):
            reader = asyncio.StreamReader(limit=sys.maxsize // 2, loop=loop)
            with closing((self.take_frames if self.terminator == 4 else self.take_lines)(reader)) as taking:
                taking.send(None)  # up to where it waits for input; then it need not be woken by a loop
                for read in reads:
                    reader.feed_data(read)
                    taking.send(None)

    return Reader


def load_peers(loop):
    """Return the bases that make a program a peer, by the peer's name, in the order of the table."""
    peers = {}
    for name in _common.asynchat_peers():
        peers[name] = (with_own_code(FromMemory), _common.load_asynchat(name).async_chat)
    if _common.has_twisted():
        peers["LineReceiver"] = (twisted_receiver(),)
    peers["asyncio"] = (asyncio_reader(loop),)
    peers[FLOOR] = (Floor,)
    return peers


def prepare(peer_class, case):
    """Return the run to be timed, on a fresh object."""
    peer = peer_class()
    peer.incoming = []
    peer.set_terminator(case.terminator)
    return partial(peer.run, case.payloads if isinstance(peer, Floor) else case.reads)


def verify(name, peer_class, case):
    """Exit unless the peer delivers what the case consists of."""
    payloads = []

    def found_terminator(self):
        payloads.append(b"".join(self.incoming))
        peer_class.found_terminator(self)

    prepare(type("Recorder", (peer_class,), {"found_terminator": found_terminator}), case)()
    if payloads != case.payloads:
        sys.exit(f"error: {name} does not deliver the payloads of the case {case.name!r}")


def peer_classes(case, peers):
    """Return the classes that can run *case*, by the peer's name."""
    classes = {}
    for name, bases in peers.items():
        if (name == "LineReceiver" and case.unit == "frame") or (name == FLOOR and case.unit == "octet"):
            continue
        program = with_own_code(FrameProgram if case.unit == "frame" else LineProgram)
        classes[name] = type("Peer", (program, *bases), {})
    return classes


def drain(producer):
    while producer.more():
        pass


def producer_trials(size):
    def prepare_producer(asynchat):
        return partial(drain, asynchat.simple_producer(bytes(size), 512))

    return {name: partial(prepare_producer, _common.load_asynchat(name)) for name in _common.asynchat_peers()}


def best_times(trials, rounds, budget):
    """Time *trials* in turns; return the least seconds of each.  One that has used up *budget* sits out."""
    best, spent = {}, dict.fromkeys(trials, 0.0)
    gc.collect()
    gc.disable()
    for turn in range(rounds):
        # There and back: a run finds the caches and the heap as its predecessor has left them.
        for name in list(trials)[:: -1 if turn % 2 else 1]:
            if spent[name] < budget:
                run = trials[name]()
                start = now()
                run()
                seconds = now() - start
                best[name] = min(seconds, best.get(name, seconds))
                spent[name] += seconds
    gc.enable()
    return best


class Table:
    """Measures cases and prints a row for each."""

    def __init__(self, names, quick):
        self.names = names
        self.rounds, self.budget, self.patience = (5, 0.05, 0.5) if quick else (100, 1.0, 15.0)
        self.rows = []
        self.unit = None
        self.last_seconds = {}  # of each peer, in the smaller size of the same case

    def measure(self, name, unit, count, trials, bigger=False):
        """Measure a case of *count* units; *bigger*: the same as the one before, twice the size."""
        if not bigger:
            self.last_seconds = {}
        # The square of twice the size is four times as much: whom that takes too long is left out.
        slow = [peer for peer, seconds in self.last_seconds.items() if 4 * seconds > self.patience]
        _common.progress(f"{name} ...")
        seconds = best_times({peer: trials[peer] for peer in trials if peer not in slow}, self.rounds, self.budget)
        _common.progress()
        self.last_seconds = {**dict.fromkeys(slow, self.patience), **seconds}
        nanoseconds = {peer: 1e9 * best / count for peer, best in seconds.items()}
        self.rows.append({"case": name, "unit": unit, "count": count, "ns": nanoseconds, "too_slow": slow})
        if unit != self.unit:
            self.unit = unit
            print(f"\n{'ns per ' + unit:<38}" + "".join(f"{peer:>14}" for peer in self.names) + f" /{FLOOR}")
        self.print_row(name, nanoseconds, slow)

    def print_row(self, label, nanoseconds, slow):
        row = f"{label:<38}"
        stdlib = nanoseconds.get(_common.STDLIB)
        for name in self.names:
            own = nanoseconds.get(name)
            cell = figure(own) if own else "too slow" if name in slow else "-"
            times = times_faster(stdlib, own) if name not in (_common.STDLIB, FLOOR) else ""
            row += f"{cell:>8}{times:>6}"
        ours = nanoseconds.get(_common.FAST) or nanoseconds.get(_common.PLAIN)
        if ours and FLOOR in nanoseconds:
            row += f"{ours / nanoseconds[FLOOR]:7.2f}"
        print(row.rstrip(), flush=True)

    def measure_case(self, case, peers):
        classes = peer_classes(case, peers)
        if not case.bigger:
            for name, peer_class in classes.items():
                verify(name, peer_class, case)
        trials = {name: partial(prepare, peer_class, case) for name, peer_class in classes.items()}
        self.measure(case.name, case.unit, case.count, trials, case.bigger)


def main():
    parser = _common.arguments(__doc__)
    parser.add_argument("--case", metavar="NAME", default="", help="only cases whose names contain NAME")
    options = _common.parse(parser)
    cases = [case for case in all_cases(options.quick) if options.case in case.name]
    producers = {f"simple_producer, {size} MiB at 512": size << 20 for size in ((1, 2) if options.quick else (4, 8))}
    producers = {name: size for name, size in producers.items() if options.case in name}
    if not (cases or producers):
        parser.error(f"no case has {options.case!r} in its name")
    with closing(asyncio.new_event_loop()) as loop:
        peers = load_peers(loop)
        table = Table(list(peers), options.quick)
        _common.print_header(f"best of up to {table.rounds} rounds; 2x: twice as fast as {_common.STDLIB}")
        for case in cases:
            table.measure_case(case, peers)
        for at, (name, size) in enumerate(producers.items()):
            table.measure(name, "piece", size // 512, producer_trials(size), bigger=at > 0)
    if options.json:
        _common.write_json(options.json, "framing", table.rows)


if __name__ == "__main__":
    main()
