"""The counters of a loop, for ``loop_counters()`` and ``watch()``."""

__all__ = ["Counters"]


class Counters:
    """Numbers that the loop adds up once a pass; it is "busy" between two waits."""

    __slots__ = ("busy", "events", "longest", "passes", "since")

    def __init__(self) -> None:
        self.passes = self.events = 0
        self.busy = 0.0  # seconds
        self.longest = 0.0  # seconds, between two waits
        self.since = 0.0  # the time.monotonic() at which the last wait ended; 0 while the loop does not run

    def add(self, now: float) -> None:
        """Count the time up to *now*, in which the loop was busy."""
        took = now - self.since
        self.busy += took
        if took > self.longest:
            self.longest = took
