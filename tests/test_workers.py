"""workers.run(): processes that are started, replaced and ended, with nothing lost and nothing left behind."""

import contextlib
import errno
import http.client
import json
import os
import queue
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast import workers
from asynchat_fast.workers.slots import Slots

if os.name != "posix":
    pytest.skip("workers take fork()", allow_module_level=True)

PATIENCE = 20  # seconds; a wait takes milliseconds unless something hangs
ANY_PORT = ("127.0.0.1", 0)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux balances by SO_REUSEPORT")

PROGRAM = """\
import json, os, signal, sys, time
import asynchat_fast.workers.limits
from asynchat_fast import workers
from asynchat_fast.http import http_request_handler, http_server

health = None


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once, as several processes share the output


class handler(http_request_handler):
    def do_GET(self):
        if self.path == "/hang":
            say("hangs")
            while True:
                time.sleep(60)
        if self.path == "/close":
            self.server.close()
        self.respond(200, f"{os.getpid()} {self.path}".encode())


def start(sockets):
    signal.signal(signal.SIGUSR1, lambda number, frame: say("told", os.getpid()))
    say("worker", json.dumps([os.getpid(), sys.stdin.read(), [sock.getsockname() for sock in sockets]]))
    return [http_server(sock, handler, health=health) for sock in sockets]


def fail(sockets):
    raise SystemExit("no database")


def start_late(sockets):
    say("boots", sockets[0].getsockname()[1])
    while not os.path.exists("go"):
        time.sleep(0.01)
    return start(sockets)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    addresses = [tuple(each) if isinstance(each, list) else each for each in options.pop("addresses")]
    health = options.pop("health", None)
    named = options.pop("start", "start")
    named = named if ":" in named else globals()[named]
    workers.limits._KILLED_AFTER = options.pop("killed_after", 2)
    sys.exit(workers.run(named, addresses, **options))
"""


class Service:
    """A process that has called run(), and what it and its workers print and tell the service manager."""

    count = 0

    def __init__(self, command, environment=None, pass_fds=()):
        Service.count += 1
        manager = f"manager.{self.count}"
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.settimeout(PATIENCE)
        self.manager.bind(manager)
        path = os.pathsep.join([str(Path(asynchat_fast.__file__).parents[1]), os.getcwd()])
        self.process = subprocess.Popen(
            command,
            env=os.environ
            | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "NOTIFY_SOCKET": manager}
            | {"PYTHONWARNINGS": "ignore::RuntimeWarning"}  # that nothing is compiled here
            | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a group of its own, to be sent signals
            pass_fds=pass_fds,
        )
        self.lines = queue.Queue()
        self.printed = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def line(self, pattern):
        """Return the match of the next line that has *pattern*."""
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                pytest.fail(f"there is no {pattern!r} in {self.printed}")
            assert line is not None, f"it has ended, without {pattern!r}: {self.printed}"
            self.printed.append(line)
            if found := re.search(pattern, line):
                return found

    def worker(self):
        """Return the number of the next worker that starts, and its addresses."""
        # Not always at the beginning of a line: a process that is aborted writes its own in pieces.
        pid, stdin, addresses = json.loads(self.line(r"worker (\[.*)")[1])
        assert stdin == ""
        return pid, [tuple(each) if isinstance(each, list) else each for each in addresses]

    def pids(self, count):
        return {self.worker()[0] for _ in range(count)}

    def told(self, state):
        """Return what the service manager is told next that begins with *state*."""
        while True:
            told = self.manager.recv(1000).decode()
            if told.startswith(state):
                return told

    def send(self, number):
        self.process.send_signal(number)

    def ended(self):
        """Return the exit status once all processes, which share the output, have ended."""
        status = self.process.wait(PATIENCE)
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                pytest.fail(f"a process is left: {self.printed}")
            if line is None:
                return status
            self.printed.append(line)

    def end(self, number=signal.SIGTERM):
        self.send(number)
        return self.ended()

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.manager.close()
        print(*self.printed)  # for the report of a test that fails


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that starts a program that calls run() with options, and returns its Service."""
    monkeypatch.chdir(tmp_path)  # names of sockets are to be short
    Path("program.py").write_text(PROGRAM)
    services = []

    def start(*addresses, environment=None, **options):
        options["addresses"] = addresses or [ANY_PORT]
        services.append(Service([sys.executable, "program.py", json.dumps(options)], environment))
        return services[-1]

    yield start
    for service in services:
        service.close()


def connect(address):
    connection = http.client.HTTPConnection("a", timeout=PATIENCE)
    if isinstance(address, str):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE)
        connection.sock.connect(address)
    else:
        connection.sock = socket.create_connection(address, PATIENCE)
    return connection


def ask(connection, path="/"):
    """Return the number of the process that responds."""
    connection.request("GET", path)
    pid, got = connection.getresponse().read().decode().split()
    assert got == path
    return int(pid)


def fetch(address, path="/"):
    with contextlib.closing(connect(address)) as connection:
        return ask(connection, path)


def fetch_from(pid, address):
    """Ask until process *pid* responds, and return those that did before: they accept until told to end."""
    others = set()
    while (other := fetch(address)) != pid:
        others.add(other)
    return others


class Load(threading.Thread):
    """Requests one after the other, on fresh connections or on one that is kept, each response checked."""

    def __init__(self, address, fresh):
        super().__init__()
        self.address = address
        self.fresh = fresh
        self.pids = Counter()
        self.lost = []
        self.enough = threading.Event()

    def run(self):
        connection = None
        while not self.enough.is_set():
            try:
                connection = connection or connect(self.address)
                self.pids[ask(connection, f"/{sum(self.pids.values())}")] += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.lost.append(error)
                connection = None
            if connection is not None and (self.fresh or connection.sock is None):
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.enough.set()
        self.join()


# Serving and ending


def test_all_serve_until_told_to_end(run):
    service = run(workers=2, pid_file="pid")
    first, (address,) = service.worker()
    second, addresses = service.worker()
    assert addresses == [address]  # the port is one that was free, and the same for all
    assert service.told("READY=1") == "READY=1\nSTATUS=2 workers"
    assert Path("pid").read_text() == f"{service.process.pid}\n"
    assert {fetch(address) for _ in range(50)} == {first, second}
    service.send(signal.SIGUSR1)
    assert {int(service.line("told (.*)")[1]) for _ in range(2)} == {first, second}
    assert service.end() == 0
    assert service.told("STOPPING=1")
    assert not Path("pid").exists()
    with pytest.raises(ConnectionRefusedError):
        fetch(address)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_ends_them_as_well(run, number):
    service = run(workers=2)
    service.told("READY=1")
    os.killpg(service.process.pid, number)
    assert service.ended() == 0


def test_requests_under_way_are_completed(run):
    service = run(workers=1)
    _, (address,) = service.worker()
    service.told("READY=1")
    with contextlib.closing(connect(address)) as connection:
        connection.putrequest("GET", "/")
        connection.endheaders()
        service.send(signal.SIGTERM)
        assert connection.getresponse().status == 200
    assert service.ended() == 0


def test_a_worker_that_does_not_end_is_killed(run):
    service = run(workers=1, grace=0.1, killed_after=0.1)
    pid, (address,) = service.worker()
    with contextlib.closing(connect(address)) as connection:
        connection.request("GET", "/hang")
        service.line("hangs")
        assert service.end() == 1
    assert [line for line in service.printed if f"worker {pid} has not ended in 0.2 seconds" in line]


def test_a_second_signal_kills(run):
    service = run(workers=2, grace=1000)
    _, (address,) = service.worker()
    with contextlib.closing(connect(address)) as connection:
        connection.request("GET", "/hang")
        service.line("hangs")
        service.send(signal.SIGTERM)
        service.told("STOPPING=1")
        assert service.end(signal.SIGINT) == 1


def test_workers_end_when_their_parent_is_gone(run):
    service = run(workers=2, worker_timeout=2)  # so that they beat often
    service.told("READY=1")
    service.process.kill()
    assert service.ended() == -signal.SIGKILL


# Failing


@pytest.mark.parametrize(
    ("start", "said"), [("fail", "no database"), ("program:nothing", "has no attribute"), ("none:start", "No module")]
)
def test_without_a_worker_that_comes_up_it_ends(run, start, said):
    service = run(workers=1, start=start, pid_file="pid")
    assert service.ended() == 3
    assert [line for line in service.printed if "no worker has come up in 3 attempts" in line]
    assert sum(said in line for line in service.printed) == 3
    assert not Path("pid").exists()


def test_told_to_end_while_it_starts(run):
    service = run(workers=1, start="start_late")
    port = int(service.line(r"boots (\d+)")[1])
    with contextlib.closing(connect(("127.0.0.1", port))) as connection:
        connection.request("GET", "/")
        service.send(signal.SIGTERM)
        service.told("STOPPING=1")
        Path("go").touch()
        assert connection.getresponse().status == 200
    assert service.ended() == 0


def test_told_to_end_while_it_does_not_start(run):
    service = run(workers=2, start="start_late", grace=0.1, killed_after=0.1)
    service.line("boots")
    service.line("boots")
    assert service.end() == 1


def test_a_worker_that_is_killed_is_replaced(run):
    service = run(workers=2)
    _, (address,) = service.worker()
    killed, _ = service.worker()
    service.told("READY=1")
    with Load(address, fresh=True) as fresh:
        os.kill(killed, signal.SIGKILL)
        successor, _ = service.worker()
        assert killed not in fetch_from(successor, address)
    assert len(fresh.lost) <= 1  # which it had accepted already
    assert [line for line in service.printed if f"worker {killed} was ended by signal 9" in line]
    assert service.end() == 0


def test_connections_that_wait_outlive_a_worker(run):
    service = run(workers=2)
    _, (address,) = service.worker()
    stopped, _ = service.worker()
    service.told("READY=1")
    os.kill(stopped, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(connect(address))) for _ in range(40)]
        for client in clients:
            client.request("GET", "/")
        os.kill(stopped, signal.SIGKILL)
        assert all(client.getresponse().status == 200 for client in clients)


def test_a_worker_that_hangs_is_replaced(run):
    service = run(workers=1, worker_timeout=1.5)
    pid, (address,) = service.worker()
    with contextlib.closing(connect(address)) as connection:
        connection.request("GET", "/hang")
        service.line(f"worker {pid} hangs")
        successor, _ = service.worker()
        assert fetch(address) == successor
    assert service.end() == 0
    assert "in do_GET" in "".join(service.printed)  # where it hung, told by that worker before or after its successor


def test_workers_are_not_to_blame_when_their_parent_was_stopped(run):
    service = run(workers=1, worker_timeout=3)  # which a worker meets on a busy machine, too
    pid, (address,) = service.worker()
    service.told("READY=1")
    service.send(signal.SIGSTOP)
    time.sleep(4)  # longer than the parent would have waited
    service.send(signal.SIGCONT)
    assert fetch(address) == pid
    assert service.end() == 0
    assert "hangs" not in "".join(service.printed)


def test_a_worker_that_serves_no_more_is_replaced(run):
    service = run(workers=1)
    _, (address,) = service.worker()
    fetch(address, "/close")
    service.line("has nothing to serve")
    service.line("ended with status 0; another is started$")
    successor, _ = service.worker()
    assert fetch(address) == successor


def test_a_worker_that_is_told_to_end_is_replaced_meanwhile(run):
    service = run(workers=1)
    pid, (address,) = service.worker()
    with contextlib.closing(connect(address)) as connection:
        assert ask(connection) == pid  # and it is kept
        os.kill(pid, signal.SIGTERM)
        successor, _ = service.worker()
        assert fetch_from(successor, address) <= {pid}
    assert service.end() == 0


# Reloading


def test_a_reload_replaces_all_and_loses_nothing(run):
    service = run(workers=2)
    (_, (address,)), _ = service.worker(), service.worker()
    service.told("READY=1")
    with Load(address, fresh=True) as fresh, Load(address, fresh=False) as kept:
        for _ in range(2):
            service.send(signal.SIGHUP)
            assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", service.told("RELOADING=1"))
            successors = service.pids(2)
            service.told("READY=1")
        while not successors <= {*fresh.pids}:
            fetch(address)
    assert (fresh.lost, kept.lost) == ([], [])
    assert service.end() == 0


def test_a_reload_brings_new_code_and_the_old_goes_on_if_that_is_broken(run):
    code = Path("code_of_workers.py")
    code.write_text("from program import start")
    service = run(workers=1, start="code_of_workers:start")
    old, (address,) = service.worker()
    service.told("READY=1")
    code.write_text("1/0")
    service.send(signal.SIGHUP)
    service.line("ZeroDivisionError")
    service.line(r"another is started in 0\.1 seconds")
    assert fetch(address) == old
    code.write_text("from program import start  # as it was")
    successor, _ = service.worker()  # without another signal
    service.told("READY=1")
    assert fetch_from(successor, address) <= {old}
    assert service.end() == 0


def test_told_to_end_while_it_reloads(run):
    code = Path("code_of_workers.py")
    code.write_text("from program import start")
    service = run(workers=1, start="code_of_workers:start")
    service.told("READY=1")
    code.write_text("from program import start_late as start")
    service.send(signal.SIGHUP)
    service.line("boots")
    service.send(signal.SIGHUP)  # a worker that does not come up is not waited for
    service.line("boots")
    Path("go").touch()
    service.told("READY=1")
    assert service.end() == 0


# Addresses


@on_linux
def test_lasting_connections_are_balanced(run):
    service = run(workers=4)
    _, (address,) = service.worker()
    service.told("READY=1")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(connect(address))) for _ in range(200)]
        counts = Counter(map(ask, clients))
    assert len(counts) == 4
    assert max(counts.values()) <= 75, counts


def test_workers_may_share_a_socket(run):
    service = run(workers=2, balance=False)
    pids = service.worker()[0], service.worker()[0]
    _, (address,) = json.loads(service.printed[-1].removeprefix("worker "))[1:]
    service.told("READY=1")
    os.kill(pids[0], signal.SIGSTOP)
    assert fetch(tuple(address)) == pids[1]
    os.kill(pids[0], signal.SIGCONT)
    assert service.end() == 0


def test_each_worker_may_have_an_address(run):
    service = run("./app.{worker}.sock", "./all.sock", workers=2, mode=0o600)
    served = [service.worker(), service.worker()]
    for pid, (own, shared) in served:
        assert fetch(own) == pid
        assert shared == "./all.sock"
        assert fetch(shared) in {pid for pid, _ in served}
        assert {stat.S_IMODE(os.stat(each).st_mode) for each in (own, shared)} == {0o600}
    assert sorted(own for _, (own, _) in served) == ["./app.0.sock", "./app.1.sock"]
    assert service.end() == 0
    assert not [*Path().glob("*.sock")]


def test_sockets_of_the_service_manager_are_served(run):
    with socket.create_server(ANY_PORT) as sock:
        address, fd = sock.getsockname(), sock.fileno()
        passed = f"import os; os.dup2({fd}, 3); os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))"
        command = [sys.executable, "-c", f"{passed}; exec(open('program.py').read())"]
        command.append(json.dumps({"addresses": ["./unused.sock"], "workers": 2}))
        with contextlib.closing(Service(command, pass_fds=[fd])) as service:
            assert service.worker()[1] == [address]
            assert fetch(address)
            assert service.end() == 0
    assert not Path("unused.sock").exists()


def test_a_second_start_is_told_that_the_address_is_in_use(run, tmp_path):
    service = run(workers=2, pid_file="pid")
    _, (address,) = service.worker()
    service.told("READY=1")
    with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1:{address[1]}: .*in use") as raised:
        workers.run(print, [address], workers=2)
    assert raised.value.errno == errno.EADDRINUSE
    with pytest.raises(OSError, match=rf"in use by process {service.process.pid}: 'pid'"):
        workers.run(print, [ANY_PORT], pid_file="pid")
    assert Path("pid").exists()
    service.process.kill()
    service.process.wait()
    again = run(workers=1, pid_file="pid")  # what a crash has left does not keep it from starting
    again.told("READY=1")
    assert Path("pid").read_text() == f"{again.process.pid}\n"


@pytest.mark.parametrize(
    ("addresses", "options", "error"),
    [
        ([ANY_PORT], {"workers": 0}, ValueError),
        ([ANY_PORT], {"workers": -1}, ValueError),
        ([ANY_PORT], {"grace": -1}, ValueError),
        ([ANY_PORT], {"drain": -1}, ValueError),
        ([ANY_PORT], {"worker_timeout": 0}, ValueError),
        ([ANY_PORT], {"worker_timeout": "30"}, TypeError),
        ([ANY_PORT], {"workers": 1.5}, TypeError),
        ([ANY_PORT], {"grace": "10"}, TypeError),
        ([ANY_PORT], {"mode": 0o660}, ValueError),
        ([ANY_PORT], {"start": "module"}, ValueError),
        ([ANY_PORT], {"start": None}, TypeError),
        ([], {}, ValueError),
        (ANY_PORT, {}, TypeError),
        ("./a.sock", {}, TypeError),
        (["nothing"], {}, ValueError),
        (["./a.sock", ("256.1.1.1", 0)], {}, OSError),
        (["./a.sock", ANY_PORT], {"pid_file": "no/such/directory"}, OSError),
    ],
)
def test_what_makes_no_sense(addresses, options, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        workers.run(options.pop("start", print), addresses, **options)
    assert not [*Path().iterdir()]


def test_a_device_is_no_pid_file_and_is_not_removed(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"no regular file: .*pipe"):
        workers.run(print, [ANY_PORT], pid_file=pipe)
    assert pipe.is_fifo()


@on_linux
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_what_has_begun_to_connect_before_the_end_is_accepted_and_no_more(count, host):
    with Slots([(host, 0)], count) as slots:
        address = ("127.0.0.1", slots[0][0].getsockname()[1])
        with socket.create_connection(address, PATIENCE) as client:
            slots.accept_no_more()
            with pytest.raises(TimeoutError):
                socket.create_connection(address, 0.05)
            client.sendall(b"request")
            (waiting,), _, _ = select.select([sock for (sock,) in slots], [], [], PATIENCE)
            accepted, _ = waiting.accept()
            with accepted:
                assert accepted.recv(100) == b"request"
                accepted.sendall(b"response")
            assert client.recv(100) == b"response"


def test_what_has_connected_to_a_unix_socket_before_the_end_is_accepted_and_no_more(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Slots(["./{worker}.sock"], 2) as slots, socket.socket(socket.AF_UNIX) as client:
        client.connect("1.sock")
        slots.accept_no_more()
        assert not [*Path().iterdir()]
        client.sendall(b"request")
        with slots[1][0].accept()[0] as accepted:
            assert accepted.recv(100) == b"request"
        with Slots(["./{worker}.sock"], 2):  # another program may begin meanwhile
            slots.__exit__()
            assert len([*Path().iterdir()]) == 2


# Behind a proxy

PROXY = """\
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend web
    bind 127.0.0.1:{port}
    default_backend web
{backend}
"""


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy here")
def test_haproxy_as_the_documentation_has_it_loses_nothing(run):
    page = Path(__file__).parents[1] / "docs" / "workers.md"
    if not page.exists():
        pytest.skip("these tests are not in a source tree, so there is no documentation")
    backend = re.search(r"^backend web\n(?: .*\n)+", page.read_text(encoding="utf-8"), re.M)[0]
    with socket.create_server(ANY_PORT) as free:
        address = free.getsockname()
    Path("haproxy.cfg").write_text(PROXY.format(port=address[1], backend=backend.replace("/run/web/", "")))
    service = run("./web.{worker}.sock", workers=4, mode=0o660, health="/healthz")
    workers_before = service.pids(4)
    service.told("READY=1")
    with subprocess.Popen(["haproxy", "-db", "-f", "haproxy.cfg"], stderr=subprocess.DEVNULL) as proxy:
        try:
            served = wait_for_one(address)
            with Load(address, fresh=True) as fresh, Load(address, fresh=False) as kept:
                service.send(signal.SIGHUP)
                successors = service.pids(4)
                service.told("READY=1")
                os.kill(min(successors), signal.SIGKILL)
                last, _ = service.worker()
                fetch_from(last, address)
        finally:
            proxy.kill()
    assert served in workers_before
    assert (fresh.lost, kept.lost) == ([], [])
    assert service.end() == 0


def wait_for_one(address):
    """Return the number of the process that responds, once a proxy listens."""
    while True:
        try:
            return fetch(address)
        except ConnectionRefusedError:
            time.sleep(0.01)


# The service manager and other parents


def test_a_file_at_the_number_of_a_closed_stdin_stays_open(tmp_path):
    program = """\
import os, sys
from asynchat_fast import workers
file = open("data", "rb")
assert file.fileno() == 0
sys.exit(workers.run(lambda sockets: os.write(1, os.pread(0, 9, 0)), [("127.0.0.1", 0)], workers=1))
"""
    (tmp_path / "data").write_text("the data\n")
    path = str(Path(asynchat_fast.__file__).parents[1])
    command = ["/bin/sh", "-c", 'exec "$0" -W ignore -c "$1" <&-', sys.executable, program]
    process = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert (process.returncode, process.stdout) == (3, "the data\n" * 3)


def test_the_watchdog_is_told_that_a_worker_serves(run):
    service = run(workers=1, environment={"WATCHDOG_USEC": "1000000"}, worker_timeout=3)
    service.told("WATCHDOG=1")
    service.send(signal.SIGHUP)
    service.told("WATCHDOG=1")


def test_the_watchdog_is_told_twice_within_its_time(run):
    service = run(workers=1, environment={"WATCHDOG_USEC": "200000"})
    service.told("READY=1")
    began = time.monotonic()
    for _ in range(5):
        service.told("WATCHDOG=1")
    assert time.monotonic() - began < 5 * 0.2


@pytest.mark.parametrize("asked", ["0", "", "soon"])
def test_a_watchdog_that_is_none_is_told_nothing(run, asked):
    service = run(workers=1, environment={"WATCHDOG_USEC": asked})
    service.told("READY=1")
    assert service.end() == 0
    assert service.manager.recv(1000) == b"STOPPING=1"
