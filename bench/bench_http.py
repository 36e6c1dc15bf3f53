"""What a request costs a web server, by asynchat_fast.http and its peers, in one run.

    python bench/bench_http.py [--quick] [--only PEER ...] [--json FILE]

The figures are the server's own CPU time for a request, system calls and all its processes and
threads included, and the requests a second, the best of several rounds in turns: of 50 connections
that ask for 2 bytes, 10 KiB, or what they post, one request at a time, or for 2 bytes 16 times at
once, and of 8 connections that ask for a file of 1 MiB.

wrk asks, where it is installed, otherwise a client of our own.  CPU time is the figure to compare:
the requests a second are also as many as the client can make of them.  The servers are in
_http_servers.py, each in its best configuration of one process and without an access log; nginx is
what the same costs in C.  What is missing is named and left out, as is what a peer does not answer right.
"""

import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import _common
import _http_cases
import _http_processes
from _common import figure
from _http_cases import CASES
from _http_processes import NGINX
from _http_servers import STDLIB, UVICORN

WRK_SCRIPT = """\
local requests
init = function(args)
    requests = string.rep(wrk.format("{method}", "{path}", {{}}, {body}), {depth})
end
request = function() return requests end
"""


class Failed(Exception):
    """A measurement that says nothing, and why."""


def ask_by_wrk(server, case, size, seconds, script):
    """Ask *case* of a server for some *seconds*; return how many requests were answered."""
    host, port = server.address
    body = f'"{case.body.decode()}"' if case.body else "nil"
    script.write_text(WRK_SCRIPT.format(method=case.method, path=case.path, body=body, depth=case.depth))
    command = ["wrk", "-t1", f"-c{case.connections}", f"-d{seconds}s", "-s", str(script), f"http://{host}:{port}/"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10 * seconds + 60).stdout
    if errors := re.search("Socket errors.*|Non-2xx.*", output):
        raise Failed(errors[0])
    return int(re.search("([0-9]+) requests in", output)[1])


def ask_by_ourselves(server, case, size, seconds):
    """Do as ``ask_by_wrk()`` does, where a response of *size* bytes is one to all requests at once."""
    request, answered, end = case.request() * case.depth, 0, time.perf_counter() + seconds
    with selectors.DefaultSelector() as selector, ExitStack() as connections:
        for _ in range(case.connections):
            connection = connections.enter_context(server.connect())
            selector.register(connection, selectors.EVENT_READ, [size])
            connection.sendall(request)
        while time.perf_counter() < end:
            for key, _ in selector.select(10) or fail("nothing is answered any more"):
                key.data[0] -= len(key.fileobj.recv(1 << 20)) or fail("a connection was closed")
                if not key.data[0]:
                    answered += case.depth
                    key.data[0] = size
                    key.fileobj.sendall(request)
    return answered


def fail(reason):
    raise Failed(reason)


def measure(server, case, ask, size, seconds):
    """Return the server's CPU seconds and the elapsed seconds of a request."""
    cpu, start = server.cpu_seconds(), time.perf_counter()
    count = ask(server, case, size, seconds) or fail("nothing was answered")
    elapsed = time.perf_counter() - start
    return (server.cpu_seconds() - cpu) / count, elapsed / count


def check_all(servers, cases):
    """Return the bytes of a response by peer and case, of those whose responses are right; tell of the others."""
    sizes = {}
    for name, server in servers.items():
        for title in cases:
            try:
                sizes[name, title] = server.check(CASES[title])
            except (OSError, ValueError) as error:
                print(f"skipped: {name}, {title}: {error}")
    return sizes


def run(servers, sizes, ask, rounds, seconds):
    """Return the CPU and elapsed seconds of a request in each round, by peer and case; all peers take turns."""
    rounds_of, failures = defaultdict(list), {}
    for turn in range(rounds):
        for title, case in CASES.items():
            for name, server in servers.items():
                if (name, title) not in sizes:
                    continue
                _common.progress(f"round {turn + 1} of {rounds}, {title}: {name} ...")
                try:
                    measured = measure(server, case, ask, sizes[name, title], seconds)
                except Failed as failure:
                    failures[name, title] = failure
                else:
                    rounds_of[name, title].append(measured)
    _common.progress()
    for (name, title), failure in failures.items():
        print(f"a round of {name}, {title}, does not count: {failure}")
    return rounds_of


def print_table(title, best):
    references = [best.get((name, title), (None,))[0] for name in (STDLIB, UVICORN, NGINX)]
    heads = "CPU us/request", "less than http.server", "times uvicorn", "times nginx", "requests/s"
    print(f"\n{title:<28}{heads[0]:>15}{heads[1]:>23}{heads[2]:>15}{heads[3]:>13}{heads[4]:>12}")
    for (name, of_title), (cpu, elapsed) in best.items():
        if of_title == title:
            less = _common.times_faster(references[0], cpu)
            uvicorn, nginx = (f"{cpu / other:.2f}" if other else "" for other in references[1:])
            print(f"  {name:<26}{figure(1e6 * cpu):>15}{less:>23}{uvicorn:>15}{nginx:>13}{figure(1 / elapsed):>12}")


def write_rows(path, measured, versions):
    rows = [
        {
            "peer": name,
            "version": versions[name],
            "case": title,
            "connections": CASES[title].connections,
            "at_once": CASES[title].depth,
            **_common.request_figures(each),
        }
        for (name, title), each in measured.items()
    ]
    _common.write_json(path, "http", rows)


def parse():
    parser = _common.arguments(__doc__)
    parser.add_argument("--only", nargs="+", metavar="PEER", help="only these peers, by the names in the tables")
    parser.add_argument("--case", nargs="+", type=int, metavar="N", help="only these tables, the first one being 1")
    options = _common.parse(parser)
    from asynchat_fast.http import COMPILED

    if not (COMPILED or options.allow_plain):
        sys.exit("error: the head parser of asynchat_fast.http is not compiled; --allow-plain measures the plain one")
    return options


def choose_peers(options):
    present, missing = _http_processes.available()
    if missing:
        print(f"skipped, because not installed: {', '.join(missing)}")
    return [name for name in present if not options.only or name in options.only]


def main():
    options = parse()
    rounds, seconds = (1, 1) if options.quick else (3, 3)
    found = _common.environment()
    print(f"{_common.machine(found)}; best of {rounds} rounds", end="; ")
    has_wrk = shutil.which("wrk") is not None
    print(f"requests by {'wrk' if has_wrk else 'a client of our own, as wrk is not installed'}")
    cases = [title for number, title in enumerate(CASES, 1) if not options.case or number in options.case]
    servers = {}
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, _http_cases.FILE).write_bytes(_http_cases.file_content())
        ask = partial(ask_by_wrk, script=Path(directory, "wrk.lua")) if has_wrk else ask_by_ourselves
        try:
            for name in choose_peers(options):
                servers[name] = _http_processes.Server(name, directory)
            for server in servers.values():
                server.wait_until_ready()
            versions = {name: _http_processes.version(name) for name in servers}
            print(", ".join(f"{name} {number}" for name, number in versions.items()))
            measured = run(servers, check_all(servers, cases), ask, rounds, seconds)
        finally:
            for server in servers.values():
                server.stop()
    for title in cases:
        print_table(title, _common.best_of(measured))
    if options.json:
        write_rows(options.json, measured, versions)


if __name__ == "__main__":
    main()
