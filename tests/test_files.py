"""file_producer: the bytes, the order and the ways they take, and files that change meanwhile."""

import contextlib
import errno
import gc
import gzip
import io
import itertools
import os
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest

from asynchat_fast import FileChanged, SocketMap, async_chat, asyncore, chat_server, file_producer, loop

PATIENCE = 20  # seconds; a wait takes milliseconds unless something hangs

CONTENT = bytes(range(256)) * 1200  # several times the size of one read or send


def has_sendfile():
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as file:
        file.write(b"pieces")
        file.flush()
        try:
            return os.sendfile(ours.fileno(), file.fileno(), 0, 6) == 6
        except (AttributeError, OSError):
            return False


needs_sendfile = pytest.mark.skipif(not has_sendfile(), reason="this system has no sendfile() for such sockets")


@pytest.fixture
def map():
    channels = SocketMap()
    yield channels
    asyncore.close_all(channels, ignore_all=True)


class Chat(async_chat):
    """Keeps its log messages."""

    def __init__(self, sock=None, map=None):
        super().__init__(sock, map)
        self.logged = []
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self._get_data()

    def log_info(self, message, type="info"):
        self.logged.append(message)


class Reading(Chat):
    """Has a send() of its own, which is not to be passed by."""

    def send(self, data):
        return super().send(data)


@pytest.fixture
def new_chat(pair, map):
    """A function that makes a channel of a class at our end of the pair."""
    ours, theirs = pair
    theirs.setblocking(False)
    return lambda cls=Chat: cls(ours, map)


@pytest.fixture(params=[pytest.param(Chat, marks=needs_sendfile), Reading], ids=["sendfile", "reads"])
def chat(request, new_chat):
    """A channel that sends files by each of the ways."""
    return new_chat(request.param)


@pytest.fixture
def run_until(map):
    """A function that runs loop() until a condition holds."""

    def run(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition has not become true"
            loop(0.001, map=map, count=1)

    return run


@pytest.fixture
def receive(pair, run_until):
    """A function that runs loop() and returns all data until the end, read in pieces of *size*."""

    def run(size=65536):
        data = bytearray()

        def ended():
            try:
                arrived = pair[1].recv(size)
            except BlockingIOError:
                return False
            data.extend(arrived)
            return not arrived

        run_until(ended)
        return bytes(data)

    return run


@pytest.fixture
def calls_of_sendfile(monkeypatch):
    """The arguments of each call of os.sendfile()."""
    if not has_sendfile():
        pytest.skip("this system has no sendfile() for such sockets")
    calls, sendfile = [], os.sendfile

    def noted(*args):
        calls.append(args)
        return sendfile(*args)

    monkeypatch.setattr(os, "sendfile", noted)
    return calls


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def pipe_of(content):
    """Return the reading end of a pipe, which all of *content* comes out of."""
    reading, writing = os.pipe()

    def write():
        with contextlib.suppress(BrokenPipeError), open(writing, "wb") as file:
            file.write(content)

    threading.Thread(target=write, daemon=True).start()
    return open(reading, "rb")


KINDS = {
    "buffered": lambda path: path.open("rb"),
    "unbuffered": lambda path: path.open("rb", buffering=0),
    "writable": lambda path: path.open("r+b"),
    "memory": lambda path: io.BytesIO(path.read_bytes()),
    "pipe": lambda path: pipe_of(path.read_bytes()),
}


@pytest.fixture(params=KINDS)
def file(request, path):
    """A file of each kind, with CONTENT in it."""
    with KINDS[request.param](path) as file:
        yield file


@pytest.fixture(params=[kind for kind in KINDS if kind != "pipe"])
def seekable(request, path):
    with KINDS[request.param](path) as file:
        yield file


# The bytes


def test_all_of_a_file(chat, receive, file):
    chat.push_with_producer(file_producer(file))
    chat.close_when_done()
    assert receive() == CONTENT
    assert file.closed


@pytest.mark.parametrize("count", [0, 1, 70_000, len(CONTENT)])
def test_the_first_bytes(chat, receive, file, count):
    chat.push_with_producer(file_producer(file, count=count))
    chat.close_when_done()
    assert receive() == CONTENT[:count]


@pytest.mark.parametrize(
    ("offset", "count"),
    [
        *itertools.product([0, 1, 70_000], [None, 0, 1, 65_536, 100_000]),
        *itertools.product([len(CONTENT), len(CONTENT) + 1], [None, 0]),
    ],
)
def test_bytes_from_an_offset_on(chat, receive, seekable, offset, count):
    chat.push_with_producer(file_producer(seekable, offset, count))
    chat.close_when_done()
    assert receive() == CONTENT[offset:][:count]


def test_bytes_from_where_the_file_stands(chat, receive, file):
    assert file.read(1000) == CONTENT[:1000]
    chat.push_with_producer(file_producer(file, count=100_000))
    chat.close_when_done()
    assert receive() == CONTENT[1000:101_000]


def test_data_written_just_before(chat, receive):
    with tempfile.TemporaryFile() as file:
        file.write(b"a few pieces")
        chat.push_with_producer(file_producer(file, 0))
        chat.close_when_done()
        assert receive() == b"a few pieces"


def test_a_file_without_bytes(chat, receive, file, path):
    path.write_bytes(b"")
    with path.open("rb") as empty:
        chat.push_with_producer(file_producer(empty))
        chat.push(b"after")
        chat.close_when_done()
        assert receive() == b"after"
        assert empty.closed


def test_a_large_file(chat, receive, tmp_path):
    with (tmp_path / "large").open("w+b") as file:
        file.truncate(40_000_000)
        file.seek(30_000_000)
        file.write(CONTENT)
        chat.push_with_producer(file_producer(file, 1_000_000))
        chat.close_when_done()
        data = receive(1 << 20)
    assert len(data) == 39_000_000
    assert data[29_000_000:][: len(CONTENT)] == CONTENT
    assert not data[:29_000_000].strip(b"\0")
    assert not data[29_000_000 + len(CONTENT) :].strip(b"\0")


def test_a_slow_reader(chat, receive, pair, file):
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    chat.push_with_producer(file_producer(file))
    chat.close_when_done()
    assert receive(1777) == CONTENT


def test_the_content_of_a_compressed_file(chat, receive, tmp_path):
    """A GzipFile has a fileno(), too, but it reads the compressed bytes."""
    with gzip.open(tmp_path / "file.gz", "wb") as file:
        file.write(CONTENT)
    with gzip.open(tmp_path / "file.gz") as file:
        chat.push_with_producer(file_producer(file))
        chat.close_when_done()
        assert receive() == CONTENT


def test_a_named_temporary_file(chat, receive):
    with tempfile.NamedTemporaryFile() as file:
        file.write(CONTENT)
        file.seek(1)
        chat.push_with_producer(file_producer(file))
        chat.close_when_done()
        assert receive() == CONTENT[1:]


def test_without_a_channel(file):
    producer = file_producer(file)
    pieces = list(iter(producer.more, b""))
    assert b"".join(pieces) == CONTENT
    assert {len(piece) for piece in pieces[:-1]} == {producer.buffer_size}
    assert file.closed
    assert producer.more() == b""


def test_other_sizes_of_pieces(file):
    producer = file_producer(file, count=1000)
    producer.buffer_size = 300
    assert [len(piece) for piece in iter(producer.more, b"")] == [300, 300, 300, 100]


@pytest.mark.skipif(os.name == "nt", reason="on Windows, pipes always wait")
def test_a_pipe_that_does_not_wait():
    """An empty pipe is not at its end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.write(writing, b"beginning")
    with open(writing, "wb"), open(reading, "rb", buffering=0) as pipe:
        producer = file_producer(pipe)
        assert producer.more() == b"beginning"
        with pytest.raises(BlockingIOError):
            producer.more()


@pytest.mark.parametrize(("offset", "count"), [(-1, None), (None, -1), (-1, -1), (0, -1)])
def test_negative_numbers(file, offset, count):
    with pytest.raises(ValueError, match="-1"):
        file_producer(file, offset, count)
    gc.collect()
    assert not file.closed


@pytest.mark.parametrize("wrong", [None, 5, "name", io.StringIO("text")])
def test_what_is_no_file_of_bytes(wrong):
    with pytest.raises(TypeError, match="open for reading bytes"):
        file_producer(wrong)


def test_a_pipe_has_no_offset(path):
    with KINDS["pipe"](path) as pipe, pytest.raises(ValueError, match="offset"):
        file_producer(pipe, 0)


# The order


def test_before_and_after(chat, receive, file):
    chat.push(b"before ")
    chat.push_with_producer(file_producer(file))
    chat.push(b" after")
    chat.close_when_done()
    assert receive() == b"before " + CONTENT + b" after"


def test_before_and_after_together(chat, receive, path, pair):
    """Files and pushes keep their order with ``coalesce_pushes``, too."""
    chat.coalesce_pushes = True

    def reply():
        for data in b"be", b"fore ":
            chat.push(data)
        chat.push_with_producer(file_producer(path.open("rb")))
        for data in b" af", b"ter":
            chat.push(data)
        chat.close_when_done()

    chat.found_terminator = reply
    pair[1].sendall(b"please\n")
    assert receive() == b"before " + CONTENT + b" after"


def test_files_in_turns(chat, receive, path):
    for _ in range(3):
        for kind in KINDS.values():
            chat.push_with_producer(file_producer(kind(path)))
    chat.close_when_done()
    assert receive() == CONTENT * 3 * len(KINDS)


def test_pushes_of_other_threads(chat, receive, tmp_path):
    """The pushes of each thread stay whole, and in their order."""
    letters = b"abcd"
    for letter in letters:
        (tmp_path / chr(letter)).write_bytes(bytes([letter]) * 50_000)

    def push(letter):
        for number in range(20):
            chat.push(b"<%c%d>" % (letter, number))
            chat.push_with_producer(file_producer((tmp_path / chr(letter)).open("rb")))

    threads = [threading.Thread(target=push, args=(letter,)) for letter in letters]

    def finish():
        for thread in threads:
            thread.join()
        chat.close_when_done()

    for thread in threads:
        thread.start()
    closing = threading.Thread(target=finish)
    closing.start()
    data = receive(1 << 20)
    closing.join()
    assert len(data) == len(letters) * (20 * 50_000 + 10 * len(b"<x0>") + 10 * len(b"<x10>"))
    for letter in letters:
        assert data.count(bytes([letter]) * 50_000) == 20
        positions = [data.index(b"<%c%d>" % (letter, number)) for number in range(20)]
        assert positions == sorted(positions)


def test_one_file_sent_twice(chat, receive, seekable):
    chat.push_with_producer(file_producer(seekable, 0, 100_000, close=False))
    chat.push_with_producer(file_producer(seekable, 50_000, 100_000, close=False))
    chat.close_when_done()
    assert receive() == CONTENT[:100_000] + CONTENT[50_000:150_000]


def test_one_file_sent_to_two_at_once(seekable, map, run_until):
    """Reading for one channel does not move the position of the other."""
    with contextlib.ExitStack() as stack:
        received = []
        for cls in Reading, Chat:
            ours, theirs = (stack.enter_context(sock) for sock in socket.socketpair())
            theirs.setblocking(False)
            chat = cls(ours, map)
            chat.ac_out_buffer_size = 1000
            chat.push_with_producer(file_producer(seekable, 0, close=False))
            chat.close_when_done()
            received.append((theirs, bytearray()))

        def all_arrived():
            for sock, data in received:
                with contextlib.suppress(BlockingIOError):
                    data += sock.recv(1500)
            return not map

        run_until(all_arrived)
        for sock, data in received:
            data += b"".join(iter(lambda sock=sock: sock.recv(65536), b""))
    assert [data for _, data in received] == [CONTENT, CONTENT]


def test_one_send_at_most(new_chat, pair, path, monkeypatch, calls_of_sendfile):
    """However much waits, ``initiate_send()`` sends once."""
    sends, send = [], asyncore.dispatcher.send

    def noted(self, data):
        sends.append(data)
        return send(self, data)

    monkeypatch.setattr(asyncore.dispatcher, "send", noted)
    chat = new_chat()
    chat.connected = False  # so that pushing sends nothing
    chat.push(b"before")
    chat.push_with_producer(file_producer(path.open("rb"), count=0))
    chat.push_with_producer(file_producer(path.open("rb")))
    chat.push_with_producer(file_producer(io.BytesIO(CONTENT)))
    chat.push(b"after")
    chat.connected = True
    received = b""
    while chat.producer_fifo:
        before = len(sends) + len(calls_of_sendfile)
        chat.initiate_send()
        assert len(sends) + len(calls_of_sendfile) <= before + 1
        with contextlib.suppress(BlockingIOError):
            received += pair[1].recv(1 << 20)
    assert received == b"before" + CONTENT * 2 + b"after"
    assert sends
    assert calls_of_sendfile


# The ways


def test_sendfile_serves_a_plain_socket(new_chat, receive, path, calls_of_sendfile):
    chat = new_chat()
    chat.push_with_producer(file_producer(path.open("rb")))
    chat.close_when_done()
    assert receive() == CONTENT
    assert calls_of_sendfile


def test_sendfile_serves_the_connections_of_a_server(map, run_until, path, calls_of_sendfile):
    class Sender(Chat):
        def __init__(self, sock, map):
            super().__init__(sock, map)
            self.push_with_producer(file_producer(path.open("rb")))
            self.close_when_done()

    server = chat_server(("127.0.0.1", 0), Sender, map=map)
    data = bytearray()
    with socket.create_connection(server.addr) as client:

        def ended():
            if not select.select([client], [], [], 0)[0]:
                return False
            arrived = client.recv(65536)
            data.extend(arrived)
            return not arrived

        run_until(ended)
    assert data == CONTENT
    assert calls_of_sendfile


def test_sendfile_serves_what_stands_behind_coalesced_bytes(new_chat, pair, receive, path, calls_of_sendfile):
    class Coalesced(Chat):
        coalesce_pushes = True

        def found_terminator(self):
            self.push(b"head")
            self.push_with_producer(file_producer(path.open("rb")))
            self.close_when_done()

    new_chat(Coalesced)
    pair[1].sendall(b"\n")
    assert receive() == b"head" + CONTENT
    assert min(offset for _, _, offset, _ in calls_of_sendfile) == 0


class Sent:
    """Counts the bytes that go through send()."""

    sent = 0

    def send(self, data):
        sent = super().send(data)
        self.sent += sent
        return sent


class OverriddenInClass(Sent, Chat):
    pass


class OverriddenInObject(Chat):
    sent = 0

    def __init__(self, sock, map):
        super().__init__(sock, map)
        send = self.send

        def counted(data):
            sent = send(data)
            self.sent += sent
            return sent

        self.send = counted


class Wrapper:
    """A socket in all but its class."""

    def __init__(self, sock):
        self.sock = sock
        self.sent = 0

    def send(self, data):
        sent = self.sock.send(data)
        self.sent += sent
        return sent

    def __getattr__(self, name):
        return getattr(self.sock, name)


class Wrapped(Chat):
    def __init__(self, sock, map):
        super().__init__(Wrapper(sock), map)

    @property
    def sent(self):
        return self.socket.sent


@pytest.mark.parametrize("cls", [OverriddenInClass, OverriddenInObject, Wrapped])
def test_no_send_is_passed_by(new_chat, receive, path, calls_of_sendfile, cls):
    chat = new_chat(cls)
    chat.push_with_producer(file_producer(path.open("rb")))
    chat.close_when_done()
    assert receive() == CONTENT
    assert chat.sent == len(CONTENT)
    assert not calls_of_sendfile


def test_no_more_is_passed_by(chat, receive, path):
    class Shouting(file_producer):
        def more(self):
            return super().more().upper()

    path.write_bytes(b"whisper" * 20_000)
    chat.push_with_producer(Shouting(path.open("rb")))
    chat.close_when_done()
    assert receive() == b"WHISPER" * 20_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with a certificate for localhost and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the command openssl, which makes a certificate, is not here")
    directory = tmp_path_factory.mktemp("certificate")
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    with certificate.open("a") as file:
        file.write(key.read_text())
    return certificate


def test_a_tls_socket_is_not_passed_by(map, path, certificate, calls_of_sendfile):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=certificate)
    trusting.check_hostname = False
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    data = bytearray()

    def fetch():
        # The server closes without TLS's goodbye, which OpenSSL may take for an error.
        with contextlib.suppress(BrokenPipeError), trusting.wrap_socket(theirs) as client:
            for arrived in iter(lambda: client.recv(65536), b""):
                data.extend(arrived)

    client = threading.Thread(target=fetch)
    client.start()
    ours.settimeout(PATIENCE)
    chat = Chat(context.wrap_socket(ours, server_side=True), map)
    chat.push(b"before ")
    chat.push_with_producer(file_producer(path.open("rb")))
    chat.push(b" after")
    chat.close_when_done()
    deadline = time.monotonic() + PATIENCE
    while map and time.monotonic() < deadline:
        loop(0.01, map=map, count=1)
    client.join()
    assert data == b"before " + CONTENT + b" after"
    assert not calls_of_sendfile


@needs_sendfile
@pytest.mark.parametrize("name", ["EINVAL", "ENOSYS", "ENOTSUP", "ENOTSOCK"])
@pytest.mark.parametrize("at", [0, 2])
def test_reads_take_over_where_sendfile_will_not_do(new_chat, receive, path, monkeypatch, name, at):
    number, sendfile, calls = getattr(errno, name), os.sendfile, []

    def refusing(out, file, offset, count):
        calls.append(offset)
        if len(calls) > at:
            raise OSError(number, os.strerror(number))
        return sendfile(out, file, offset, 50_000)

    monkeypatch.setattr(os, "sendfile", refusing)
    chat = new_chat()
    chat.push(b"before ")
    chat.push_with_producer(file_producer(path.open("rb")))
    chat.push(b" after")
    chat.close_when_done()
    assert receive() == b"before " + CONTENT + b" after"
    assert len(calls) > at
    assert chat.logged == []


@needs_sendfile
def test_sendfile_is_tried_again_when_the_socket_was_full(new_chat, receive, path, monkeypatch):
    full, sendfile = [BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")], os.sendfile

    def blocking(*args):
        if full:
            raise full.pop()
        return sendfile(*args)

    monkeypatch.setattr(os, "sendfile", blocking)
    chat = new_chat()
    chat.push_with_producer(file_producer(path.open("rb")))
    chat.close_when_done()
    assert receive() == CONTENT
    assert not full


@pytest.mark.skipif(os.name == "nt", reason="Windows tells later that the peer has gone")
def test_the_peer_goes_meanwhile(chat, map, pair, path):
    with path.open("rb") as file:
        chat.push_with_producer(file_producer(file))
        pair[1].close()
        loop(PATIENCE, map=map)
        assert not map
        assert chat.logged == []


@needs_sendfile
def test_other_errors_of_sendfile(new_chat, map, path, monkeypatch):
    def failing(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "sendfile", failing)
    chat = new_chat()
    chat.push_with_producer(file_producer(path.open("rb")))
    loop(PATIENCE, map=map)
    assert not map
    assert any("Input/output error" in line for line in chat.logged)


def test_errors_of_reading(new_chat, map, path):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            raise OSError(errno.EIO, "Input/output error")

    chat = new_chat()
    chat.connected = False
    chat.push_with_producer(file_producer(Failing(CONTENT)))
    chat.connected = True
    loop(PATIENCE, map=map)
    assert not map
    assert any("Input/output error" in line for line in chat.logged)


# When the file changes meanwhile


def truncate(path):
    os.truncate(path, 100_000)


def empty(path):
    os.truncate(path, 0)


def grow(path):
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path):
    # Only the end is compared: the system may read data that sendfile() has taken as late as it sends them.
    with path.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"x" * 1000)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))  # clocks of files may be coarse


@pytest.mark.parametrize("change", [truncate, empty, rewrite])
@pytest.mark.parametrize("count", [None, len(CONTENT) - 5])
def test_a_change_closes_the_channel(chat, pair, map, receive, run_until, path, change, count):
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    chat.push(b"before ")
    chat.push_with_producer(file_producer(path.open("rb"), count=count))
    chat.push(b" after")
    run_until(lambda: select.select([pair[1]], [], [], 0)[0] and not select.select([], [pair[0]], [], 0)[1])
    change(path)
    data = receive()
    assert len(data) < len(CONTENT)
    assert (b"before " + CONTENT).startswith(data)
    assert not map
    (line,) = chat.logged
    assert line.startswith("closing ")
    assert str(path) in line
    assert "changed" in line


def test_a_change_before_the_first_byte(chat, map, receive, path):
    producer = file_producer(path.open("rb"))
    truncate(path)
    chat.push_with_producer(producer)
    assert receive() == b""
    assert not map
    assert "changed" in chat.logged[0]


@pytest.mark.parametrize("count", [None, len(CONTENT) - 5])
def test_a_file_that_only_grows_is_sent_as_promised(chat, pair, receive, run_until, path, count):
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    chat.push_with_producer(file_producer(path.open("rb"), count=count))
    chat.push(b" after")
    run_until(lambda: select.select([pair[1]], [], [], 0)[0] and not select.select([], [pair[0]], [], 0)[1])
    grow(path)
    chat.close_when_done()
    assert receive() == CONTENT[:count] + b" after"
    assert not chat.logged


def test_another_file_in_its_place_is_none(chat, receive, tmp_path, path):
    chat.push_with_producer(file_producer(path.open("rb")))
    other = tmp_path / "other"
    other.write_bytes(b"other")
    try:
        other.replace(path)
    except PermissionError:
        pytest.skip("on this system, open files cannot be replaced")
    chat.close_when_done()
    assert receive() == CONTENT


def test_fewer_bytes_than_promised(chat, map, receive, seekable):
    chat.push_with_producer(file_producer(seekable, 1000, len(CONTENT)))
    chat.push(b"after")
    assert receive() == CONTENT[1000:]
    assert not map
    assert "1000 bytes too early" in chat.logged[0]


def test_fewer_bytes_in_a_pipe_than_promised(chat, receive, path):
    chat.push_with_producer(file_producer(KINDS["pipe"](path), count=len(CONTENT) + 3))
    assert receive() == CONTENT
    assert "3 bytes too early" in chat.logged[0]


@needs_sendfile
def test_a_file_that_is_cut_between_the_look_and_the_call(new_chat, map, receive, path, monkeypatch):
    sendfile = os.sendfile

    def cutting(out, file, offset, count):
        os.truncate(path, 50_000)
        return sendfile(out, file, offset, count)

    monkeypatch.setattr(os, "sendfile", cutting)
    chat = new_chat()
    chat.push_with_producer(file_producer(path.open("rb")))
    chat.push(b"after")
    assert receive() == CONTENT[:50_000]
    assert not map
    assert len(chat.logged) == 1


@pytest.mark.parametrize("reused", [False, True])
def test_a_file_that_is_closed_meanwhile(chat, pair, map, receive, run_until, path, reused):
    """The number of the closed descriptor may belong to another file by then."""
    other = path.with_name("other")
    other.write_bytes(CONTENT[::-1])
    shutil.copystat(path, other)
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    file = path.open("rb")
    chat.push_with_producer(file_producer(file))
    run_until(lambda: select.select([pair[1]], [], [], 0)[0] and not select.select([], [pair[0]], [], 0)[1])
    number = file.fileno()
    file.close()
    with other.open("rb") if reused else contextlib.nullcontext() as another:
        assert not reused or another.fileno() == number
        data = receive()
    assert len(data) < len(CONTENT)
    assert CONTENT.startswith(data)
    assert not map
    assert chat.logged


def test_a_program_that_pulls_is_told(path):
    producer = file_producer(path.open("rb"))
    producer.more()
    truncate(path)
    with pytest.raises(FileChanged, match="changed"):
        producer.more()


# Closing the file


def test_closed_when_all_is_sent(chat, run_until, file):
    chat.push_with_producer(file_producer(file, count=10))
    run_until(lambda: not chat.producer_fifo)
    assert file.closed


def test_left_open_if_asked_to(chat, run_until, file):
    chat.push_with_producer(file_producer(file, count=10, close=False))
    run_until(lambda: not chat.producer_fifo)
    gc.collect()
    assert not file.closed


def test_closed_when_the_peer_does_not_want_the_rest(chat, pair, file):
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    chat.push_with_producer(file_producer(file))
    chat.discard_buffers()
    gc.collect()
    assert file.closed


def test_closed_with_the_channel(new_chat, map, file):
    chat = new_chat(Reading)
    chat.connected = False
    chat.push_with_producer(file_producer(file))
    chat.close()
    del chat
    gc.collect()
    assert file.closed


def test_closed_after_a_change(new_chat, map, receive, path):
    with path.open("rb") as file:
        producer = file_producer(file)
        truncate(path)
        chat = new_chat()
        chat.push_with_producer(producer)
        receive()
        del chat, producer
        gc.collect()
        assert file.closed
