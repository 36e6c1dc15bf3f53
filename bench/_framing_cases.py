"""The streams of ``bench_framing.py``: those of ``asynchat-fast --benchmark``, longer ones and hostile ones."""

from asynchat_fast import benchmark_cases
from asynchat_fast.benchmark_cases import CRLF, KIB, READ, lines_case


def all_cases(quick):
    yield from benchmark_cases.line_cases(128 * KIB if quick else 512 * KIB)
    yield from long_line_cases(128 * KIB if quick else 512 * KIB)
    yield from benchmark_cases.search_cases(128 * KIB if quick else 2048 * KIB)
    yield lines_case(
        "20 KB records, 5 B terminator", b"x" * (20 * KIB - 5), 6 if quick else 100, b"\r\n.\r\n", unit="record"
    )
    yield from benchmark_cases.frame_cases(128 * KIB if quick else 512 * KIB)
    yield from hostile_cases(64 * KIB if quick else 256 * KIB, KIB if quick else 4 * KIB)


def long_line_cases(total):
    yield lines_case("1 KB lines, 64 KiB reads", b"x" * (KIB - 2), total // KIB)
    for step in range(3):
        size = total // 2 << step
        yield lines_case(f"2 B lines, one {size // KIB:,} KiB read", b"x", size // 2, b"\n", size, bigger=step > 0)


def hostile_cases(total, long):
    half = long // 2
    middle, end = b"a" * (half - 1) + b"b" + b"a" * half, b"a" * (long - 1) + b"b"
    near_miss = end[:-1] + b"c"
    for label, body, terminator, read, size in (
        ("LFs against CR LF", b"\n", CRLF, READ, total),
        (f"a's against b amid {long // KIB} KB of a's", b"a", middle, READ, total),
        (f"near misses of {long // KIB} KB", near_miss, end, READ, total),
        ("byte by byte, letters", b"x", CRLF, 1, 4 * long),
        ("byte by byte, CRs", b"\r", CRLF, 1, 4 * long),
        (f"byte by byte, misses of {long // KIB} KB", near_miss, end, 1, long),
    ):
        for step in range(2):
            payload = body * ((size << step) // len(body))
            name = f"{label}, {len(payload) // KIB} Ki"
            yield lines_case(name, payload, 1, terminator, read, "byte", bigger=step > 0)
