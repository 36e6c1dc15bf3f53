"""Ask a server that speaks in lines: send it some, all at once, and print its response.

    python line_client.py [--wait SECONDS] HOST PORT [LINE...]

Without LINE, the lines are those of the standard input.  It ends when the server closes the connection, or
has said nothing for a while.  The exit status is 1 if the server cannot be reached, does not take all lines,
or sends a line that does not end, of which what has come is printed.
"""

import argparse
import os
import sys

from asynchat_fast import async_chat, chat_client, loop


class Client(async_chat):
    """Calls *show* with each line (bytes) of the server; ends when that has said nothing for *wait* seconds."""

    max_payload = 1 << 20  # bytes of a line

    def __init__(self, show, wait):
        super().__init__()
        self.show = show
        self.idle_timeout = wait
        self.failed = False
        self.set_terminator(b"\n")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        self.show(self._get_data().rstrip(b"\r"))

    def ask(self, lines):
        for line in lines:
            self.push(line.rstrip(b"\r\n") + b"\r\n")

    def handle_connect_failed(self, error):
        self.fail(error.strerror)

    def handle_close(self):
        self.end()

    def handle_timeout(self):
        self.end()

    def handle_overlong_payload(self):
        self.fail(f"more than {self.max_payload} bytes without the end of a line")

    def handle_error(self):
        self.fail(sys.exc_info()[1])

    def end(self):
        rest = self._get_data()
        if rest:
            self.show(rest)
            self.fail("the last line has no end")
        elif self.producer_fifo:
            self.fail("the server has not taken all lines")
        else:
            self.close()

    def fail(self, reason):
        print(f"error: {reason}", file=sys.stderr)
        self.failed = True
        self.discard_buffers()
        self.close()


def show(line):
    """Print *line* (bytes), with what could move the cursor of a terminal made visible."""
    text = line.decode(errors="backslashreplace")
    print("".join(each if each.isprintable() or each == "\t" else ascii(each)[1:-1] for each in text), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait", type=float, default=2.0, metavar="SECONDS", help="for more of a response (2)")
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("port", metavar="PORT", type=int)
    parser.add_argument("lines", metavar="LINE", nargs="*")
    options = parser.parse_args()
    client = chat_client((options.host, options.port), Client, show, options.wait, retry=None)
    client.channel.ask(map(os.fsencode, options.lines) if options.lines else sys.stdin.buffer)
    loop()
    sys.exit(client.channel.failed)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell reports a program that Ctrl-C has ended
