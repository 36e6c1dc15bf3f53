"""What a request costs a line server, by asynchat_fast's loop() and its peers, in one run.

    python bench/bench_loop.py [--quick] [--only PEER ...] [--idle N ...] [--json FILE]

The figures are the server process's own CPU time for a request, system calls included, and
the requests a second, the best of several rounds in turns: with 50 connections that ask one
"PING" at a time, with 50 that ask 16 at once, and with one that asks while 10 to 10,000 others
are idle, as many as the limit of open files grants.  Then, what an idle connection adds to the
resident memory of the server.

redis-benchmark asks on the 50 connections, where it is installed, otherwise a client of our own;
the one among the idle is always our own.  CPU time is the figure to compare: the requests a second
are also as many as the client can make of them.  The servers are in _servers.py; those whose
packages are missing are named and left out.
"""

import contextlib
import os
import selectors
import shutil
import socket
import subprocess
import sys
import time
from collections import defaultdict

import _common
import _servers
from _common import figure
from _servers import PING, PONG

CONNECTIONS = 50
PIPELINED = 16
IDLE = (10, 100, 1000, 4000, 8000, 10000)
SPARE_DESCRIPTORS = 100
LONGEST = 60  # seconds for a client to have its responses


def raise_descriptor_limit():
    """Allow as many open files as may be, here and in the servers; return how many that are."""
    try:
        import resource
    except ModuleNotFoundError:
        return 512
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE[-1] + 1000
    limit = wanted if most == resource.RLIM_INFINITY else min(most, wanted)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connect(server):
    connection = socket.create_connection(server.address, timeout=LONGEST)
    _servers.send_at_once(connection)
    return connection


def ask_by_redis_benchmark(server, depth, requests):
    host, port = server.address
    command = ["redis-benchmark", "-h", host, "-p", str(port), "-c", str(CONNECTIONS), "-P", str(depth)]
    command += ["-n", str(requests), "-t", "ping_inline", "-q"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=LONGEST)


def ask_by_ourselves(server, depth, requests):
    """Send *depth* requests on each connection whenever those before are answered, *requests* in all."""
    size = depth * len(PONG)
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as connections:
        for _ in range(CONNECTIONS):
            connection = connections.enter_context(connect(server))
            selector.register(connection, selectors.EVENT_READ, [size, requests // CONNECTIONS // depth])
            connection.sendall(PING * depth)
        while selector.get_map():
            for key, _ in selector.select():
                connection, state = key.fileobj, key.data
                state[0] -= len(connection.recv(65536)) or sys.exit("error: a server has closed a connection")
                if not state[0]:
                    state[:] = size, state[1] - 1
                    if state[1]:
                        connection.sendall(PING * depth)
                    else:
                        selector.unregister(connection)


def ask_by_one(connection, seconds):
    """Ask one request after the other for some *seconds*; return how many."""
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(5):
            connection.sendall(PING)
            if connection.recv(100) != PONG:
                sys.exit("error: a server has not answered as it should")
        count += 5
    return count


def measure_busy(server, ask, depth, requests):
    """Return the server's CPU seconds and the elapsed seconds of a request."""
    cpu, start = server.cpu_seconds(), time.perf_counter()
    ask(server, depth, requests)
    elapsed = time.perf_counter() - start
    return (server.cpu_seconds() - cpu) / requests, elapsed / requests


def measure_one_active(server, seconds):
    with connect(server) as connection:
        ask_by_one(connection, seconds / 10)
        cpu, start = server.cpu_seconds(), time.perf_counter()
        count = ask_by_one(connection, seconds)
        elapsed = time.perf_counter() - start
        return (server.cpu_seconds() - cpu) / count, elapsed / count


def run_busy(servers, rounds, seconds):
    """Return the CPU and elapsed seconds of a request in each round, by peer and depth; all peers take turns."""
    ask = ask_by_redis_benchmark if shutil.which("redis-benchmark") else ask_by_ourselves
    measured, requests = defaultdict(list), {}
    for turn in range(rounds):
        for depth in (1, PIPELINED):
            for name, server in servers.items():
                _common.progress(f"round {turn + 1} of {rounds}, {depth} at once: {name} ...")
                if (name, depth) not in requests:  # as many as take that long
                    _, elapsed = measure_busy(server, ask, depth, 100 * CONNECTIONS * depth // 4)
                    unit = CONNECTIONS * depth
                    requests[name, depth] = max(int(seconds / elapsed) // unit, 1) * unit
                measured[name, depth].append(measure_busy(server, ask, depth, requests[name, depth]))
    _common.progress()
    return measured


def run_idle(servers, counts, rounds, seconds):
    """Return the CPU and elapsed seconds by peer and number of idle connections, and by peer the bytes of one."""
    measured, sizes = {}, {}
    for name, server in servers.items():
        before = _servers.resident(server.pid)
        idle = []
        for count in counts:
            _common.progress(f"one active among {count} idle: {name} ...")
            while len(idle) < count:
                idle.append(connect(server))
            measured[name, count] = [measure_one_active(server, seconds) for _ in range(rounds)]
        if before is not None and idle:
            sizes[name] = (_servers.resident(server.pid) - before) / len(idle)
        for connection in idle:
            connection.close()
    _common.progress()
    return measured, sizes


def print_table(title, best, key):
    reference, floor = (best.get((name, key), (None,))[0] for name in (_common.STDLIB, _servers.REDIS))
    print(f"\n{title:<30}{'CPU us/request':>15}{'less than stdlib':>18}{'times redis':>13}{'requests/s':>13}")
    for (name, of_key), (cpu, elapsed) in best.items():
        if of_key == key:
            redis = f"{cpu / floor:.2f}" if floor else ""
            less = _common.times_faster(reference, cpu)
            print(f"  {name:<28}{figure(1e6 * cpu):>15}{less:>18}{redis:>13}{figure(1 / elapsed):>13}")


def print_sizes(sizes):
    print(f"\n{'one idle connection':<30}{'resident bytes':>15}")
    for name, size in sizes.items():
        print(f"  {name:<28}{figure(size):>15}")


def write_rows(path, busy, idle, sizes):
    measured = [(name, CONNECTIONS, depth, 0, each) for (name, depth), each in busy.items()]
    measured += [(name, 1, 1, count, each) for (name, count), each in idle.items()]
    rows = [
        {
            "peer": name,
            "connections": connections,
            "at_once": at_once,
            "idle": count,
            **_common.request_figures(each),
        }
        for name, connections, at_once, count, each in measured
    ]
    rows += [{"peer": name, "bytes_per_idle_connection": size} for name, size in sizes.items()]
    _common.write_json(path, "loop", rows)


def parse():
    parser = _common.arguments(__doc__)
    parser.add_argument("--only", nargs="+", metavar="PEER", help="only these peers, by the names in the tables")
    parser.add_argument("--idle", nargs="+", type=int, metavar="N", help="how many are idle (10 to 10000), 0 for none")
    return _common.parse(parser)


def choose_idle(options):
    """Return how many idle connections to measure with, as the limit of open files grants; say if it does not."""
    limit = raise_descriptor_limit()
    wanted = [count for count in options.idle or (IDLE[:3] if options.quick else IDLE) if count]
    granted = [count for count in wanted if count <= limit - SPARE_DESCRIPTORS]
    if granted != wanted:
        print(f"no more than {limit:,} files may be open here, so there are fewer idle connections")
    return granted


def choose_peers(options):
    present, missing = _servers.available()
    if missing:
        print(f"skipped, because not installed: {', '.join(missing)}")
    return [name for name in present if not options.only or name in options.only]


def main():
    options = parse()
    rounds, seconds, idle_rounds = (1, 0.2, 1) if options.quick else (5, 1.0, 3)
    _common.print_header(f"best of {rounds} rounds, {os.cpu_count()} processors")
    counts = choose_idle(options)
    servers = {}
    try:
        for name in choose_peers(options):
            servers[name] = _servers.start(name)
        busy = run_busy(servers, rounds, seconds)
        idle, sizes = run_idle(servers, counts, idle_rounds, seconds / 2)
    finally:
        for server in servers.values():
            server.stop()
    print_table(f"{CONNECTIONS} connections", _common.best_of(busy), 1)
    print_table(f"{CONNECTIONS} connections, {PIPELINED} at once", _common.best_of(busy), PIPELINED)
    for count in counts:
        print_table(f"one active among {count:,} idle", _common.best_of(idle), count)
    print_sizes(sizes)
    if options.json:
        write_rows(options.json, busy, idle, sizes)


if __name__ == "__main__":
    main()
