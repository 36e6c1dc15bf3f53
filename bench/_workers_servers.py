"""The same small server, which tells its process, by asynchat_fast's workers and those of others.

``_workers_servers.py PORT COUNT`` serves by COUNT workers of asynchat_fast, and for 0 in one process without a parent.
"""

import importlib.util
import os
import sys
from importlib import metadata

HOST = "127.0.0.1"
GRACE = 5  # seconds
KEPT_ALIVE = 75  # seconds, for servers that would close connections earlier, and so lose requests of clients

FAST, ALONE = "asynchat_fast", "asynchat_fast, no parent"
_ADDRESS = f"--bind={HOST}:{{port}}"

# The arguments after "python -m"; each serves one request at a time, or several, in its best known configuration.
_OTHERS = {
    "gunicorn": f"gunicorn --worker-class=gthread --threads=4 --workers={{count}} --bind={HOST}:{{port}}"
    f" --keep-alive={KEPT_ALIVE} --graceful-timeout={GRACE} --log-level=error _workers_servers:wsgi",
    "uvicorn": f"uvicorn --workers={{count}} --host={HOST} --port={{port}} --timeout-keep-alive={KEPT_ALIVE}"
    f" --timeout-graceful-shutdown={GRACE} --no-access-log --log-level=error _workers_servers:asgi",
    "granian": f"granian --interface=asgi --workers={{count}} --host={HOST} --port={{port}}"
    f" --respawn-failed-workers --workers-kill-timeout={GRACE} --no-access-log --log-level=error _workers_servers:asgi",
}
PEERS = [FAST, *_OTHERS]


def available():
    """Return the names of the peers that are here, and of those that are not."""
    missing = [name for name in _OTHERS if importlib.util.find_spec(name) is None]
    return [name for name in PEERS if name not in missing], missing


def version(name):
    return metadata.version(name) if name in _OTHERS else None


def arguments(name, port, count):
    """Return the arguments of the Python that serves by peer *name*, a list of strs."""
    if name in _OTHERS:
        return ["-m", *_OTHERS[name].format(port=port, count=count).split()]
    return [__file__, str(port), str(0 if name == ALONE else count)]


def configuration(name):
    """Return how a peer is started, in a line."""
    if name in _OTHERS:
        return "python -m " + _OTHERS[name].format(port="PORT", count="N")
    return f"workers.run(start, [({HOST!r}, PORT)], workers=N, grace={GRACE})"


def wsgi(environ, start_response):
    body = f"{os.getpid()} {environ['PATH_INFO']}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":  # the program's start and end
        return
    body = f"{os.getpid()} {scope['path']}".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(port, count):
    from asynchat_fast import loop, workers
    from asynchat_fast.http import http_request_handler, http_server

    class Handler(http_request_handler):
        keep_alive_timeout = KEPT_ALIVE

        def do_GET(self):
            self.respond(200, f"{os.getpid()} {self.path}".encode())

    def start(sockets):
        return http_server(sockets[0], Handler)

    if count:
        sys.exit(workers.run(start, [(HOST, port)], workers=count, grace=GRACE))
    http_server((HOST, port), Handler)
    loop()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
