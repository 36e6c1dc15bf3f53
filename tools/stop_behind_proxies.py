"""Stop and start two servers in turn behind HAProxy and nginx, while clients check each response; none may fail.

    python tools/stop_behind_proxies.py [--requests N] [--clients N] [--stops N] [haproxy] [nginx]

The servers and the configurations of the proxies are those of docs/production.md as they stand, but for the ports.
What became of the requests is printed, and the exit status is 1 if one of them failed.
"""

import argparse
import collections
import contextlib
import http.client
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 30  # seconds
NGINX = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events {{}}
http {{
access_log off;
client_body_temp_path body;
proxy_temp_path proxy;
fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi;
scgi_temp_path scgi;
{}
}}
"""


def blocks():
    """Return the texts of the files in the documentation, by name."""
    page = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", page, re.M | re.S))


def free_ports(count):
    """Return ports that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"{what} has not happened in {PATIENCE} seconds")
        time.sleep(0.02)


def is_well(port, path="/healthz"):
    """Tell whether a server at *port* answers with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Server:
    """The service of the documentation, at a port."""

    def __init__(self, directory, port):
        self.directory = directory
        self.port = port
        self.start()

    def start(self):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "service.py", str(self.port)]
        self.process = subprocess.Popen(  # noqa: S603 - the service of the documentation
            command, cwd=self.directory, env=environment, stderr=subprocess.DEVNULL
        )
        until(lambda: is_well(self.port), "the start of a server")

    def stop(self):
        """End it gracefully, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def start_proxy(name, configuration, directory, port, backs):
    """Return the process of the proxy, which listens at *port* before servers at the ports *backs*."""
    program = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        return None
    for number, back in zip(("8001", "8002"), backs, strict=True):
        configuration = configuration.replace(f":{number}", f":{back}")
    if name == "haproxy":
        configuration = configuration.replace("bind :8080", f"bind 127.0.0.1:{port}")
        command = [program, "-db", "-f", "proxy.conf"]
    else:
        configuration = NGINX.format(configuration.replace("listen 8080", f"listen 127.0.0.1:{port}"))
        command = [program, "-p", directory, "-c", os.path.join(directory, "proxy.conf"), "-e", "stderr"]
    Path(directory, "proxy.conf").write_text(configuration, encoding="utf-8")
    process = subprocess.Popen(  # noqa: S603 - the proxy that was found
        command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: is_well(port, "/first"), f"the start of {name}")
    return process


class Clients:
    """Threads that make requests on kept connections, one in ten by POST, and count what becomes of them."""

    def __init__(self, port, count):
        self.port = port
        self.counts = collections.Counter()
        self.made = itertools.count()
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        while not self.is_over.is_set():
            self.counts[self.ask(connection, next(self.made))] += 1
            time.sleep(0.002)

    def ask(self, connection, number):
        """Make a request, and return what became of it."""
        wanted = f"/{number}"
        try:
            if number % 10:
                connection.request("GET", wanted)
            else:
                connection.request("POST", "/", wanted)
            response = connection.getresponse()
            body = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return f"{type(error).__name__} ({'GET' if number % 10 else 'POST'})"
        if response.status != 200:
            return f"status {response.status} ({'GET' if number % 10 else 'POST'})"
        return "ok" if body == wanted else "wrong"

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(PATIENCE)


def try_proxy(name, options):
    """Return what became of the requests, by count; None without the proxy."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        for file, text in blocks().items():
            Path(directory, file).write_text(text, encoding="utf-8")
        port, *backs = free_ports(3)
        servers = [Server(directory, back) for back in backs]
        for server in servers:
            stack.callback(lambda server=server: server.process.kill())
        configuration = blocks()["haproxy.cfg" if name == "haproxy" else "nginx.conf"]
        proxy = start_proxy(name, configuration, directory, port, backs)
        if proxy is None:
            return None
        stack.callback(proxy.wait)
        stack.callback(proxy.terminate)
        clients = Clients(port, options.clients)
        per_stop = options.requests // (options.stops + 1)
        for stop in range(options.stops):
            until(lambda stop=stop: sum(clients.counts.values()) > per_stop * (stop + 1), "a part of the requests")
            server = servers[stop % 2]
            status = server.stop()
            if status:
                clients.counts[f"a server ended with {status}"] += 1
            if stop + 1 < options.stops:
                server.start()
                time.sleep(2)  # HAProxy looks twice a second, and nginx leaves it alone for one
        until(lambda: sum(clients.counts.values()) >= options.requests, "the rest of the requests")
        clients.stop()
        return clients.counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proxies", nargs="*", choices=["haproxy", "nginx", []], help="the proxies (both)")
    parser.add_argument("--requests", type=int, default=22_000, metavar="N", help="at least (22000)")
    parser.add_argument("--clients", type=int, default=8, metavar="N", help="at the same time (8)")
    parser.add_argument("--stops", type=int, default=2, metavar="N", help="of the two servers in turn (2)")
    options = parser.parse_args()
    failed = False
    for name in options.proxies or ["haproxy", "nginx"]:
        counts = try_proxy(name, options)
        if counts is None:
            print(f"{name} is not installed", flush=True)
            continue
        print(f"{name}: " + ", ".join(f"{count} {what}" for what, count in counts.most_common()), flush=True)
        failed = failed or set(counts) != {"ok"}
    sys.exit(failed)


if __name__ == "__main__":
    main()
