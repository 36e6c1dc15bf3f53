"""Ask a server that speaks in lines: send it some, all at once, and print what it answers.

    python line_client.py [--wait SECONDS] HOST PORT [LINE...]

Without LINE, the lines are those of the standard input.  It ends when the server closes the connection,
or has said nothing for a while; the exit status is 1 if it cannot be reached, or sends what is no line.
"""

import argparse
import socket
import sys

from asynchat_fast import async_chat, loop


class Client(async_chat):
    """A connection to the server at the other end of *sock*; *answered* is called with each line (bytes)."""

    max_payload = 1 << 20  # octets of a line

    def __init__(self, sock, answered, wait):
        self.idle_timeout = wait
        super().__init__(sock)
        self.answered = answered
        self.failed = False
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self.answered(self._get_data().rstrip(b"\r"))

    def handle_timeout(self):
        self.close()  # which is how it is meant to end, and worth no message

    def handle_overlong_payload(self):
        print(f"error: more than {self.max_payload} octets without the end of a line", file=sys.stderr)
        self.failed = True
        self.discard_buffers()
        self.close()

    def ask(self, lines):
        for line in lines:
            self.push(line.rstrip("\r\n").encode() + b"\r\n")


def show(line):
    """Print *line* (bytes), with what could move the cursor of a terminal made visible."""
    text = line.decode(errors="backslashreplace")
    print("".join(each if each.isprintable() or each == "\t" else ascii(each)[1:-1] for each in text), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait", type=float, default=2.0, metavar="SECONDS", help="for more of an answer (2)")
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("port", metavar="PORT", type=int)
    parser.add_argument("lines", metavar="LINE", nargs="*")
    options = parser.parse_args()
    try:
        sock = socket.create_connection((options.host, options.port), timeout=10)
    except OSError as error:
        sys.exit(f"error: {options.host}, port {options.port}: {error}")
    client = Client(sock, show, options.wait)
    client.ask(options.lines or sys.stdin)
    loop()
    sys.exit(client.failed)


if __name__ == "__main__":
    main()
