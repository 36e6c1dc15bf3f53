"""A mail server for tests: it takes whatever is sent to it, and prints it.

    python smtp_debug.py [--host ADDRESS] [--port N] [--most OCTETS]

Nothing is delivered.  The commands are those of RFC 5321, section 4.5.1, with SIZE (RFC 1870),
8BITMIME (RFC 6152) and PIPELINING (RFC 2920).
"""

import argparse
import re
from functools import partial

from asynchat_fast import async_chat, chat_server, loop

MOST_RECIPIENTS = 100

_match_path = re.compile(r"(?:FROM|TO):\s*<([^<>\s]*)>((?: \S+)*)", re.IGNORECASE).fullmatch


class Session(async_chat):
    """A connection of a mail client.  *show* is called with sender, recipients and octets of each message."""

    max_payload = 2000  # octets of a line, which is twice what RFC 5321 asks for
    idle_timeout = 300  # seconds, RFC 5321, section 4.5.3.2
    coalesce_pushes = True  # the replies to commands that came together leave together

    def __init__(self, sock, show, most):
        super().__init__(sock)
        self.show = show
        self.most = most
        self.greeted = False
        self.forget_message()
        self.set_terminator(b"\r\n")
        self.reply(220, "localhost debugging mail server")

    def forget_message(self):
        self.sender = None
        self.recipients = []
        self.message = None  # the lines so far, after DATA
        self.size = 0

    def reply(self, code, *lines):
        last = len(lines) - 1
        for at, line in enumerate(lines):
            self.push(f"{code}{' ' if at == last else '-'}{line}\r\n".encode())

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        line = self._get_data()
        if self.message is not None:
            self.message_line(line)
            return
        verb, _, argument = line.decode("latin-1").partition(" ")
        command = getattr(self, f"smtp_{verb.upper()}", None) if verb.isalpha() and verb.isascii() else None
        if command is None:
            self.reply(500, "there is no such command")
        else:
            command(argument.strip())

    def handle_overlong_payload(self):
        self._get_data()  # what was collected of the line
        if self.message is None:
            self.reply(500, "the line is too long")
        else:
            self.size = self.most + 1  # refused at its end

    # Commands

    def smtp_HELO(self, argument):
        self.greeted = True
        self.forget_message()
        self.reply(250, "localhost")

    def smtp_EHLO(self, argument):
        self.greeted = True
        self.forget_message()
        self.reply(250, "localhost", f"SIZE {self.most}", "8BITMIME", "PIPELINING")

    def smtp_MAIL(self, argument):
        path = _match_path(argument)
        size = re.search(r"SIZE=(\d{1,15})\b", argument, re.IGNORECASE | re.ASCII)
        if not self.greeted or self.sender is not None:
            self.reply(503, "not now")
        elif path is None or not argument.upper().startswith("FROM"):
            self.reply(501, "MAIL FROM:<address>")
        elif size and int(size[1]) > self.most:
            self.reply(552, "the message is too large")
        else:
            self.sender = path[1]
            self.reply(250, "ok")

    def smtp_RCPT(self, argument):
        path = _match_path(argument)
        if self.sender is None:
            self.reply(503, "MAIL comes first")
        elif path is None or not path[1] or not argument.upper().startswith("TO"):
            self.reply(501, "RCPT TO:<address>")
        elif len(self.recipients) == MOST_RECIPIENTS:
            self.reply(452, "too many recipients")
        else:
            self.recipients.append(path[1])
            self.reply(250, "ok")

    def smtp_DATA(self, argument):
        if not self.recipients:
            self.reply(503, "RCPT comes first")
        else:
            self.message = []
            self.reply(354, "end with a line of one dot")

    def message_line(self, line):
        if line != b".":
            self.size += len(line) + 2
            if self.size <= self.most:
                self.message.append(line[1:] if line.startswith(b".") else line)
            else:
                self.message.clear()
            return
        if self.size > self.most:
            self.reply(552, "the message is too large")
        else:
            self.show(self.sender, self.recipients, b"".join(each + b"\r\n" for each in self.message))
            self.reply(250, "ok")
        self.forget_message()

    def smtp_RSET(self, argument):
        self.forget_message()
        self.reply(250, "ok")

    def smtp_NOOP(self, argument):
        self.reply(250, "ok")

    def smtp_VRFY(self, argument):
        self.reply(252, "everybody is welcome")

    def smtp_QUIT(self, argument):
        self.reply(221, "goodbye")
        self.close_when_done()


def show(sender, recipients, octets):
    """Print a message, with what could move the cursor of a terminal made visible."""
    print(f"---- from <{sender}> to {', '.join(recipients)}")
    for line in octets.decode(errors="replace").split("\r\n")[:-1]:
        print("".join(each if each.isprintable() or each == "\t" else ascii(each)[1:-1] for each in line))
    print("---- end", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8025, metavar="N", help="the port, 0 for any that is free (8025)")
    parser.add_argument("--most", type=int, default=1 << 25, metavar="OCTETS", help="of a message (32 MiB)")
    options = parser.parse_args()
    server = chat_server((options.host, options.port), partial(Session, show=show, most=options.most))
    try:
        print("listening at {}, port {}".format(*server.addr), flush=True)
        loop()
    except KeyboardInterrupt:
        print("closed")


if __name__ == "__main__":
    main()
