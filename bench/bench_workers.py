"""Worker processes: the requests that they lose, the CPU time of a request, and how even their load is, in one run.

    python bench/bench_workers.py [--quick] [--only PEER ...] [--json FILE]

Beside uvicorn, gunicorn and granian, whose configurations are printed.  A request is lost if a client that had a
connection gets no response, or a wrong one; half of the clients connect for each request, the others keep a connection.
The faults are: SIGKILL to a worker, several times; SIGHUP, which reloads; and SIGTERM, after which clients that are
refused a connection have lost nothing.  CPU time is that of all processes of a server together.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import _common
import _workers_servers
from _common import figure
from _http_processes import processes
from _workers_servers import ALONE, FAST, HOST

if os.name != "posix":
    sys.exit("skipped: workers take fork(), which this system has not")

FAULTS = {"kill": "SIGKILL", "reload": "SIGHUP", "stop": "SIGTERM"}
WORKERS = 3  # with a fault
BALANCED, LASTING = 4, 200  # workers, and connections
CLIENTS = 4  # of each kind


class Server:
    """The processes of the peer *name*, with *count* workers."""

    def __init__(self, name, count):
        self.count = count
        with socket.create_server((HOST, 0)) as free:
            self.port = free.getsockname()[1]
        bench = str(Path(__file__).parent)
        path = os.pathsep.join(filter(None, [bench, *sys.path]))
        self.process = subprocess.Popen(
            [sys.executable, *_workers_servers.arguments(name, self.port, count)],
            env=os.environ | {"PYTHONPATH": path},
            stderr=subprocess.DEVNULL,  # what they say of the faults
            start_new_session=True,
        )
        self.wait_until_ready(name)

    def tree(self):
        """Return the numbers of all its processes, and their CPU seconds."""
        found, tree, total = processes(), [self.process.pid], 0.0
        for pid in tree:
            total += found[pid][1] if pid in found else 0
            tree += [child for child, (parent, _) in found.items() if parent == pid]
        return tree, total

    def wait_until_ready(self, name):
        deadline, heard = time.monotonic() + 30, set()
        while len(heard) < self.count:
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"error: {name} does not serve by {self.count} workers: {heard}")
            with contextlib.suppress(OSError, IndexError):
                heard.add(self.ask())
        time.sleep(0.2)

    def ask(self, sock=None):
        """Return the number of the process that responds."""
        with contextlib.ExitStack() as stack:
            if sock is None:
                sock = stack.enter_context(socket.create_connection((HOST, self.port), 5))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while not data.partition(b"\r\n\r\n")[2]:
                data += sock.recv(65536) or b"\r\n\r\n "
        return int(data.split()[-2])

    def load(self, seconds, kind, clients=CLIENTS, pause=0.002):
        script = Path(__file__).with_name("_workers_load.py")
        command = [sys.executable, str(script), *map(str, (self.port, seconds, clients, kind, pause))]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def counted(load):
    return json.loads(load.communicate()[0])


def run_fault(name, fault, kills, pause):
    """Return what became of requests on fresh and on kept connections (dicts), and the exit status after SIGTERM."""
    server = Server(name, WORKERS)
    try:
        seconds = pause * (kills + 1 if fault == "kill" else 2)
        loads = [server.load(seconds, kind) for kind in ("fresh", "kept")]
        time.sleep(pause)
        if fault == "kill":
            for _ in range(kills):
                with contextlib.suppress(OSError, IndexError):
                    os.kill(server.ask(), signal.SIGKILL)
                time.sleep(pause)
        else:
            server.process.send_signal(getattr(signal, FAULTS[fault]))
        fresh, kept = map(counted, loads)
        status = None
        if fault == "stop":
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = server.process.wait(10)
        else:
            for each in (fresh, kept):  # after these, nobody is to be refused
                each["lost"] += each["refused"]
        return fresh, kept, status
    finally:
        server.stop()


def cpu_of_request(name, count, seconds):
    """Return the CPU seconds of a request on kept connections."""
    server = Server(name, count)
    try:
        before = server.tree()[1]
        right = counted(server.load(seconds, "kept", 8, 0))["right"]
        return (server.tree()[1] - before) / right
    finally:
        server.stop()


def balance(name):
    """Return how many lasting connections each worker has, the busiest first."""
    server = Server(name, BALANCED)
    try:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection((HOST, server.port), 5)) for _ in range(LASTING)]
            counts = Counter(map(server.ask, clients))
        return sorted(counts.values(), reverse=True) + [0] * (BALANCED - len(counts))
    finally:
        server.stop()


def print_faults(faults):
    title = f"lost of fresh / kept connections, {WORKERS} workers"
    print(f"\n{title:<46}", *(f"{signal:>12}" for signal in FAULTS.values()), f"{'responses':>12}{'exit status':>13}")
    for name, found in faults.items():
        cells = [f"{fresh['lost']} / {kept['lost']}" for fresh, kept, _ in found.values()]
        right = sum(each["right"] for fresh, kept, _ in found.values() for each in (fresh, kept))
        print(f"  {name:<44}", *(f"{cell:>12}" for cell in cells), f"{right:>12}{found['stop'][2]!s:>13}")


def print_cpu(cpu):
    print(f"\n{'CPU us of a request, kept connections':<46}{'times one process':>18}")
    for (name, count), seconds in cpu.items():
        ratio = f"{seconds / cpu[ALONE, 1]:.2f}" if (ALONE, 1) in cpu else ""
        print(f"  {f'{name}, workers: {count}' if name != ALONE else name:<36}{figure(1e6 * seconds):>8}{ratio:>18}")


def print_balance(balances):
    title = f"{LASTING} lasting connections, {BALANCED} workers"
    print(f"\n{title:<46}{'busiest, times the mean':>24}")
    for name, counts in balances.items():
        print(f"  {name:<30}{' '.join(map(str, counts)):>14}{max(counts) * BALANCED / LASTING:>24.2f}")


def measure_cpu(names, rounds, seconds):
    """Return the least CPU seconds of a request by (peer, workers), all measured in turns."""
    cases = [(ALONE, 1)] * (FAST in names) + [(name, count) for name in names for count in (1, 2)]
    found = {case: [] for case in cases}
    for _ in range(rounds):
        for name, count in cases:
            _common.progress(f"CPU: {name}, {count}")
            found[name, count].append(cpu_of_request(name, count, seconds))
    _common.progress()
    return {case: min(each) for case, each in found.items()}


def measure_faults(names, kills, pause):
    found = {name: {} for name in names}
    for name in names:
        for fault, sent in FAULTS.items():
            _common.progress(f"{sent}: {name}")
            found[name][fault] = run_fault(name, fault, kills, pause)
    _common.progress()
    return found


def write_rows(path, faults, cpu, balances):
    rows = [
        {"peer": name, "version": _workers_servers.version(name), "fault": FAULTS[fault], "fresh": fresh, "kept": kept}
        for name, found in faults.items()
        for fault, (fresh, kept, _) in found.items()
    ]
    rows += [{"peer": name, "workers": count, "cpu_us": round(1e6 * each, 2)} for (name, count), each in cpu.items()]
    rows += [{"peer": name, "connections": counts} for name, counts in balances.items()]
    _common.write_json(path, "workers", rows)


def main():
    parser = _common.arguments(__doc__)
    parser.add_argument("--only", nargs="+", metavar="PEER", help="only these peers, by the names in the tables")
    options = _common.parse(parser)
    kills, pause, rounds, seconds = (1, 0.7, 1, 0.5) if options.quick else (3, 2.5, 8, 1)
    _common.print_header(f"CPU: best of {rounds} rounds; {kills} x SIGKILL; {os.cpu_count()} processors")
    present, missing = _workers_servers.available()
    for name in missing:
        print(f"skipped: {name} is not installed")
    names = [name for name in present if not options.only or name in options.only]
    for name in names:
        print(f"{name} {_workers_servers.version(name) or ''}: {_workers_servers.configuration(name)}")
    faults = measure_faults(names, kills, pause)
    print_faults(faults)
    cpu = measure_cpu(names, rounds, seconds)
    print_cpu(cpu)
    balances = {name: balance(name) for name in names}
    print_balance(balances)
    if options.json:
        write_rows(options.json, faults, cpu, balances)


if __name__ == "__main__":
    main()
