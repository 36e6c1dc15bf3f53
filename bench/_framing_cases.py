"""The streams that ``bench_framing.py`` has cut: well-behaved ones, and ones made to hurt a search."""

from dataclasses import dataclass

KIB = 1024
READ = 64 * KIB
CRLF = b"\r\n"


@dataclass
class Case:
    name: str
    unit: str  # what the figure is for: a line, record, frame or octet
    terminator: bytes | int
    payloads: list
    reads: list
    bigger: bool = False  # the case before it, in twice the size

    @property
    def count(self):
        if self.unit == "octet":
            return sum(map(len, self.reads))
        return len(self.payloads) // (2 if self.unit == "frame" else 1)


def cut(stream, size):
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def lines_case(name, payload, count, terminator=CRLF, read=READ, unit="line", bigger=False):
    stream = (payload + terminator) * count
    return Case(name, unit, terminator, [payload] * count, cut(stream, read), bigger)


def all_cases(quick):
    yield from line_cases(128 * KIB if quick else 512 * KIB)
    yield from record_cases(256 * KIB if quick else 2048 * KIB)
    yield from frame_cases(128 * KIB if quick else 512 * KIB)
    yield from hostile_cases(64 * KIB if quick else 256 * KIB, KIB if quick else 4 * KIB)


def line_cases(total):
    for label, size in ("16 B", 16), ("100 B", 100), ("1 KB", KIB):
        yield lines_case(f"{label} lines, 64 KiB reads", b"x" * (size - 2), total // size)
    yield lines_case("100 B lines, 1,460 B reads", b"x" * 98, total // 100, read=1460)
    yield lines_case("100 B lines, one a read", b"x" * 98, total // 100, read=100)
    for step in range(3):
        size = total // 2 << step
        yield lines_case(f"2 B lines, one {size // KIB:,} KiB read", b"x", size // 2, b"\n", size, bigger=step > 0)


def record_cases(total):
    size, terminator = 20 * KIB - 5, b"\r\n.\r\n"
    # The first octets of this one's terminator are in it all the time.
    text = (b"The quick brown fox jumps over the lazy dog, which is used to that.\r\n" * 300)[:size]
    yield lines_case("20 KB records, 5 B terminator", b"x" * size, total // size, terminator, unit="record")
    yield lines_case("20 KB of text, 5 B terminator", text, total // size, terminator, unit="record")


def frame_cases(total):
    for label, size in ("100 B", 100), ("1 KB", KIB):
        payloads = [size.to_bytes(4, "big"), b"x" * size] * (total // size)
        yield Case(f"{label} frames, 64 KiB reads", "frame", 4, payloads, cut(b"".join(payloads), READ))


def hostile_cases(total, long):
    half = long // 2
    middle, end = b"a" * (half - 1) + b"b" + b"a" * half, b"a" * (long - 1) + b"b"
    near_miss = end[:-1] + b"c"
    for label, body, terminator, read, size in (
        ("CRs against CR LF", b"\r", CRLF, READ, total),
        ("LFs against CR LF", b"\n", CRLF, READ, total),
        ("aaaa against aaab", b"a", b"aaab", READ, total),
        (f"a's against b amid {long // KIB} KB of a's", b"a", middle, READ, total),
        (f"near misses of {long // KIB} KB", near_miss, end, READ, total),
        ("octet by octet, letters", b"x", CRLF, 1, 4 * long),
        ("octet by octet, CRs", b"\r", CRLF, 1, 4 * long),
        (f"octet by octet, misses of {long // KIB} KB", near_miss, end, 1, long),
    ):
        for step in range(2):
            payload = body * ((size << step) // len(body))
            name = f"{label}, {len(payload) // KIB} Ki"
            yield lines_case(name, payload, 1, terminator, read, "octet", bigger=step > 0)
