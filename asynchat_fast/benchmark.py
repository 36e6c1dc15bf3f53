"""Measure asynchat_fast on this machine and this Python: ``asynchat-fast --benchmark``.

Channels read streams from memory, so that the time of system calls does not blur the comparison.  Compared are
asynchat_fast, this Python's asynchat, and the floor: the program's own callbacks alone, called with payloads that were
cut in advance.  Figures are CPU time, the best of several rounds, in which these three take turns.
"""

import gc
import importlib.util
import os
import platform
import sys
import sysconfig
import time
import warnings
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import ModuleType

from . import channel
from ._version import __version__
from .benchmark_cases import (
    KIB,
    Case,
    Floor,
    FromMemory,
    Trial,
    all_cases,
    idle_class,
    idle_trial,
    peer_class,
    prepare,
    with_own_code,
)
from .framing import COMPILED

__all__ = ["main"]

OURS, FLOOR = "asynchat_fast", "floor"
STDLIB = "asynchat" if sys.version_info < (3, 12) else "pyasynchat"
SECONDS = 9.0  # for all cases together
NOISE = 1.1  # a smaller ratio is not reported as a difference

# CPU time leaves out what other processes take, but not every system counts it finely.
now = time.process_time if time.get_clock_info("process_time").resolution < 1e-6 else time.perf_counter


def take_turns(trials: dict[str, Trial], rounds: int, budget: float) -> dict[str, list[float]]:
    """Time *trials* in turns; return the seconds of each run.  A trial that has used up *budget* seconds sits out."""
    seconds: dict[str, list[float]] = {name: [] for name in trials}
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            # In both directions: a run finds the caches and the heap as the run before has left them.
            for name in list(trials)[:: -1 if turn % 2 else 1]:
                if sum(seconds[name]) < budget:
                    run = trials[name]()
                    start = now()
                    run()
                    seconds[name].append(now() - start)
    finally:
        gc.enable()
    return seconds


def find_asynchat() -> ModuleType | None:
    """Return the standard library's asynchat, or pyasynchat; None if neither is installed."""
    if importlib.util.find_spec("asynchat") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return import_module("asynchat")


def build() -> str:
    """Return how this Python was built (str), as far as it can be found out."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS")
    if not arguments:
        return "which does not tell how it was built"
    if "--enable-optimizations" in arguments:
        return "profiled"
    return "a distribution's build" if "--prefix=/usr'" in arguments else "not profiled"


def processor() -> str:
    """Return the name of the processor, as far as it can be found out."""
    names = []
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        pass
    return names[0] if names else platform.processor() or "unknown processor"


def figure(number: float) -> str:
    """Return *number* with about three significant digits."""
    return f"{number:,.{0 if number >= 100 else 1 if number >= 10 else 2 if number >= 1 else 3}f}"


def in_words(other: float, own: float) -> str:
    """Return how the time *own* compares with *other*."""
    if 1 / NOISE < other / own < NOISE:
        return "as fast"
    if other > own:
        times = other / own
        return f"{times:.{1 if times < 10 else 0}f} times as fast"
    return f"takes {own / other:.2f} times as long"


@dataclass
class Row:
    """The result of the case *name*: nanoseconds of asynchat_fast, and of the other asynchat if there is one."""

    name: str
    own: float
    other: float | None
    is_artificial: bool = False


@dataclass
class Comparison:
    """Measures cases, prints a row for each, and sums them up."""

    asynchat: ModuleType | None
    seconds: float
    rows: list[Row] = field(default_factory=list)

    def names(self) -> list[str]:
        """Return the names of the columns."""
        return [OURS, STDLIB, FLOOR] if self.asynchat else [OURS, FLOOR]

    def trials(self, case: Case) -> dict[str, Trial]:
        """Return a trial of *case* for each peer, by its name."""
        bases = {OURS: (with_own_code(FromMemory), channel.async_chat), FLOOR: (with_own_code(Floor),)}
        if self.asynchat:
            bases[STDLIB] = (with_own_code(FromMemory), self.asynchat.async_chat)
        return {name: partial(prepare, peer_class(case, *bases[name]), case) for name in self.names()}

    def measure(self, name: str, count: int, trials: dict[str, Trial], is_artificial: bool = False) -> None:
        """Measure one case, a run of which is *count* units, and print its row."""
        progress(f"{name} ...")
        rounds = take_turns(trials, 1000, self.seconds / len(trials))
        progress()
        best = {peer: 1e9 * min(seconds) / count for peer, seconds in rounds.items()}
        other = best.get(STDLIB)
        self.rows.append(Row(name, best[OURS], other, is_artificial))
        cells = "".join(f"{figure(best[peer]) if peer in best else '':>15}" for peer in self.names())
        words = in_words(other, best[OURS]) if other else ""
        if not self.asynchat and FLOOR in best:
            words = f"{best[OURS] / best[FLOOR]:.2f} times the {FLOOR}"
        print(f"{name:<42}{cells}  {words}".rstrip(), flush=True)

    def run(self, total: int) -> None:
        """Measure all cases, of *total* bytes each."""
        print(f"\n{'ns a line, frame, record or channel':<42}" + "".join(f"{name:>15}" for name in self.names()))
        for case in all_cases(total):
            self.measure(case.name, case.count, self.trials(case), case.is_artificial)
        channels = 500
        idle = {OURS: idle_trial(idle_class(channel.async_chat), channel.asyncore, channels)}
        if self.asynchat:
            idle[STDLIB] = idle_trial(idle_class(self.asynchat.async_chat), self.asynchat.asyncore, channels)
        self.measure("an idle channel, a pass of asyncore.loop()", channels, idle)

    def summary(self) -> str:
        """Return the result in words."""
        compared = [(row.other / row.own, row) for row in self.rows if row.other]
        if not compared:
            return (
                f"There is no {STDLIB} here to compare with; this installs it:\n    {sys.executable} -m pip install "
                f"{STDLIB}"
            )
        faster = [(times, row) for times, row in compared if times >= NOISE]
        slower = [row.name for times, row in compared if times <= 1 / NOISE]
        text = f"asynchat_fast is faster than {STDLIB} in {len(faster)} of {len(compared)} cases"
        if real := [times for times, row in faster if not row.is_artificial]:
            text += f" ({min(real):.1f} to {max(real):.1f} times as fast"
            text += ", without the artificial streams of one byte)" if len(real) < len(faster) else ")"
        if alike := len(compared) - len(faster) - len(slower):
            text += f", as fast in {alike}"
        return f"{text}, and slower in {f'{len(slower)}: ' + '; '.join(slower) if slower else 'none'}."


def progress(text: str = "") -> None:
    """Show the progress on a terminal, in one line; an empty *text* clears it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def describe(asynchat: ModuleType | None) -> str:
    """Return what is measured, and on what."""
    python = f"{platform.python_implementation()} {platform.python_version()}, {build()}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} x {processor()}"
    return (
        f"asynchat_fast {__version__}, InputBuffer: {'compiled' if COMPILED else 'plain Python, which is slow'}\n"
        f"{python}\n{machine}\n\n"
        "Streams in memory are cut into payloads, and each payload is handed to a program's own callbacks;\n"
        f"the {FLOOR} is these callbacks alone. The figures are CPU time, the best of rounds in turns. System\n"
        "calls are left out, so a server gains less than these figures tell."
    )


def main(seconds: float = SECONDS, total: int = 512 * KIB) -> None:
    """Print the figures of this machine and this Python; *seconds* for all, *total* bytes a case."""
    asynchat = find_asynchat()
    print(describe(asynchat), flush=True)
    comparison = Comparison(asynchat, seconds / (len(all_cases(total)) + 1))
    comparison.run(total)
    print(f"\n{comparison.summary()}")
