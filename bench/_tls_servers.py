"""The servers on TLS that bench_tls.py measures, each in a process of its own.

A "PING" is answered by "+PONG", "FILE" by a large file, and a GET by "ok": by asynchat_fast's channels on their own TLS
or on that of asyncio's and uvloop's transports, by a raw Protocol there, and by programs that are TLS servers already.
"""

import asyncio
import importlib.util
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import _servers

__all__ = ["FILE", "PING", "PONG", "peers", "start"]

PING, PONG, FILE = b"PING\r\n", b"+PONG\r\n", b"FILE\r\n"
OURS, ON_ASYNCORE = "asynchat_fast", "asynchat_fast on asyncore"
ON_ASYNCIO, ON_UVLOOP = "the same on asyncio's ssl", "the same on uvloop's ssl"
ASYNCIO, UVLOOP = "asyncio protocol", "uvloop protocol"
UVICORN, REDIS, NGINX = "uvicorn on uvloop", "redis-server", "nginx"

NGINX_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/client_body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl backlog=1024;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        location / {{ return 200 ok; }}
    }}
}}
"""


def channel_classes(path):
    """Return a channel class for lines, and one for HTTP."""
    import asynchat_fast
    from asynchat_fast.http import http_request_handler

    class Pong(asynchat_fast.async_chat):
        coalesce_pushes = True

        def __init__(self, sock):
            super().__init__(sock)
            self.set_terminator(b"\r\n")

        def collect_incoming_data(self, data):
            self.incoming.append(data)

        def found_terminator(self):
            line = b"".join(self.incoming)
            self.incoming.clear()
            if line == b"PING":
                self.push(PONG)
            else:
                self.push_with_producer(asynchat_fast.file_producer(path.open("rb")))

    class Handler(http_request_handler):
        def do_GET(self):
            self.respond(200, b"ok")

    return Pong, Handler


def serve_asynchat_fast(lines, web, context, path, on_asyncore=False):
    import asynchat_fast
    from asynchat_fast.http import http_server

    pong, handler = channel_classes(path)
    asynchat_fast.chat_server(lines, pong, tls=context)
    http_server(web, handler, tls=context)
    if on_asyncore:
        asynchat_fast.asyncore.loop(use_poll=True)
    else:
        asynchat_fast.loop()


async def serve_transports(lines, web, context, path):
    from asynchat_fast import aio

    loop = asyncio.get_running_loop()
    pong, handler = channel_classes(path)
    server = await loop.create_server(aio.chat_protocol(pong), sock=lines, ssl=context)
    await loop.create_server(aio.chat_protocol(handler), sock=web, ssl=context)
    await server.serve_forever()


async def serve_protocol(lines, web, context, path):
    class Pong(asyncio.Protocol):
        rest = b""

        def connection_made(self, transport):
            self.transport = transport
            self.may_write = asyncio.Event()
            self.may_write.set()
            self.pause_writing, self.resume_writing = self.may_write.clear, self.may_write.set

        def data_received(self, data):
            *lines, self.rest = (self.rest + data).split(b"\r\n")
            if lines == [b"FILE"]:
                self.task = asyncio.ensure_future(self.send_file())
            elif lines:
                self.transport.write(PONG * len(lines))

        async def send_file(self):
            with path.open("rb") as file:
                while data := file.read(65536):
                    self.transport.write(data)
                    await self.may_write.wait()

    server = await asyncio.get_running_loop().create_server(Pong, sock=lines, ssl=context)
    await server.serve_forever()


async def serve_uvicorn(lines, web, paths):
    import uvicorn

    async def application(scope, receive, send):
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="critical",
        timeout_keep_alive=75,
        ssl_certfile=paths[0],
        ssl_keyfile=paths[1],
    )
    await uvicorn.Server(config).serve([web])


def serve(peer, paths, path, pipe):
    """Serve as *peer*, the work of a process; tell by *pipe* the ports, and the CPU seconds so far."""

    def tell():
        while True:
            pipe.recv()
            pipe.send(time.process_time())

    lines, web = (socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2))
    for listener in (lines, web):
        listener.setblocking(False)
    pipe.send((lines.getsockname(), web.getsockname()))
    Thread(target=tell, daemon=True).start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    run = asyncio.run
    if peer in (ON_UVLOOP, UVLOOP, UVICORN):
        import uvloop

        run = uvloop.run
    if peer in (OURS, ON_ASYNCORE):
        serve_asynchat_fast(lines, web, context, path, peer == ON_ASYNCORE)
    elif peer == UVICORN:
        run(serve_uvicorn(lines, web, paths))
    elif peer in (ON_ASYNCIO, ON_UVLOOP):
        run(serve_transports(lines, web, context, path))
    else:
        run(serve_protocol(lines, web, context, path))


class Server(_servers.PythonServer):
    """A process of this file."""

    def __init__(self, peer, paths, path):
        super().__init__(serve, peer, paths, path)
        self.address, self.web_address = self.address
        self.sends_files = peer != UVICORN
        if peer == UVICORN:
            self.address = None
        elif peer in (ASYNCIO, UVLOOP):
            self.web_address = None


class Program:
    """A program that serves on TLS in one process, by *command*, at *port*."""

    sends_files = False
    address = web_address = None

    def __init__(self, command, port):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.pid = self.process.pid
        for _ in range(100):
            time.sleep(0.05)
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                continue
            return
        sys.exit(f"error: {command[0]} does not start with TLS")

    def cpu_seconds(self):
        ticks = sum(map(int, Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def start_redis(paths, folder):
    port = free_port()
    options = {"tls-port": port, "port": 0, "tls-cert-file": paths[0], "tls-key-file": paths[1]}
    options |= {"tls-ca-cert-file": paths[0], "tls-auth-clients": "no", "save": "", "dir": folder}
    server = Program([REDIS, *(str(word) for name, value in options.items() for word in (f"--{name}", value))], port)
    server.address = "127.0.0.1", port
    return server


def start_nginx(paths, folder):
    port = free_port()
    text = NGINX_CONFIGURATION.format(folder=folder, port=port, certificate=paths[0], key=paths[1])
    (folder / "nginx.conf").write_text(text)
    server = Program([NGINX, "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")], port)
    server.web_address = "127.0.0.1", port
    return server


def start(peer, paths, path):
    """Start *peer* with the certificate and key at *paths*, and the file at *path*."""
    if peer == REDIS:
        return start_redis(paths, path.parent)
    return start_nginx(paths, path.parent) if peer == NGINX else Server(peer, paths, path)


def peers():
    """Return the names of the peers that are here, and of those that are not."""
    needed = {ON_UVLOOP: ["uvloop"], UVLOOP: ["uvloop"], UVICORN: ["uvicorn", "uvloop", "httptools"]}
    is_here = dict.fromkeys((OURS, ON_ASYNCORE, ON_ASYNCIO, ON_UVLOOP, ASYNCIO, UVLOOP, UVICORN), True)
    is_here |= {peer: all(map(importlib.util.find_spec, modules)) for peer, modules in needed.items()}
    is_here |= {peer: shutil.which(peer) is not None for peer in (REDIS, NGINX)}
    return [peer for peer, here in is_here.items() if here], [peer for peer, here in is_here.items() if not here]
