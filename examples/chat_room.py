"""A chat room: what one says, all others see.  Talk to it with nc or telnet.

    python chat_room.py [--host ADDRESS] [--port N] [--tls CERT KEY]

"/who" tells who is there, "/quit" leaves.  A guest that says nothing for ten minutes, sends a line
without end, or does not read what the others say, is shown out.  With --tls, talk to it with
openssl s_client -quiet -connect ADDRESS:PORT.
"""

import argparse
import ssl
from collections import Counter
from functools import partial

from asynchat_fast import async_chat, chat_server, loop

LONGEST_NAME = 20  # characters
MOST_BEHIND = 200  # lines that may wait for a guest who does not read


class Room:
    """The guests by name, and what they say to each other."""

    def __init__(self):
        self.guests = {}
        self.behind = Counter()  # name -> lines said since nothing waited for that guest

    def enter(self, guest, name):
        """Take *guest* in by *name* (str), and return why not (str), or an empty str."""
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or " " in name:
            return f"A name is one word of at most {LONGEST_NAME} characters."
        if name in self.guests:
            return f"There is a {name} already."
        self.guests[name] = guest
        self.say(f"* {name} has come in", but=guest)
        return ""

    def leave(self, name):
        """Let the guest of that *name* go, if there is one."""
        if self.guests.pop(name, None) is not None:
            del self.behind[name]
            self.say(f"* {name} has left")

    def say(self, text, but=None):
        """Send *text*, a line (str), to all guests except *but*."""
        for name, guest in list(self.guests.items()):
            if guest is but or name not in self.guests:
                continue
            self.behind[name] = self.behind[name] + 1 if guest.writable() else 0
            if self.behind[name] > MOST_BEHIND:
                guest.close()
            else:
                guest.send_line(text)


class Guest(async_chat):
    """A connection to the room."""

    max_payload = 1000  # bytes of a line
    idle_timeout = 600  # seconds
    output_high_water = 1 << 16  # bytes that may wait for a guest before nothing more is received from it

    def __init__(self, sock, room):
        super().__init__(sock)
        self.room = room
        self.name = None
        self.set_terminator(b"\n")
        self.send_line("Welcome. What is your name?")

    collect_incoming_data = async_chat._collect_incoming_data

    def found_terminator(self):
        text = self._get_data().rstrip(b"\r").decode(errors="replace")
        self.line_received("".join(each for each in text if each.isprintable()))

    def line_received(self, line):
        if self.name is None:
            self.introduce(line.strip())
        elif line == "/who":
            self.send_line("* here: " + ", ".join(sorted(self.room.guests)))
        elif line == "/quit":
            self.send_line("* goodbye")
            self.close_when_done()
        elif line:
            self.room.say(f"{self.name}: {line}", but=self)

    def introduce(self, name):
        refusal = self.room.enter(self, name)
        if refusal:
            self.send_line(refusal)
        else:
            self.name = name
            self.send_line(f"* hello, {name}")

    def send_line(self, text):
        self.push(text.encode() + b"\r\n")

    def close(self):
        super().close()
        self.room.leave(self.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8007, metavar="N", help="the port, 0 for any that is free (8007)")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="talk TLS, with these files")
    options = parser.parse_args()
    tls = None
    if options.tls is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*options.tls)
    server = chat_server((options.host, options.port), partial(Guest, room=Room()), tls=tls)
    print("listening at {}, port {}".format(*server.addr), flush=True)
    loop()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("closed")
