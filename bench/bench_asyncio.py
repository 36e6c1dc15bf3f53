"""What a request costs a line server in an asyncio program, beside asynchat_fast's own loop, in one run.

    python bench/bench_asyncio.py [--quick] [--only PEER ...] [--json FILE]

Embedded, on transports, and a raw Protocol, each on asyncio's loop and on uvloop.  The figures are those of
bench_loop.py, the server process's own CPU time for a request: with 50 connections that ask one "PING" at a time,
and with 50 that ask 16 at once.  Then, how late a timer of 1 ms is in asyncio's loop, beside an embedded map whose
200 connections are never without input.
"""

import asyncio
import importlib.util
import os
import socket
import time

import _aio_servers
import _common
import _servers
from _common import figure
from bench_loop import CONNECTIONS, PIPELINED, run_busy

FLOODED = 200  # connections
LINES = _servers.PING * 64  # that each event brings


def print_table(title, best, at_once):
    ours = best.get((_common.FAST if at_once == 1 else _servers.COALESCED, at_once), (None,))[0]
    print(f"\n{title:<32}{'CPU us/request':>15}{'times loop()':>14}{'times protocol':>16}{'requests/s':>13}")
    for (name, of), (cpu, elapsed) in best.items():
        if of != at_once:
            continue
        loop, _, way = name.partition(" ")
        raw = best.get((f"{loop} protocol, at once" if "at once" in way else f"{loop} protocol", at_once), (None,))[0]
        ratios = [f"{cpu / each:.2f}" if each else "" for each in (ours, raw)]
        print(f"  {name:<30}{figure(1e6 * cpu):>15}{ratios[0]:>14}{ratios[1]:>16}{figure(1 / elapsed):>13}")


async def lateness(seconds):
    """Return by how many seconds timers of 1 ms are late beside a flood, sorted."""
    from asynchat_fast import SocketMap, aio, async_chat, asyncore

    class Flooded(_servers.pong_class(async_chat)):
        coalesce_pushes = True

        def recv(self, size):  # and leave all there, so that the next event comes at once
            return LINES

        def send(self, data):
            return len(data)

    map = SocketMap()
    pairs = [socket.socketpair() for _ in range(FLOODED)]
    for ours, theirs in pairs:
        ours.setblocking(False)
        Flooded(ours, map)
        theirs.send(b"x")
    late = []
    async with aio.embedded(map):
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - now - 0.001)
    asyncore.close_all(map)
    for _, theirs in pairs:
        theirs.close()
    return sorted(late)


def measure_lateness(seconds):
    """Return the sorted lateness by loop."""
    measured = {"asyncio": asyncio.run(lateness(seconds))}
    if importlib.util.find_spec("uvloop"):
        import uvloop

        loop = uvloop.new_event_loop()
        measured["uvloop"] = loop.run_until_complete(lateness(seconds))
        loop.close()
    return measured


def write_rows(path, busy, late):
    rows = [
        {"peer": name, "connections": CONNECTIONS, "at_once": at_once, **_common.request_figures(each)}
        for (name, at_once), each in busy.items()
    ]
    rows += [
        {"loop": loop, "late_median": each[len(each) // 2], "late_99": each[int(len(each) * 0.99)]}
        for loop, each in late.items()
    ]
    _common.write_json(path, "asyncio", rows)


def main():
    parser = _common.arguments(__doc__)
    parser.add_argument("--only", nargs="+", metavar="PEER", help="only these peers, by the names in the tables")
    options = _common.parse(parser)
    rounds, seconds = (1, 0.2) if options.quick else (5, 1.0)
    _common.print_header(f"best of {rounds} rounds, {os.cpu_count()} processors")
    present, missing = _aio_servers.available()
    if missing:
        print(f"skipped, because not installed: {', '.join(missing)}")
    servers = {}
    try:
        for name in present:
            if not options.only or name in options.only:
                servers[name] = _aio_servers.start(name)
        busy = run_busy(servers, rounds, seconds)
    finally:
        for server in servers.values():
            server.stop()
    late = measure_lateness(2 * seconds)
    print_table(f"{CONNECTIONS} connections", _common.best_of(busy), 1)
    print_table(f"{CONNECTIONS} connections, {PIPELINED} at once", _common.best_of(busy), PIPELINED)
    print(f"\n{'a timer of 1 ms beside a flood':<32}{'late by ms, median':>20}{'99 %':>8}")
    for loop, each in late.items():
        print(f"  {loop:<30}{1e3 * each[len(each) // 2]:>20.2f}{1e3 * each[int(len(each) * 0.99)]:>8.2f}")
    if options.json:
        write_rows(options.json, busy, late)


if __name__ == "__main__":
    main()
