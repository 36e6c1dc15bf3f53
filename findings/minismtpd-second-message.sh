#!/usr/bin/env bash
# A client may send several messages over one connection (RFC 5321, 3.3).  minismtpd 0.5 hands over the second one with
# the first in front of it, and the third with both: it never forgets what it has received.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check minismtpd==0.5
"$work/venv/bin/python" - <<'PYTHON'
import smtplib
import sys
import threading
from importlib.metadata import version

import minismtpd

received = []


class Server(minismtpd.SMTPServer):
    def process_message(self, peer, mailfrom, rcpttos, data):
        received.append((mailfrom, rcpttos, data))


server = Server(("127.0.0.1", 0))
threading.Thread(target=server.serve_forever, daemon=True).start()
with smtplib.SMTP(*server.server_address, timeout=10) as client:
    for sender, recipient, text in ("ann", "bob", "one"), ("cid", "dan", "two"), ("eve", "fay", "three"):
        client.sendmail(f"{sender}@example.org", f"{recipient}@example.org", text)

print("minismtpd", version("minismtpd"))
for each in received:
    print(*each)
bodies = [data for _, _, data in received]
expected = [b"one", b"one\n\ntwo", b"one\n\ntwo\n\nthree"]
sys.exit(0 if bodies == expected else "it behaves differently now")
PYTHON
