"""Random conversations over real sockets: asynchat on asyncore's loop beside asynchat_fast on both loops.

    python fuzz/compare_sockets.py [COUNT [SEED]]

Needs a Python with asynchat, or pyasynchat.  Each conversation is played by select and by poll; what the program and
its peer see must be the same.  Ends with status 1, and the script that shows it, at the first difference.
"""

import random
import socket
import sys
import warnings
from collections import deque

warnings.simplefilter("ignore", DeprecationWarning)  # of asyncore and asynchat, up to Python 3.11

import asynchat  # noqa: E402 - after the warnings that it brings
import asyncore  # noqa: E402

import asynchat_fast  # noqa: E402

PASSES = 6  # that a step is given: more than any takes
TERMINATORS = [b"\n", b"\r\n", b"ab", b"aab", 1, 3, 7, None, 0]
WORDS = [b"a", b"b", b"ab", b"aa", b"\n", b"\r\n", b"\r", b"abcdefgh"]


class Producer:
    def __init__(self, pieces):
        self.pieces = deque(pieces)

    def more(self):
        return self.pieces.popleft() if self.pieces else b""


def program(base):
    """Return a channel class on *base* that does what a script says in each callback, and keeps a trace."""

    class Program(base):
        def __init__(self, sock, script, trace):
            self.plans = iter(script)
            self.trace = trace
            self.left = 40  # callbacks, so that a program that feeds itself ends
            base.__init__(self, sock, {})
            self.set_terminator(b"\n")

        def note(self, *event):
            self.trace.append((*event, self.ac_in_buffer, self.terminator, self.connected, len(self.producer_fifo)))

        def collect_incoming_data(self, data):
            self.note("collect", data)
            self.incoming.append(data)
            self.act(next(self.plans, None), collecting=True)

        def found_terminator(self):
            self.note("found", self._get_data())
            self.act(next(self.plans, None))

        def handle_close(self):
            self.note("handle_close")
            self.close()

        def handle_error(self):
            self.note("handle_error", sys.exc_info()[0].__name__)
            if self.left % 2:
                self.handle_close()

        def log_info(self, message, type="info"):
            pass

        def act(self, action, collecting=False):
            self.left -= 1
            if action is None or self.left < 0:
                return
            name, argument = action
            if name == "terminator":
                if not (collecting and isinstance(self.terminator, int)):  # asynchat goes on counting with the new one
                    self.set_terminator(argument)
            elif name == "raise":
                raise argument
            elif name == "produce":
                self.push_with_producer(Producer(argument))
            elif name == "append":
                self.producer_fifo.append(argument)
            elif argument is None:
                getattr(self, name)()
            else:
                getattr(self, name)(argument)

    return Program


def data(rng, most):
    return b"".join(rng.choice(WORDS) for _ in range(rng.randrange(1, most)))


def action(rng):
    kind = rng.randrange(12)
    if kind < 3:
        return "push", data(rng, 5)
    if kind < 5:
        return "terminator", rng.choice(TERMINATORS)
    return rng.choice(
        [
            ("push", b"x" * 70_000),
            ("produce", [data(rng, 4) for _ in range(rng.randrange(3))]),
            ("append", data(rng, 3)),
            ("close_when_done", None),
            ("close", None),
            ("discard_buffers", None),
            ("raise", rng.choice([ValueError(), ConnectionResetError(104, "reset"), OSError(5, "broken")])),
        ]
    )


def steps(rng):
    made = [("send", data(rng, 8)) for _ in range(rng.randrange(1, 5))]
    made += [("act", action(rng)) for _ in range(rng.randrange(4))]
    made += [("receive", rng.choice([10, 5000, 1 << 20])) for _ in range(rng.randrange(3))]
    rng.shuffle(made)
    return [*made, rng.choice([("shut", None), ("leave", None), ("receive", 1 << 20)])]


def play(base, loop, use_poll, script, plans):
    """Play one conversation; return what was seen."""
    trace = []
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    channel = program(base)(ours, plans, trace)
    map = channel._map
    for name, argument in script:
        trace.append((name, argument))
        try:
            if name == "send":
                theirs.send(argument)
            elif name == "receive":
                trace.append(theirs.recv(argument))
            elif name == "shut":
                theirs.shutdown(socket.SHUT_WR)
            elif name == "leave":
                theirs.close()
            else:
                channel.act(argument)
        except Exception as error:
            trace.append(type(error).__name__)
        for _ in range(PASSES):
            try:
                loop(timeout=0, use_poll=use_poll, map=map, count=1)
            except Exception as error:  # what asyncore's loop lets out, ours does
                trace.append(type(error).__name__)
        trace.append((bool(map), channel.connected, bytes(channel.ac_in_buffer), len(channel.producer_fifo)))
    theirs.close()
    channel.close()
    return trace


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for number in range(seed, seed + count):
        rng = random.Random(number)
        script, plans = steps(rng), [action(rng) if rng.random() < 0.4 else None for _ in range(12)]
        for use_poll in (False, True):
            expected = play(asynchat.async_chat, asyncore.loop, use_poll, script, plans)
            for loop in (asyncore.loop, asynchat_fast.loop):
                found = play(asynchat_fast.async_chat, loop, use_poll, script, plans)
                if found != expected:
                    at = next(i for i, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1])
                    sys.exit(
                        f"seed {number}, {loop.__module__}, use_poll={use_poll}\n{script}\n{plans}\n"
                        f"after {found[:at]}\nours:     {found[at]}\nasynchat: {expected[at]}"
                    )
    print(f"{count} conversations, no difference")


if __name__ == "__main__":
    main()
