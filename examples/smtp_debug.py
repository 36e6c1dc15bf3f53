"""A mail server for tests: it takes whatever is sent to it, and prints it.

    python smtp_debug.py [--host ADDRESS] [--port N] [--most BYTES] [--tls CERT KEY]

Nothing is delivered.  The commands are those of RFC 5321, section 4.5.1, with SIZE (RFC 1870),
8BITMIME (RFC 6152) and PIPELINING (RFC 2920), and with --tls STARTTLS (RFC 3207).
"""

import argparse
import re
import ssl
from functools import partial

from asynchat_fast import async_chat, chat_server, loop

MOST_RECIPIENTS = 100

# An address in angle brackets, in which a quoted part may have anything, and the parameters after it.
_PATH = r':\s*<((?:[^<>\s"]|"(?:[^"\\]|\\.)*")*)>((?:\s+\S+)*)'
_match_sender = re.compile("FROM" + _PATH, re.IGNORECASE).fullmatch
_match_recipient = re.compile("TO" + _PATH, re.IGNORECASE).fullmatch

# The values of the parameters of MAIL that the response to EHLO announces.
_match_value = {
    "SIZE": re.compile(r"\d{1,20}", re.ASCII).fullmatch,
    "BODY": re.compile("7BIT|8BITMIME", re.IGNORECASE).fullmatch,
}


class Refusal(Exception):
    """A command that is not carried out; the arguments are those of ``Session.reply()``."""


def read_parameters(text, announced):
    """Return the values (str) of the parameters in *text* by name; *announced* has a match function for each name."""
    parameters = {}
    for each in text.split():
        name, _, value = each.partition("=")
        name = name.upper()
        if name not in announced:
            raise Refusal(555, f"there is no parameter {name}")
        if name in parameters or not announced[name](value):
            raise Refusal(501, f"the parameter {name} is wrong")
        parameters[name] = value
    return parameters


class Session(async_chat):
    """A connection of a mail client; *show* is called with sender, recipients and bytes of each message."""

    max_payload = 2000  # bytes of a line, which is twice what RFC 5321 asks for
    idle_timeout = 300  # seconds, RFC 5321, section 4.5.3.2
    coalesce_pushes = True  # the replies to commands that came together leave together

    def __init__(self, sock, show, most, tls=None):
        super().__init__(sock)
        self.show = show
        self.most = most
        self.tls = tls  # the context for STARTTLS, None once it is used
        self.announced = None  # the parameters of MAIL, once the client has said its name
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
            return
        try:
            command(argument.strip())
        except Refusal as refusal:
            self.reply(*refusal.args)

    def handle_overlong_payload(self):
        self._get_data()  # what was collected of the line
        if self.message is None:
            self.reply(500, "the line is too long")
        else:
            self.size = self.most + 1  # refused at its end

    # Commands

    def greet(self, name, announced):
        if not name:
            raise Refusal(501, "say your name")
        self.announced = announced
        self.forget_message()

    def smtp_HELO(self, argument):
        self.greet(argument, {})
        self.reply(250, "localhost")

    def smtp_EHLO(self, argument):
        self.greet(argument, _match_value)
        extensions = [f"SIZE {self.most}", "8BITMIME", "PIPELINING"]
        if self.tls is not None:
            extensions.append("STARTTLS")
        self.reply(250, "localhost", *extensions)

    def smtp_STARTTLS(self, argument):
        self.check_no_argument(argument)
        if self.tls is None:
            raise Refusal(503, "not now")
        self.reply(220, "go ahead")
        self.start_tls(self.tls)  # the reply leaves in the plain, what follows is encrypted
        self.tls = None

    def handle_tls(self):
        """Forget what was said in the plain, where anybody could have said it."""
        self.announced = None
        self.forget_message()

    def smtp_MAIL(self, argument):
        if self.announced is None or self.sender is not None:
            raise Refusal(503, "not now")
        path = _match_sender(argument)
        if path is None:
            raise Refusal(501, "MAIL FROM:<address>")
        parameters = read_parameters(path[2], self.announced)
        if int(parameters.get("SIZE", 0)) > self.most:
            raise Refusal(552, "the message is too large")
        self.sender = path[1]
        self.reply(250, "ok")

    def smtp_RCPT(self, argument):
        if self.sender is None:
            raise Refusal(503, "MAIL comes first")
        path = _match_recipient(argument)
        if path is None or not path[1]:
            raise Refusal(501, "RCPT TO:<address>")
        read_parameters(path[2], announced={})
        if len(self.recipients) == MOST_RECIPIENTS:
            raise Refusal(452, "too many recipients")
        self.recipients.append(path[1])
        self.reply(250, "ok")

    def smtp_DATA(self, argument):
        self.check_no_argument(argument)
        if not self.recipients:
            raise Refusal(503, "RCPT comes first")
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

    def check_no_argument(self, argument):
        if argument:
            raise Refusal(501, "the command stands alone")

    def smtp_RSET(self, argument):
        self.check_no_argument(argument)
        self.forget_message()
        self.reply(250, "ok")

    def smtp_NOOP(self, argument):
        self.reply(250, "ok")

    def smtp_VRFY(self, argument):
        if not argument:
            raise Refusal(501, "VRFY name")
        self.reply(252, "everybody is welcome")

    def smtp_QUIT(self, argument):
        self.check_no_argument(argument)
        self.reply(221, "goodbye")
        self.close_when_done()


def show(sender, recipients, message):
    """Print a message, with what could move the cursor of a terminal made visible."""
    print(f"---- from <{sender}> to {', '.join(recipients)}")
    for line in message.decode(errors="replace").split("\r\n")[:-1]:
        print("".join(each if each.isprintable() or each == "\t" else ascii(each)[1:-1] for each in line))
    print("---- end", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8025, metavar="N", help="the port, 0 for any that is free (8025)")
    parser.add_argument("--most", type=int, default=1 << 25, metavar="BYTES", help="of a message (32 MiB)")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="offer STARTTLS, with these files")
    options = parser.parse_args()
    tls = None
    if options.tls is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*options.tls)
    session = partial(Session, show=show, most=options.most, tls=tls)
    server = chat_server((options.host, options.port), session)
    print("listening at {}, port {}".format(*server.addr), flush=True)
    loop()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("closed")
