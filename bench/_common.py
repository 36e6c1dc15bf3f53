"""What the benchmarks share: the asynchats to compare, the command line, tables and progress.

All peers are measured in one run, in turns, and the best of a peer's rounds is its
figure: what a busy machine adds to a round is no cost of a peer.
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import sys
from functools import cache
from importlib import metadata
from unittest.mock import patch

import asynchat_fast
from asynchat_fast.benchmark import OURS as FAST
from asynchat_fast.benchmark import STDLIB, build, figure, find_asynchat, processor

__all__ = ["FAST", "PLAIN", "STDLIB", "figure"]

PLAIN = "plain"


def _plain_asynchat_fast():
    """Import asynchat_fast a second time, with the plain-Python InputBuffer.

    A whole copy rather than another buffer in the same classes: the interpreter specialises
    code for the types that run through it, and two buffers in turns would slow each other down.
    """
    name = "asynchat_fast_plain"
    spec = importlib.util.spec_from_file_location(
        name, asynchat_fast.__file__, submodule_search_locations=list(asynchat_fast.__path__)
    )
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    with patch.dict(os.environ, ASYNCHAT_FAST_NO_EXTENSIONS="1"):
        spec.loader.exec_module(module)
    return module


@cache
def load_asynchat(peer):
    """Return the asynchat module that *peer* names."""
    if peer == FAST:
        return asynchat_fast
    if peer == PLAIN:
        return _plain_asynchat_fast()
    return find_asynchat()


def asynchat_peers():
    """Return the names of the asynchats that can be measured here, for ``load_asynchat()``."""
    peers = [FAST, PLAIN, STDLIB] if asynchat_fast.COMPILED else [PLAIN, STDLIB]
    return peers if importlib.util.find_spec("asynchat") else peers[:-1]


def has_twisted():
    return importlib.util.find_spec("twisted") is not None


def arguments(doc):
    """Return the parser of the options that all benchmarks have; *doc* is the module's docstring."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small inputs and few rounds: a smoke test, not figures")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.add_argument("--allow-plain", action="store_true", help="run even if asynchat_fast is not compiled")
    return parser


def parse(parser):
    """Parse the command line; exit where the compiled module it is all about is missing."""
    options = parser.parse_args()
    if not (asynchat_fast.COMPILED or options.allow_plain):
        sys.exit(
            f"error: asynchat_fast in {os.path.dirname(asynchat_fast.__file__)} is not compiled, its figures would "
            "say nothing; --allow-plain measures the plain-Python InputBuffer alone"
        )
    return options


def environment():
    """Return what the figures depend on, by name."""
    versions = {"asynchat_fast": asynchat_fast.__version__}
    for package in ("pyasynchat", "twisted"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": build(),
        "machine": f"{platform.machine()} {platform.system()}",
        "processor": f"{os.cpu_count()} x {processor()}",
        "date": datetime.date.today().isoformat(),
        "compiled": asynchat_fast.COMPILED,
        "versions": versions,
    }


def machine(found):
    """Return what the *found* environment is, in a line."""
    return f"{found['python']} ({found['build']}), {found['machine']}, {found['processor']}"


def print_header(method):
    """Print what is measured, where, and which peers are missing; *method* says how."""
    found = environment()
    versions = found["versions"]
    print(f"asynchat_fast {versions['asynchat_fast']}, COMPILED = {found['compiled']}", end="; ")
    print(f"{machine(found)}; {method}")
    if STDLIB not in asynchat_peers():
        print(f"skipped: {STDLIB} is not installed, so there are no ratios to it")
    elif STDLIB == "pyasynchat":
        print(f"pyasynchat {versions['pyasynchat']}, the standard library's asynchat for Python 3.12 and later")
    print(f"Twisted {versions['twisted']}" if has_twisted() else "skipped: Twisted is not installed")


def progress(text=""):
    """Show on stderr what is under way; on a terminal, in one line that an empty *text* clears."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def times_faster(other, own):
    """Return how many times the time *own* goes into *other*, as text; empty if either is unknown."""
    if not (other and own):
        return ""
    times = other / own
    return f"{times:.{2 if times < 2 else 1 if times < 10 else 0}f}x"


def best_of(rounds):
    """Return the least CPU and elapsed seconds of each key of *rounds*, which has the pairs of all rounds."""
    return {key: tuple(map(min, zip(*each, strict=True))) for key, each in rounds.items()}


def request_figures(each):
    """Return what a row tells of *each*, the CPU and elapsed seconds of a request in all rounds."""
    cpu = sorted(round(1e6 * seconds, 3) for seconds, _ in each)
    return {"cpu_us": cpu[0], "cpu_us_rounds": cpu, "requests_per_second": 1 / min(elapsed for _, elapsed in each)}


def write_json(path, benchmark, rows):
    """Write *rows*, a list of dicts, and the environment to *path*."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"benchmark": benchmark, **environment(), "rows": rows}, file, indent=1)
        file.write("\n")
