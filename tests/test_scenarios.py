"""A program sees the same on asyncore's own loop, by select() and by poll(), and on ours.

A scenario is a function that makes objects in ``map``, has ``run(passes)`` serve them, and notes by ``say()``
their events.  It runs on both loops, in a process each where it forks, patches or waits for a signal; the notes
are compared.  Order among channels is free, and urgent data is told once by ours: scenarios do not depend on either.
"""

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast import SocketMap, asyncore

its_own_loop = asyncore.loop
scenarios = {}
OURS = {"SocketMap": SocketMap, "dict": dict}
LONGEST = 0.02  # seconds of a pass in which nothing happens

posix_only = pytest.mark.skipif(os.name != "posix", reason="pipes and terminals are served on POSIX only")
unix_only = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")


def scenario(*marks):
    """Add a function as a scenario."""

    def add(function):
        name = function.__name__.replace("_", " ")
        scenarios[name] = pytest.param(function, id=name, marks=marks)
        return function

    return add


class Stage:
    """One run of a scenario: a loop, a map, and the notes in ``said``."""

    def __init__(self, loop, map, use_poll):
        self.loop, self.map, self.use_poll = loop, map, use_poll
        self.said = []
        self.stack = contextlib.ExitStack()

    def say(self, *what):
        self.said.append(" ".join(str(each) for each in what))

    def run(self, passes=8, timeout=LONGEST):
        self.loop(timeout, self.use_poll, self.map, passes)

    def keep(self, closable):
        """Close *closable* after the scenario."""
        return self.stack.enter_context(closable)

    def pair(self):
        ours, theirs = socket.socketpair()
        return ours, self.keep(theirs)

    def tcp_pair(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = self.keep(socket.create_connection(listener.getsockname()))
            return listener.accept()[0], theirs

    def settled(self, sock):
        """Wait until *sock* has something to tell."""
        select.select([sock], [], [], 10)
        return sock

    def end(self):
        for channel in list(self.map.values()):
            with contextlib.suppress(Exception):
                asyncore.dispatcher.close(channel)
        self.map.clear()
        self.loop(0, map=self.map)
        self.stack.close()


class Told:
    """Notes the events of a dispatcher; a handler that the scenario names in ``fails`` raises after its note."""

    closes = True
    wants_to_write = False

    def __init__(self, stage, *args, **kwargs):
        self.stage = stage
        super().__init__(*args, map=stage.map, **kwargs)

    def writable(self):
        return self.wants_to_write

    def say(self, *what):
        self.stage.say(*what)

    def handle_connect(self):
        self.say("connect")

    def handle_read(self):
        data = self.recv(100)
        if data:
            self.say("read", data)
            self.took(data)

    def took(self, data):
        pass

    def handle_write(self):
        self.say("write")
        self.wants_to_write = False

    def handle_expt(self):
        self.say("expt")

    def handle_accepted(self, sock, address):
        self.say("accepted")
        sock.close()

    def handle_close(self):
        self.say("close")
        if self.closes:
            self.close()

    def handle_error(self):
        error = sys.exc_info()[1]
        self.say("error", type(error).__name__, getattr(error, "errno", ""))
        if self.closes:
            self.close()

    def log_info(self, message, type="info"):
        self.say("log", type)


class Plain(Told, asyncore.dispatcher):
    """A dispatcher."""


class Chat(Told, asynchat_fast.async_chat):
    """A channel for lines, which writes when something waits."""

    writable = asynchat_fast.async_chat.writable
    handle_read = asynchat_fast.async_chat.handle_read
    handle_write = asynchat_fast.async_chat.handle_write

    def __init__(self, stage, *args):
        super().__init__(stage, *args)
        self.set_terminator(b"\n")

    collect_incoming_data = asynchat_fast.async_chat._collect_incoming_data

    def found_terminator(self):
        line = self._get_data()
        self.say("line", line)
        self.took(line)


if os.name == "posix":

    class File(Told, asyncore.file_dispatcher):
        """A pipe or a terminal."""


both = pytest.mark.parametrize("kind", [Plain, Chat])


def refused_address(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


# Pipes and terminals


@scenario(posix_only)
def end_of_a_pipe(stage):
    near, far = os.pipe()
    File(stage, near)
    os.close(near)
    os.write(far, b"x")
    os.close(far)
    stage.run()


@scenario(posix_only)
def end_of_a_pipe_after_a_pause(stage):
    near, far = os.pipe()
    reader = File(stage, near)
    os.close(near)
    reader.readable = lambda: False
    os.write(far, b"x" * 150)
    os.close(far)
    stage.run(3)
    stage.say("paused")
    reader.readable = lambda: True
    stage.run()


@scenario(posix_only)
def pipe_whose_reader_has_gone(stage):
    near, far = os.pipe()
    writer = File(stage, far)
    os.close(far)
    os.close(near)
    writer.wants_to_write = True
    stage.run(3)


@scenario(posix_only)
def pipe_whose_reader_has_gone_with_no_interest(stage):
    near, far = os.pipe()
    writer = File(stage, far)
    os.close(far)
    os.close(near)
    writer.readable = lambda: False
    stage.run(3)


@scenario(posix_only)
def terminal_whose_other_side_has_gone(stage):
    primary, replica = os.openpty()
    File(stage, primary)
    os.close(primary)
    os.write(replica, b"x")
    stage.run(2)
    os.close(replica)
    stage.run()


@scenario(posix_only)
def pipe_that_survives_its_end(stage):
    near, far = os.pipe()
    File(stage, near).closes = False
    os.close(near)
    os.close(far)
    stage.run(3)


# Datagrams


@scenario()
def udp_that_is_refused(stage):
    client = Plain(stage)
    client.create_socket(type=socket.SOCK_DGRAM)
    client.connect(refused_address(socket.SOCK_DGRAM))
    client.closes = False
    client.handle_write = lambda: (client.send(b"x"), setattr(client, "wants_to_write", False))
    client.wants_to_write = True
    stage.run(4)


@scenario()
def udp_that_is_not_connected(stage):
    server, client = Plain(stage), stage.keep(socket.socket(type=socket.SOCK_DGRAM))
    server.create_socket(type=socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    client.sendto(b"x", server.socket.getsockname())
    stage.run(2)


# Connections


@scenario()
def connection_that_is_refused(stage):
    client = Plain(stage)
    client.create_socket()
    client.connect(refused_address())
    stage.run()


def connect_to_no_server(stage):
    client = Plain(stage)
    client.create_socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError):
        client.connect(os.path.join(os.path.abspath(os.sep), "no", "such", "server"))


@scenario(unix_only)
def connection_that_fails_at_once(stage):
    connect_to_no_server(stage)
    stage.run(12)


@scenario(unix_only)
def connection_that_fails_at_once_in_a_loop_called_for_each_pass(stage):
    connect_to_no_server(stage)
    for _ in range(12):
        stage.run(1)


@scenario()
def connection_that_is_refused_and_kept(stage):
    client = Chat(stage)
    client.closes = False
    client.create_socket()
    client.push(b"x")
    client.connect(refused_address())
    stage.run(3)


@scenario()
def connection_that_is_made(stage):
    listener = stage.keep(socket.create_server(("127.0.0.1", 0)))
    client = Plain(stage)
    client.wants_to_write = True
    client.create_socket()
    client.connect(listener.getsockname())
    stage.run(3)


@scenario()
def acceptor_and_client_of_one_loop(stage):
    acceptor, client = Plain(stage), Plain(stage)
    acceptor.create_socket()
    acceptor.bind(("127.0.0.1", 0))
    acceptor.listen(5)
    client.create_socket()
    client.connect(acceptor.socket.getsockname())
    client.handle_connect = lambda: None
    stage.run(6)


@scenario()
def reset_connection(stage):
    ours, theirs = stage.tcp_pair()
    Plain(stage, ours)
    reset(theirs)
    stage.settled(ours)
    stage.run()


@scenario()
def connection_that_was_reset_before_it_was_handed_in(stage):
    ours, theirs = stage.tcp_pair()
    reset(theirs)
    stage.settled(ours)
    Plain(stage, ours)
    stage.run()


@scenario()
def reset_connection_that_writes(stage):
    ours, theirs = stage.tcp_pair()
    channel = Plain(stage, ours)
    channel.readable = lambda: False
    channel.wants_to_write = True
    reset(theirs)
    stage.settled(ours)
    stage.run(4)


@scenario()
def peer_that_has_gone(stage):
    ours, theirs = stage.pair()
    Plain(stage, ours)
    theirs.send(b"x")
    theirs.close()
    stage.run()


@scenario()
def peer_that_has_gone_from_a_chat(stage):
    ours, theirs = stage.tcp_pair()
    Chat(stage, ours)
    theirs.sendall(b"one\ntwo\nthr")
    theirs.close()
    stage.run()


@scenario()
def peer_that_has_gone_from_a_channel_that_stays(stage):
    ours, theirs = stage.pair()
    Plain(stage, ours).closes = False
    theirs.close()
    stage.run(3)


@scenario()
def peer_that_has_gone_with_no_interest(stage):
    ours, theirs = stage.pair()
    channel = Plain(stage, ours)
    channel.readable = lambda: False
    theirs.send(b"x")
    theirs.close()
    stage.run(3)
    stage.say("asked")
    channel.readable = lambda: True
    stage.run()


@scenario()
def urgent_data_in_line(stage):
    ours, theirs = stage.tcp_pair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    Plain(stage, ours)
    theirs.send(b"!", socket.MSG_OOB)
    stage.settled(ours)
    stage.run(3)


# Errors


def failing(error, where="took"):
    def act(stage, kind):
        ours, theirs = stage.pair()
        channel = kind(stage, ours)

        def fail(*args):
            raise error

        setattr(channel, where, fail)
        theirs.send(b"line\n")
        stage.run(3)

    return act


for error in (ValueError("mine"), BrokenPipeError(errno.EPIPE, "mine"), ConnectionResetError(errno.ECONNRESET, "mine")):
    for kind in Plain, Chat:

        def act(stage, error=error, kind=kind):
            failing(error)(stage, kind)

        act.__name__ = f"{type(error).__name__} that a callback of {kind.__name__} raises"
        scenario()(act)


@scenario()
def error_of_a_handler_that_writes(stage):
    channel = Plain(stage, stage.pair()[0])
    channel.wants_to_write = True
    channel.handle_write = lambda: os.write(-1, b"")
    stage.run(3)


@scenario()
def error_that_is_survived(stage):
    ours, theirs = stage.pair()
    channel = Chat(stage, ours)
    channel.closes = False
    channel.took = lambda line: 1 / 0
    for _ in range(2):
        theirs.send(b"line\n")
        stage.run(2)


# Objects in a map


@scenario()
def object_that_is_no_dispatcher(stage):
    ours, theirs = stage.pair()

    class Bare:
        writable = bool

        def readable(self):
            return True

        def handle_read_event(self):
            stage.say("read", ours.recv(9))
            raise OSError(errno.EIO, "mine")

        def handle_error(self):
            stage.say("error")

    stage.keep(ours)
    stage.map[ours.fileno()] = Bare()
    theirs.send(b"x")
    stage.run(2)


@scenario()
def object_that_has_any_attribute(stage):
    class Proxy(asyncore.dispatcher):
        def __getattr__(self, name):
            stage.say("asked for", name)
            raise AttributeError(name)

        def handle_read(self):
            stage.say("read", self.recv(9))

    ours, theirs = stage.pair()
    Proxy(ours, stage.map).writable = lambda: False
    theirs.send(b"x")
    stage.run(2)


@scenario()
def descriptors_of_a_reactor(stage):
    """One object waits for the descriptors of several, as in vdsm."""
    pairs = [stage.pair() for _ in range(3)]

    class Watch:
        accepting = False

        def __init__(self, sock):
            self.sock = stage.keep(sock)
            self.wanted = True
            stage.map[sock.fileno()] = self

        def readable(self):
            return self.wanted

        def writable(self):
            return False

        def handle_read_event(self):
            stage.say("read", self.sock.recv(9))
            self.wanted = False

    for number, (ours, theirs) in enumerate(pairs):
        watch = Watch(ours)
        theirs.send(b"%d" % number)
        stage.run(2)
        theirs.send(b"not wanted")
        stage.run(1)
        watch.wanted = True
        stage.run(2)


@scenario()
def handlers_rebound_on_an_object(stage):
    ours, theirs = stage.pair()
    channel = Plain(stage, ours)
    for name in "first", "second":
        channel.handle_read = lambda name=name: stage.say(name, channel.recv(9))
        theirs.send(b"x")
        stage.run(1)


@scenario()
def readable_rebound_in_its_own_event(stage):
    ours, theirs = stage.pair()
    channel = Chat(stage, ours)
    channel.took = lambda line: setattr(channel, "readable", lambda: False)
    for _ in range(2):
        theirs.send(b"line\n")
        stage.run(2)


@scenario()
def readable_rebound_from_outside(stage):
    ours, theirs = stage.pair()
    channel = Chat(stage, ours)
    stage.run(1)
    channel.readable = lambda: False
    stage.run(2)
    theirs.send(b"line\n")
    stage.run(2)
    channel.readable = lambda: True
    stage.run(4)


@scenario()
def connected_set_false_for_a_handshake(stage):
    ours, theirs = stage.pair()
    channel = Chat(stage, ours)
    channel.took = lambda line: setattr(channel, "connected", False)
    channel.handle_write = lambda: (stage.say("shakes hands"), setattr(channel, "connected", True))
    theirs.send(b"220\n")
    stage.run(4)


@scenario()
def class_switched_in_its_own_event(stage):
    class Other(Chat):
        asked = 0

        def readable(self):
            self.asked += 1
            return self.asked > 3

    ours, theirs = stage.pair()
    channel = Chat(stage, ours)
    channel.took = lambda line: setattr(channel, "__class__", Other)
    for _ in range(3):
        theirs.send(b"line\n")
        stage.run(1, 0)


@scenario()
def channel_closed_by_another(stage):
    ours, theirs = stage.pair()
    other = Chat(stage, stage.pair()[0])
    Chat(stage, ours).took = lambda line: other.close()
    theirs.send(b"line\n")
    stage.run(2)
    stage.say(len(stage.map))


@scenario()
def push_from_another(stage):
    ours, theirs = stage.pair()
    other_ours, other_theirs = stage.pair()
    other = Chat(stage, other_ours)
    Chat(stage, ours).took = lambda line: other.push(b"x" * 1000)
    theirs.send(b"line\n")
    stage.run(3)
    stage.say(len(other_theirs.recv(2000)))


# Sockets closed behind the channel's back.  By select() asyncore's loop raises; ours tells the channel.


@scenario(pytest.mark.only_poll)
def socket_closed_in_its_own_event(stage):
    ours, theirs = stage.pair()
    channel = Chat(stage, ours)
    channel.took = lambda line: channel.socket.close()
    theirs.send(b"line\n")
    stage.run(4)
    stage.say(len(stage.map))


@scenario(pytest.mark.only_poll)
def socket_closed_from_outside(stage):
    for kind in Plain, Chat:
        channel = kind(stage, stage.pair()[0])
        stage.run(1)
        channel.socket.close()
        stage.run(3)
    stage.say(len(stage.map))


@scenario()
def socket_closed_and_opened_anew_on_its_number(stage):
    ours, theirs = stage.pair()
    channel = Chat(stage, ours)
    stage.run(1)

    def reconnect(line):
        channel.socket.close()
        again, stage.other = socket.socketpair()
        again.setblocking(False)
        stage.keep(stage.other)
        assert again.fileno() == channel._fileno
        channel.socket = again

    channel.took = reconnect
    theirs.send(b"line\n")
    stage.run(1)
    channel.took = lambda line: None
    stage.other.send(b"anew\n")
    stage.run(2)


@scenario()
def socket_opened_anew_on_its_number_from_outside(stage):
    channel = Chat(stage, stage.pair()[0])
    stage.run(2)
    channel.socket.close()
    channel.socket, other = socket.socketpair()
    channel.socket.setblocking(False)
    stage.keep(other)
    assert channel.socket.fileno() == channel._fileno
    stage.run(4)
    other.send(b"anew\n")
    stage.run(4)


@scenario(pytest.mark.only_poll)
def socket_dropped_without_being_closed(stage):
    for kind in Plain, Chat:
        channel = kind(stage, stage.pair()[0])
        stage.run(2)
        channel.socket = None
        stage.run(4)
    stage.say(len(stage.map))


@scenario()
def client_that_connects_anew_when_it_is_closed(stage):
    listener = stage.keep(socket.create_server(("127.0.0.1", 0)))

    class Client(Chat):
        losses = 0

        def handle_close(self):
            self.say("lost")
            self.close()
            self.losses += 1
            if self.losses < 3:
                self.create_socket()
                self.connect(listener.getsockname())

    client = Client(stage)
    client.create_socket()
    client.connect(listener.getsockname())
    for _ in range(3):
        stage.run(2)
        listener.accept()[0].close()
        stage.run(3)


# Nested loops


@scenario()
def nested_loop_in_a_callback(stage):
    ours, theirs = stage.pair()
    other_ours, other_theirs = stage.pair()
    Chat(stage, other_ours)
    channel = Chat(stage, ours)

    def nest(line):
        channel.took = lambda line: None
        other_theirs.send(b"inner\n")
        stage.run(1)
        stage.say("after")

    channel.took = nest
    theirs.send(b"outer\n")
    stage.run(2)
    theirs.send(b"again\n")
    stage.run(2)


@scenario()
def nested_loop_in_an_error(stage):
    client = Chat(stage)

    def fail():
        client.handle_error = lambda: (stage.say("error"), client.close())
        stage.say("first error")
        stage.run(1)

    client.handle_error = fail
    client.create_socket()
    client.connect(refused_address())
    stage.run(3)


@scenario()
def exit_from_a_callback_and_on_again(stage):
    ours, theirs = stage.pair()
    channel = Chat(stage, ours)

    def end(line):
        channel.took = lambda line: None
        raise asyncore.ExitNow

    channel.took = end
    theirs.send(b"one\ntwo\n")
    with contextlib.suppress(asyncore.ExitNow):
        stage.run()
    stage.say("ended")
    stage.run(2)


# Threads, signals, forks


@scenario()
def thread_that_connects_a_client(stage):
    """The socket is in the map a while before it is connected, as while connect() looks up a name."""
    Chat(stage, stage.pair()[0])
    listener = stage.keep(socket.create_server(("127.0.0.1", 0)))
    client = Plain(stage)
    client.create_socket()
    if stage.loop is not its_own_loop:  # which closes it, now and then
        stage.run(3, 0)
    client.connect(listener.getsockname())
    client.wants_to_write = True
    stage.run(2)


@scenario(
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that send signals"),
    pytest.mark.only_poll,
)
def signal_that_closes_everything(stage):
    Plain(stage, stage.pair()[0])
    before = signal.signal(signal.SIGALRM, lambda *_: asyncore.close_all(stage.map))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        # asyncore's own waits for the timeout
        stage.loop(10 if type(stage.map) is SocketMap else 0.2, stage.use_poll, stage.map, 1)
    finally:
        signal.signal(signal.SIGALRM, before)
    stage.say(len(stage.map))


@scenario(pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"))
def fork_that_holds_a_socket_closed_before_its_channel(stage):
    ours, theirs = stage.pair()
    channel = Chat(stage, ours)
    Chat(stage, stage.pair()[0])
    channel.took = lambda line: (channel.socket.close(), channel.close())
    stage.run(1)
    with child_that_waits():
        theirs.send(b"line\n")
        stage.run(1)
        theirs.send(b"more\n")
        start, cpu = time.monotonic(), time.process_time()
        stage.run(3)
        stage.say(time.monotonic() - start >= 2 * LONGEST, time.process_time() - cpu < LONGEST)


@contextlib.contextmanager
def child_that_waits():
    near, far = os.pipe()
    child = os.fork()
    if not child:
        os.close(far)
        os.read(near, 1)
        os._exit(0)
    os.close(near)
    yield
    os.close(far)
    os.waitpid(child, 0)


def played(function, loop, map_class, use_poll):
    """Return the notes of *function*, a scenario, on *loop*."""
    stage = Stage(loop, map_class(), use_poll)
    try:
        function(stage)
    except Exception as error:
        stage.say("raised", type(error).__name__, error)
    finally:
        stage.end()
    return stage.said


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("use_poll", [False, True], ids=["select", "poll"])
@pytest.mark.parametrize("map_class", list(OURS.values()), ids=list(OURS))
@pytest.mark.parametrize("function", scenarios.values())
def test_scenario(function, map_class, use_poll, request):
    if use_poll and not hasattr(select, "poll"):
        pytest.skip("this system has no poll()")
    by_poll = use_poll or request.node.get_closest_marker("only_poll") is not None
    expected = played(function, its_own_loop, dict, by_poll)
    assert played(function, asynchat_fast.loop, map_class, use_poll) == expected


PATCHED = """
import sys, warnings
warnings.simplefilter("ignore")
BEFORE = sys.argv[1] == "before"
def patch():
    {patch}
if BEFORE: patch()
import asynchat_fast
if not BEFORE: patch()
import socket, threading
asyncore = asynchat_fast.asyncore
class Chat(asynchat_fast.async_chat):
    def __init__(self, sock):
        super().__init__(sock)
        self.set_terminator(b"\\n")
    collect_incoming_data = asynchat_fast.async_chat._collect_incoming_data
    def found_terminator(self):
        print(self._get_data().decode())
        self.close()
ours, theirs = socket.socketpair()
Chat(ours)
thread = threading.Thread(target=theirs.sendall, args=(b"line\\n",))
thread.start()
{loop}(10, use_poll=sys.argv[2] == "poll")
thread.join()
"""
PATCHES = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
    "a select of its own": "import select; [delattr(select, name) for name in ('epoll', 'poll', 'kqueue')"
    " if hasattr(select, name)]",
}


@pytest.mark.parametrize("words", ["select", "poll"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("patch", list(PATCHES))
def test_patched_by(patch, when, words, tmp_path):
    if patch.isidentifier():
        pytest.importorskip(patch, reason=f"{patch} is not installed")
    program = PATCHED.format(patch=PATCHES[patch], loop="asynchat_fast.loop")
    done = subprocess.run(
        [sys.executable, "-c", program, when, words],
        env=os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("line\n", "")


@both
@pytest.mark.parametrize("use_poll", [False, True], ids=["select", "poll"])
def test_urgent_data_is_told_once(use_poll, kind):
    """Our loop differs here: asyncore's spins for as long as urgent data are not received."""
    stage = Stage(asynchat_fast.loop, SocketMap(), use_poll)
    ours, theirs = stage.tcp_pair()
    kind(stage, ours)
    stage.run(1)
    theirs.send(b"!", socket.MSG_OOB)
    select.select([], [], [ours], 10)
    stage.run(4)
    assert stage.said == ["expt"]
    theirs.send(b"x\n")
    stage.settled(ours)
    stage.run(2)
    theirs.send(b"?", socket.MSG_OOB)
    select.select([], [], [ours], 10)
    stage.run(4)
    told = "line b'x'" if kind is Chat else "read b'x\\n'"
    assert stage.said == ["expt", told, "expt"]
    stage.end()


@pytest.mark.parametrize("how", ["listen", "connect"])
def test_socket_that_another_thread_makes(how):
    """The loop reports no event before the socket is connected or listens, and soon reports those after."""
    stage = Stage(asynchat_fast.loop, SocketMap(), False)
    Chat(stage, stage.pair()[0])
    thread = threading.Thread(target=stage.loop, kwargs={"timeout": 100, "map": stage.map}, daemon=True)
    thread.start()
    channel = Plain(stage)
    channel.wants_to_write = True
    channel.create_socket()
    time.sleep(3 * LONGEST)
    assert stage.said == []
    if how == "listen":
        channel.bind(("127.0.0.1", 0))
        channel.listen(1)
        stage.keep(socket.create_connection(channel.socket.getsockname(), 10))
    else:
        channel.connect(stage.keep(socket.create_server(("127.0.0.1", 0))).getsockname())
    deadline = time.monotonic() + 10
    while not stage.said:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert stage.said[0] == {"listen": "accepted", "connect": "connect"}[how]
    asynchat_fast.call_later(0, asyncore.close_all, stage.map, map=stage.map)
    thread.join(10)
    assert not thread.is_alive()
    stage.end()


DAEMON = """
import os, socket, sys
from asynchat_fast import async_chat, asyncore, loop
ours, theirs = socket.socketpair()
async_chat(ours)
loop(0, count=1)
if sys.argv[1] == "forked" and os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
os.closerange(3, 100)
ours.detach(), theirs.detach()
asyncore.socket_map.clear()
log = open("log", "w")
files = [open("log") for _ in range(9)]  # with the numbers of closed descriptors
ours, theirs = socket.socketpair()
chat = async_chat(ours)
chat.set_terminator(b"\\n")
chat.collect_incoming_data = print
chat.found_terminator = chat.close
theirs.sendall(b"line\\n")
loop(10)
log.write("x")
log.flush()
assert [file.read() for file in files] == ["x"] * 9
"""


@pytest.mark.parametrize("how", ["forked", "in place"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no daemons")
def test_daemon_that_closes_all_descriptors(tmp_path, how):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DAEMON, how],
        env=os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("b'line'\n", "")
