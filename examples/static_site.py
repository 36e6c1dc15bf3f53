"""A web site made of the files in a folder, with an error page of its own, and no page twice over the wire.

    python static_site.py [--host ADDRESS] [--port N] [DIRECTORY]

"/about" shows about.html, and "/news" leads to "/news/" where there is such a folder.  Browsers ask again, and are
told that nothing has changed, for pages; files in "assets" they may keep for a day.  Ctrl-C ends it when what was
asked for is sent, a second one at once.
"""

import argparse
import contextlib
import logging
import os
from html import escape
from urllib.parse import unquote

from asynchat_fast import loop
from asynchat_fast.http import file_handler, http_server

TYPES = {".html": "text/html; charset=utf-8"}  # pages that do not say their encoding themselves
FIELDS = [("Content-Security-Policy", "default-src 'self'")]
DAY = 86400  # seconds
PATIENCE = 10  # seconds that clients have at the end

ERROR_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<h1>{title}</h1>
<p>{text}
<p><a href="/">To the first page</a>
"""


class Site(file_handler):
    """A connection to the site in ``directory``."""

    list_directories = False
    log_format = "combined"
    content_types = TYPES
    extra_headers = FIELDS

    def do_GET(self):
        path, mark, query = self.path.partition("?")
        name = path.rpartition("/")[2]
        is_folder = os.path.isdir(os.path.join(self.directory, unquote(path).lstrip("/")))
        if name and "." not in name and not is_folder:
            self.path = f"{path}.html{mark}{query}"
        super().do_GET()

    def respond(self, status, body=b"", headers=(), content_type=None):
        keeps = status in (200, 206, 304) and self.path.startswith("/assets/")
        cache = f"max-age={DAY}" if keeps else "no-cache"
        super().respond(status, body, [*headers, ("Cache-Control", cache)], content_type)

    def error_page(self, code, message=None, explain=None):
        title = "There is no such page" if code == 404 else message or f"Error {code}"
        return ERROR_PAGE.format(title=escape(title), text=escape(explain or "Something went wrong."))


def serve(server):
    """Run until Ctrl-C, and then until the clients have what they asked for."""
    try:
        print("listening at {}, port {}".format(*server.addr), flush=True)
        loop()
    except KeyboardInterrupt:
        server.shut_down(PATIENCE)
        with contextlib.suppress(KeyboardInterrupt):
            loop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="the port, 0 for any that is free (8000)")
    parser.add_argument("directory", nargs="?", default=".", metavar="DIRECTORY", help="the folder (the current one)")
    options = parser.parse_args()
    if not os.path.isdir(options.directory):
        parser.error(f"{options.directory} is not a directory")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    Site.directory = options.directory
    server = http_server((options.host, options.port), Site, max_connections=1000)
    serve(server)
    print("closed")


if __name__ == "__main__":
    main()
