"""Cut streams in memory into payloads, on asynchat_fast and its peers, in one run.

    python bench/bench_framing.py [--quick] [--case NAME] [--json FILE]

Every peer hands each payload to the same two callbacks: one appends it to a list, one joins
and clears the list.  The floor is these callbacks alone, on payloads cut in advance.  Channels
read from memory by an overridden recv(); Twisted's LineReceiver, asyncio's StreamReader
(readuntil() and readexactly(), without a running loop) and a protocol that splits what it gets
are fed the same reads.  What is echoed goes nowhere.  Each peer has a copy of the program's code.

Figures are nanoseconds of CPU time per line, record, frame or byte, the best of several rounds
in which the peers take turns; beside them stands how many times faster than the standard
library's asynchat that is.  Hostile and very long inputs come in two sizes or more: the figure
of what is linear stays the same.
"""

import asyncio
import sys
from contextlib import closing
from functools import partial

import _common
from _framing_cases import all_cases
from _framing_peers import load_peers
from _table import FLOOR, Table

from asynchat_fast.benchmark_cases import FrameProgram, peer_class, prepare


def verify(name, cls, case):
    """Exit unless the peer delivers what the case consists of."""
    payloads = []

    def found_terminator(self):
        payloads.append(b"".join(self.incoming))
        cls.found_terminator(self)

    prepare(type("Recorder", (cls,), {"found_terminator": found_terminator}), case)()
    if payloads != case.payloads:
        sys.exit(f"error: {name} does not deliver the payloads of the case {case.name!r}")


def peer_classes(case, peers):
    """Return the classes that can run *case*, by the peer's name."""
    return {
        name: peer_class(case, *make_bases())
        for name, make_bases in peers.items()
        if not (name == "LineReceiver" and case.program is FrameProgram) and not (name == FLOOR and case.unit == "byte")
    }


def measure_case(table, case, peers):
    if not case.bigger:
        for name, cls in peer_classes(case, peers).items():
            verify(name, cls, case)
    trials = {name: partial(prepare, cls, case) for name, cls in peer_classes(case, peers).items()}
    table.measure(case.name, case.unit, case.count, trials, case.bigger)


def drain(producer):
    while producer.more():
        pass


def producer_trials(size):
    def prepare_producer(asynchat):
        return partial(drain, asynchat.simple_producer(bytes(size), 512))

    return {name: partial(prepare_producer, _common.load_asynchat(name)) for name in _common.asynchat_peers()}


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
            measure_case(table, case, peers)
        for at, (name, size) in enumerate(producers.items()):
            table.measure(name, "piece", size // 512, producer_trials(size), bigger=at > 0)
    if options.json:
        _common.write_json(options.json, "framing", table.rows)


if __name__ == "__main__":
    main()
