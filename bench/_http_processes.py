"""The processes of the web servers that bench_http.py measures, their CPU time and responses; and nginx, in C."""

import contextlib
import http.client
import importlib.util
import io
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from importlib import metadata

import _http_servers
from _http_cases import HOST, KIB, PLAIN
from _http_servers import AS_IT_COMES, FAST, PEERS, STDLIB

import asynchat_fast

NGINX = "nginx"

NGINX_CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
{modules}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    sendfile on;
    tcp_nopush on;
    default_type "{type}";
    client_body_temp_path {directory}/client_body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_body_in_single_buffer on;
    server {{
        listen {host}:{port} backlog=1024;
        root {directory};
        set $kib {kib};
        location = / {{ return 200 ok; }}
        location = /page {{ return 200 {page}; }}
        {echo}
    }}
}}
"""
NGINX_ECHO = "/usr/lib/nginx/modules/ngx_http_echo_module.so", "/usr/share/nginx/modules/ngx_http_echo_module.so"


def nginx_command(port, directory):
    """Return the command that runs nginx: one process, the pages from memory, and the echo if that module is here."""
    echo = next(filter(os.path.exists, NGINX_ECHO), None)
    configuration = NGINX_CONFIGURATION.format(
        directory=directory,
        host=HOST,
        port=port,
        type=PLAIN,
        kib=KIB.decode(),
        page="$kib" * 10,
        modules=f"load_module {echo};" if echo else "",
        echo="location = /echo { echo_read_request_body; echo_request_body; }" if echo else "",
    )
    path = os.path.join(directory, "nginx.conf")
    with open(path, "w") as file:
        file.write(configuration)
    return ["nginx", "-c", path, "-e", os.path.join(directory, "nginx.log")]


def available():
    """Return the names of the peers that are here, and of those that are not."""
    present, missing = [], []
    for name, (_, needed) in PEERS.items():
        (present if all(map(importlib.util.find_spec, needed)) else missing).append(name)
    (present if shutil.which(NGINX) else missing).append(NGINX)
    return present, missing


def version(name):
    """Return the version (str) of a peer."""
    if name == FAST:
        return asynchat_fast.__version__
    if name in (STDLIB, AS_IT_COMES):
        return platform.python_version()
    if name == NGINX:
        return subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr.rpartition("/")[2].strip()
    return metadata.version(name)


# Their processes


def processes():
    """Return the processes of this machine: number -> (that of the parent, the CPU seconds of both it and its dead)."""
    if not os.path.exists("/proc/self/stat"):
        lines = subprocess.check_output(["ps", "-A", "-o", "pid=,ppid=,time="], text=True).splitlines()
        return {int(pid): (int(parent), clock_seconds(clock)) for pid, parent, clock in map(str.split, lines)}
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
            found[int(pid)] = int(fields[1]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return found


def clock_seconds(clock):
    """Return the seconds in what ps shows as a time: "[[dd-]hh:]mm:ss[.ff]"."""
    days, _, clock = clock.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds + 86400 * int(days or 0)


class Server:
    """A peer, with the processes that it starts."""

    def __init__(self, name, directory):
        self.name = name
        with socket.create_server((HOST, 0)) as free:
            self.address = free.getsockname()
        port = self.address[1]
        if name == NGINX:
            command = nginx_command(port, directory)
        else:
            command = [sys.executable, _http_servers.__file__, name, str(port), directory]
        self.process = subprocess.Popen(command)

    def cpu_seconds(self):
        """Return the CPU time that all its processes have taken so far."""
        found, tree, total = processes(), [self.process.pid], 0.0
        for pid in tree:
            total += found[pid][1]
            tree += [child for child, (parent, _) in found.items() if parent == pid]
        return total

    def connect(self):
        connection = socket.create_connection(self.address, timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def wait_until_ready(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                self.connect().close()
                return
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"error: {self.name} does not serve")
                time.sleep(0.05)

    def response_size(self, case):
        """Return how many bytes a response has, head and all; ValueError if it is not the one that is due."""
        data = bytearray()
        with self.connect() as connection:
            connection.sendall(case.request())
            while (body := parsed(data, self.name == AS_IT_COMES)) is None:
                data += connection.recv(1 << 20) or refuse(f"{bytes(data[:100])!r} is not complete")
        if body != case.response():
            refuse(f"{bytes(data[:100])!r} is not the response that is due")
        return len(data)

    def check(self, case):
        """Have *case* answered once, and return the bytes of all responses to it; ValueError if something is wrong."""
        size = case.depth * self.response_size(case)
        with self.connect() as connection, connection.makefile("rb") as responses:
            connection.settimeout(2)
            connection.sendall(case.request() * case.depth)
            try:
                data = responses.read(size)
            except TimeoutError:
                data = b""
        if len(data) != size or len(re.findall(rb"HTTP/1\.[01] 200 ", data)) != case.depth:
            refuse(f"not all requests of {case.depth} at once are answered")
        return size

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def refuse(reason):
    raise ValueError(reason)


class Received(io.BytesIO):
    """What has been received of a response, in place of a socket."""

    def makefile(self, mode):
        return self


def parsed(data, may_close):
    """Return the body of the response that is in *data*; None if that is not all, ValueError if it is no good."""
    if b"\r\n\r\n" not in data:
        return None
    response = http.client.HTTPResponse(Received(data))
    try:
        response.begin()
        body = response.read()
    except http.client.HTTPException:
        return None
    if response.status != 200 or (response.will_close and not may_close):
        refuse(f"{bytes(data[:100])!r} is not what was asked for")
    return body
