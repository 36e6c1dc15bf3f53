"""Measures cases of CPU time in turns, prints a row for each, and keeps what all rounds took."""

import _common
from _common import figure, times_faster

from asynchat_fast.benchmark import FLOOR, STDLIB, take_turns

__all__ = ["FLOOR", "Table"]


class Table:
    """*names* are the peers, in the order of the columns."""

    def __init__(self, names, quick):
        self.names = names
        self.rounds, self.budget, self.patience = (5, 0.05, 0.5) if quick else (100, 1.0, 15.0)
        self.rows = []
        self.unit = None
        self.last_seconds = {}  # of each peer, in the smaller size of the same case

    def measure(self, name, unit, count, trials, bigger=False):
        """Measure a case of *count* units; *bigger*: the same as the one before, twice the size."""
        if not bigger:
            self.last_seconds = {}
        # The square of twice the size is four times as much: a peer that takes too long is left out.
        slow = [peer for peer, seconds in self.last_seconds.items() if 4 * seconds > self.patience]
        _common.progress(f"{name} ...")
        rounds = take_turns({peer: trials[peer] for peer in trials if peer not in slow}, self.rounds, self.budget)
        _common.progress()
        self.last_seconds = {**dict.fromkeys(slow, self.patience), **{peer: min(each) for peer, each in rounds.items()}}
        nanoseconds = {
            peer: [round(1e9 * seconds / count, 3) for seconds in sorted(each)] for peer, each in rounds.items()
        }
        self.add(name, unit, nanoseconds, count, slow)

    def add(self, name, unit, nanoseconds, count=1, slow=()):
        """Add the row of a case: the nanoseconds of all rounds, in order, by the peer's name."""
        best = {peer: each[0] for peer, each in nanoseconds.items()}
        row = {"case": name, "unit": unit, "count": count, "ns": best, "rounds": nanoseconds, "too_slow": list(slow)}
        self.rows.append(row)
        if unit != self.unit:
            self.unit = unit
            print(f"\n{'ns per ' + unit:<38}" + "".join(f"{peer:>17}" for peer in self.names) + f" /{FLOOR}")
        self.print_row(name, best, slow)

    def print_row(self, label, nanoseconds, slow):
        row = f"{label:<38}"
        stdlib = nanoseconds.get(STDLIB)
        for name in self.names:
            own = nanoseconds.get(name)
            cell = figure(own) if own else "too slow" if name in slow else "-"
            times = times_faster(stdlib, own) if name not in (STDLIB, FLOOR) else ""
            row += f"{cell:>11}{times:>6}"
        ours = nanoseconds.get(_common.FAST) or nanoseconds.get(_common.PLAIN)
        if ours and FLOOR in nanoseconds:
            row += f"{ours / nanoseconds[FLOOR]:7.2f}"
        print(row.rstrip(), flush=True)
