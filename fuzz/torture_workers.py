"""Random signals, crashes and hangs for workers under load: what is lost, left behind or not ended is an error.

    python fuzz/torture_workers.py [ROUNDS [SEED]]

Linux only.  Each round starts a program, has clients check each response, does a few terrible things to the processes,
and ends them in one of several ways.  Then there must be no process of its session, no file, and the exit status that
is due; of the requests, none may be lost but those that a killed process had accepted.
"""

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

WORKERS = 3
GRACE = 1
WORKER_TIMEOUT = 4
LATEST = 15  # seconds that anything may take
IN_HAND = 12  # connections that a killed process may have accepted: no more clients than that are there at once

PROGRAM = f"""\
import os, sys, time
from asynchat_fast import workers

sys.exit(workers.run("served:start", [("127.0.0.1", int(sys.argv[1])), "./own.{{worker}}.sock", "./shared.sock"],
    workers={WORKERS}, grace={GRACE}, worker_timeout={WORKER_TIMEOUT}, pid_file="pid", mode=0o600))
"""

SERVED = """\
import os, sys, time
from asynchat_fast.http import http_request_handler, http_server

class handler(http_request_handler):
    def do_GET(self):
        if self.path == "/hang":
            while True:
                time.sleep(60)
        if self.path == "/slow":
            time.sleep(0.1)
        self.respond(200, f"{os.getpid()} {self.path}".encode())

def start(sockets):
    try:
        print("boots", os.getpid(), flush=True)
    except OSError:
        pass
    time.sleep(%s)
    %s
    return [http_server(sock, handler) for sock in sockets]
"""
BROKEN = ["1 / 0", "sys.exit('no database')", "os._exit(9)", "os.kill(os.getpid(), 11)", "return None"]


class Client(threading.Thread):
    """Requests one after the other, to the port or a unix socket, on fresh connections or one that is kept."""

    def __init__(self, address, fresh):
        super().__init__(daemon=True)
        self.address, self.fresh = address, fresh
        self.outcomes = Counter()
        self.errors = []
        self.enough = False

    def connect(self):
        connection = http.client.HTTPConnection("a", timeout=LATEST)
        connection.sock = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        connection.sock.settimeout(LATEST)
        connection.sock.connect(self.address)
        return connection

    def run(self):
        connection = None
        while not self.enough:
            path = "/slow" if random.random() < 0.005 else f"/{self.outcomes['ok']}"
            reused = connection is not None
            try:
                connection = connection or self.connect()
                connection.request("GET", path)
                response = connection.getresponse()
                assert response.status == 200, response.status
                assert response.read().split()[1] == path.encode()
                self.outcomes["ok"] += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.errors.append(error)
                self.outcomes["lost, reused" if reused else "lost, fresh"] += 1
                time.sleep(0.01)
                connection = None
            if connection is not None and (self.fresh or connection.sock is None):
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


class Round:
    """A program, its clients, and what is done to them."""

    def __init__(self, directory, chance, port):
        self.directory, self.chance, self.port = directory, chance, port
        self.done = []
        self.killed = 0  # processes that may have had requests in hand
        self.write_code()
        Path(directory, "program.py").write_text(PROGRAM)
        tree = str(Path(__file__).resolve().parents[1])
        self.log = open(os.path.join(directory, "log"), "w+")  # noqa: SIM115 - as long as the round
        self.closed_pipe = chance.random() < 0.15
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "program.py", str(port)],
            cwd=directory,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([tree, directory]), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=writing if self.closed_pipe else self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may have it ignored
        )
        os.close(reading)  # with closed_pipe, nobody reads what they print
        os.close(writing)
        self.clients = []

    def write_code(self, boots="0", also="pass"):
        Path(self.directory, "new").write_text(SERVED % (boots, also))
        os.replace(os.path.join(self.directory, "new"), os.path.join(self.directory, "served.py"))

    def processes(self):
        """Return the processes of the session: number -> state."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
                state, _, _, session, *_ = file.read().rpartition(")")[2].split()
                if int(session) == self.process.pid:
                    found[int(pid)] = state
        return found

    def workers(self):
        return sorted(self.processes().keys() - {self.process.pid})

    def wait_for(self, condition, what):
        deadline = time.monotonic() + LATEST
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.processes()}"
            time.sleep(0.02)

    def serves(self):
        """Tell whether each worker responds."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            for number in range(WORKERS):
                with contextlib.closing(Client(f"own.{number}.sock", True).connect()) as connection:
                    connection.request("GET", "/")
                    connection.getresponse().read()
            return True
        return False

    def load(self):
        addresses = [("127.0.0.1", self.port)] * 3 + ["shared.sock", "own.0.sock"]
        self.clients = [Client(address, fresh) for address in addresses for fresh in (True, False)]
        for client in self.clients:
            client.start()

    # Terrible things

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def reload_twice(self):
        self.reload()
        self.reload()

    def reload_slow_code(self):
        self.write_code(boots="0.3")
        self.reload()

    def reload_broken_code(self):
        self.write_code(also=self.chance.choice(BROKEN))
        self.reload()

    def mend(self):
        self.write_code()

    def dump(self):  # which none of them handles
        self.process.send_signal(signal.SIGUSR1)

    def kill_a_worker(self):
        with contextlib.suppress(ProcessLookupError, IndexError):
            self.killed += 1
            os.kill(self.chance.choice(self.workers()), signal.SIGKILL)

    def kill_a_starting_worker(self):
        before = self.workers()
        self.reload()
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            if starting := set(self.workers()) - set(before):
                self.killed += 1  # it may have come up
                with contextlib.suppress(ProcessLookupError):
                    os.kill(starting.pop(), signal.SIGKILL)
                return

    def stop_a_worker(self):
        with contextlib.suppress(ProcessLookupError, IndexError):
            self.killed += 1  # as it will not be heard of
            os.kill(self.chance.choice(self.workers()), signal.SIGSTOP)

    def hang_a_worker(self):
        self.killed += 1
        with contextlib.suppress(OSError), contextlib.closing(Client(("127.0.0.1", self.port), True).connect()) as one:
            one.request("GET", "/hang")
            time.sleep(0.05)

    def end_a_worker(self):
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(self.chance.choice(self.workers()), signal.SIGTERM)

    def rest(self):
        time.sleep(self.chance.random() * 0.5)

    THINGS = (
        *(reload, reload_twice, reload_slow_code, reload_broken_code, mend, mend, dump, kill_a_worker),
        *(kill_a_starting_worker, stop_a_worker, hang_a_worker, end_a_worker, rest, rest, rest),
    )

    # Ends: each returns the exit statuses that are right, None for any

    def terminate(self):
        self.process.send_signal(self.chance.choice([signal.SIGTERM, signal.SIGINT]))
        return {0}

    def terminate_all(self):
        os.killpg(self.process.pid, self.chance.choice([signal.SIGTERM, signal.SIGINT]))
        return {0}

    def terminate_twice(self):
        self.terminate()
        self.process.send_signal(signal.SIGTERM)
        return {0, 1}  # they may have ended before

    def terminate_in_a_reload(self):
        self.reload()
        time.sleep(self.chance.random() * 0.2)
        return self.terminate()

    def kill(self):
        self.process.kill()
        return {-9}

    ENDS = (terminate, terminate, terminate_all, terminate_twice, terminate_in_a_reload, kill)

    def play(self):
        early = self.chance.random() < 0.2  # it is told to end while it starts
        if early:
            time.sleep(self.chance.random() * 0.6)
        else:
            self.wait_for(self.serves, "it does not serve")
            self.load()
            for _ in range(self.chance.randrange(1, 8)):
                self.do(self.chance.choice(self.THINGS))
                time.sleep(self.chance.choice([0, 0, 0.01, 0.1]))
            self.mend()
            if self.killed:  # what hangs may be killed at the end, too
                time.sleep(0.3)
        for client in self.clients:
            client.enough = True  # those that come after the end are refused
        for client in self.clients:
            client.join()
        statuses = self.do(self.chance.choice(self.ENDS))
        if early:
            statuses |= {-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, 1}  # it was still Python that started
        elif self.killed:
            statuses |= {1}  # a worker that hangs is killed in the end
        self.check(statuses, early)

    def do(self, thing):
        self.done.append(thing.__name__)
        return thing(self)

    def check(self, statuses, early):
        status = self.process.wait(LATEST)
        assert status in statuses, f"exit status {status}, and not in {statuses}"
        if status == -signal.SIGKILL:
            # Workers end by themselves, but for those that cannot, and that nobody is left to kill.
            for pid in self.workers() if {"stop_a_worker", "hang_a_worker"} & {*self.done} else ():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.wait_for(lambda: not self.processes(), "a process is left")
        left = {path.name for path in Path(self.directory).iterdir()} - {"log", "program.py", "served.py", "new"}
        assert not left or status < 0, f"left behind: {left}"
        total = sum((client.outcomes for client in self.clients), Counter())
        fresh, reused = total["lost, fresh"], total["lost, reused"]
        assert self.killed or not (fresh or reused), f"lost without a kill: {total} {self.errors()}"
        assert fresh + reused <= IN_HAND * self.killed, f"too many are lost: {total}"
        print(f"{'ended early' if early else dict(total)}, status {status}: {' '.join(self.done)}", flush=True)

    def errors(self):
        return [repr(error) for client in self.clients for error in client.errors][:5]

    def close(self):
        self.log.close()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    for number in range(rounds):
        chance = random.Random(seed + number)
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            played = Round(directory, chance, free_port())
            try:
                print(f"{seed + number}: ", end="", flush=True)
                played.play()
            except BaseException:
                print(json.dumps(played.done))
                text = Path(directory, "log").read_text()
                print(re.sub(r"^.* 200 .*\n", "", text, flags=re.M)[-6000:])
                raise
            finally:
                played.close()
                os.chdir("/")


if __name__ == "__main__":
    main()
