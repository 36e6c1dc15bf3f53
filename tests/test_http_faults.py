"""What http_request_handler owes a client, its program and its log where something goes wrong; over real sockets."""

import contextlib
import io
import logging
import re
import socket
import struct
import tempfile
import time

import pytest

import asynchat_fast
from asynchat_fast import call_later, file_producer, loop
from asynchat_fast.http import http_request_handler, http_server

PATIENCE = 20  # seconds


def get(target="/", *fields, method="GET", version="1.1"):
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: a", *fields, "", ""]).encode()


class Site:
    """A server on the loopback, and its clients, which run its loop while they wait."""

    def __init__(self, map):
        self.map = map
        self.lines = []
        self.handlers = []
        self.clients = []

    def serve(self, do_get, **attributes):
        site = self

        class handler(http_request_handler):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                site.handlers.append(self)

            def do_GET(self):
                return do_get(self)

            do_PUT = do_GET

        for name, value in attributes.items():
            setattr(handler, name, value)
        self.server = http_server(("127.0.0.1", 0), handler, log=self.lines.append, map=self.map)

    def dial(self, data=b"", receive_buffer=None):
        client = socket.socket()
        self.clients.append(client)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(self.server.addr)
        client.sendall(data)
        client.setblocking(False)
        return client

    def turn(self, timeout=0.01):
        loop(timeout, map=self.map, count=1)

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            self.turn()

    def receive(self, client, until=None):
        """Return what comes to *client* up to the end, or to where it matches *until*."""
        received = b""
        deadline = time.monotonic() + PATIENCE
        while not (until and re.search(until, received, re.DOTALL)):
            assert time.monotonic() < deadline, received
            self.turn()
            with contextlib.suppress(BlockingIOError):
                data = client.recv(1 << 20)
                if not data:
                    return received
                received += data
        return received

    def ask(self, *requests, until=None):
        return self.receive(self.dial(b"".join(requests)), until)


@pytest.fixture
def site():
    map = asynchat_fast.SocketMap()
    site = Site(map)
    yield site
    asynchat_fast.asyncore.close_all(map, ignore_all=True)
    for client in site.clients:
        client.close()


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def statuses(received):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", received)]


def logged(site):
    """Return status and bytes of each line of the access log."""
    return [tuple(line.rsplit(" ", 2)[1:]) for line in site.lines]


# Clients that are gone


@pytest.mark.parametrize("request_", [get(), b"bad\r\n\r\n", b"GET", b""])
def test_a_client_that_was_gone_before_accept_leaves_nothing(site, request_):
    site.serve(lambda self: self.respond(200, b"ok"))
    reset(site.dial(request_))
    site.until(lambda: site.handlers)
    site.until(lambda: len(site.map) == 1)  # the server itself


def test_a_socket_that_is_not_connected_is_closed_when_a_response_is_due(site):
    site.serve(lambda self: None)
    site.dial(get())
    site.until(lambda: site.handlers and site.handlers[0].handling)
    handler = site.handlers[0]
    handler.connected = False
    handler.respond(200, b"late")
    assert handler.socket is None or handler.socket.fileno() == -1


def test_the_look_at_the_deadlines_closes_a_socket_that_is_not_connected(site):
    site.serve(lambda self: None, head_timeout=0.1)
    site.dial(get())
    site.until(lambda: site.handlers and site.handlers[0].handling)
    site.handlers[0].connected = False
    site.until(lambda: len(site.map) == 1)
