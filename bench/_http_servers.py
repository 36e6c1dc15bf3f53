"""The same web server by asynchat_fast.http and its peers that are Python programs.

All give the same bodies under the same paths: 2 bytes, 10 KiB, what was posted, and a file of 1 MiB.
``_http_servers.py PEER PORT DIRECTORY`` serves by one of them.
"""

import asyncio
import importlib.util
import logging
import os
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from _http_cases import FILE, FILE_SIZE, HOST, PAGES, PLAIN

FAST, STDLIB, UVICORN = "asynchat_fast", "http.server", "uvicorn"
AS_IT_COMES = "http.server, HTTP/1.0"  # which is its default: a connection and a thread for each request
KEPT_ALIVE = 75  # seconds, for servers that would close connections earlier


# The servers: functions of the port, and the directory that has the file


def serve_asynchat_fast(port, directory):
    from asynchat_fast import loop
    from asynchat_fast.http import http_server
    from asynchat_fast.http.files import file_handler

    class Handler(file_handler):
        def do_GET(self):
            page = PAGES.get(self.path)
            if page is None:
                super().do_GET()
            else:
                self.respond(200, page)

        def do_POST(self):
            self.respond(200, self.body)

    Handler.directory = directory
    http_server((HOST, port), Handler)
    loop()


def serve_stdlib(port, directory, version="HTTP/1.1"):
    class Handler(SimpleHTTPRequestHandler):
        protocol_version = version
        wbufsize = -1  # head and body leave together
        disable_nagle_algorithm = True

        def __init__(self, *args):
            super().__init__(*args, directory=directory)

        def log_message(self, *args):
            pass

        def do_GET(self):
            page = PAGES.get(self.path)
            if page is None:
                super().do_GET()
            else:
                self.respond(page)

        def do_POST(self):
            self.respond(self.rfile.read(int(self.headers["Content-Length"])))

        def respond(self, body):
            self.send_response(200)
            self.send_header("Content-Type", PLAIN)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        request_queue_size = 1024

        def handle_error(self, request, client_address):
            pass  # a client that has what it wants resets the connection

    Server((HOST, port), Handler).serve_forever()


def wsgi_application(directory):
    path = os.path.join(directory, FILE)

    def application(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        else:
            body = PAGES.get(environ["PATH_INFO"])
        length = FILE_SIZE if body is None else len(body)
        start_response("200 OK", [("Content-Type", PLAIN), ("Content-Length", str(length))])
        return environ["wsgi.file_wrapper"](open(path, "rb")) if body is None else [body]

    return application


def serve_waitress(port, directory):
    import waitress

    waitress.serve(wsgi_application(directory), host=HOST, port=port, backlog=1024, _quiet=True)


def serve_gunicorn(port, directory):
    from gunicorn.app.base import BaseApplication

    class Application(BaseApplication):
        def load_config(self):
            settings = {"bind": f"{HOST}:{port}", "worker_class": "gthread", "workers": 1, "threads": 8}
            for name, value in {**settings, "keepalive": KEPT_ALIVE, "loglevel": "critical"}.items():
                self.cfg.set(name, value)

        def load(self):
            return wsgi_application(directory)

    Application().run()


def serve_tornado(port, directory):
    from tornado import web

    class Page(web.RequestHandler):
        def get(self, path):
            self.finish(PAGES[path])

        def compute_etag(self):
            return None

    class Echo(web.RequestHandler):
        def post(self):
            self.finish(self.request.body)

        def compute_etag(self):
            return None

    async def main():
        files = r"/(file\.bin)", web.StaticFileHandler, {"path": directory}
        rules = [(r"(/|/page)", Page), ("/echo", Echo), files]
        web.Application(rules, log_function=lambda handler: None).listen(port, HOST, backlog=1024)
        await asyncio.Event().wait()

    run_on_uvloop(main())


def serve_aiohttp(port, directory):
    from aiohttp import web

    path = os.path.join(directory, FILE)

    async def respond(request):
        if request.method == "POST":
            return web.Response(body=await request.read())
        page = PAGES.get(request.path)
        return web.FileResponse(path) if page is None else web.Response(body=page)

    async def main():
        runner = web.ServerRunner(web.Server(respond, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, HOST, port, backlog=1024).start()
        await asyncio.Event().wait()

    run_on_uvloop(main())


def run_on_uvloop(coroutine):
    if importlib.util.find_spec("uvloop"):
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(coroutine)


def asgi_application(directory):
    path = os.path.join(directory, FILE)

    async def application(scope, receive, send):
        body = PAGES.get(scope["path"])
        if scope["method"] == "POST":
            more, body = True, b""
            while more:
                event = await receive()
                body += event["body"]
                more = event.get("more_body")
        length = FILE_SIZE if body is None else len(body)
        fields = [(b"content-type", PLAIN.encode()), (b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        if body is None and "http.response.pathsend" in scope.get("extensions", ()):
            await send({"type": "http.response.pathsend", "path": path})
            return
        if body is None:
            with open(path, "rb") as file:
                body = file.read()
        await send({"type": "http.response.body", "body": body})

    return application


def serve_uvicorn(port, directory):
    import uvicorn

    uvicorn.run(
        asgi_application(directory),
        host=HOST,
        port=port,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="critical",
        timeout_keep_alive=KEPT_ALIVE,
    )


def serve_granian(port, directory):
    from granian import Granian

    server = Granian("_", HOST, port, interface="asginl", loop="uvloop", websockets=False, log_enabled=False)
    server.serve(target_loader=partial(asgi_application, directory), wrap_loader=False)


PEERS = {  # name -> (what serves, the modules that it takes)
    FAST: (serve_asynchat_fast, ()),
    STDLIB: (serve_stdlib, ()),
    AS_IT_COMES: (partial(serve_stdlib, version="HTTP/1.0"), ()),
    "waitress": (serve_waitress, ("waitress",)),
    "gunicorn": (serve_gunicorn, ("gunicorn", "fcntl")),
    "tornado": (serve_tornado, ("tornado",)),
    "aiohttp": (serve_aiohttp, ("aiohttp",)),
    UVICORN: (serve_uvicorn, ("uvicorn", "httptools", "uvloop")),
    "granian": (serve_granian, ("granian", "uvloop")),
}


if __name__ == "__main__":
    logging.disable()
    PEERS[sys.argv[1]][0](int(sys.argv[2]), sys.argv[3])
