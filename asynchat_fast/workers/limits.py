"""The seconds that workers have for what they do, and the words that they tell their parent."""

from dataclasses import dataclass

__all__ = ["BEAT", "LEAVING", "Limits"]

BEAT = b"."  # the loop of a worker has made a pass; the first tells that it serves
LEAVING = b"-"  # it has begun to end

_KILLED_AFTER = 2.0  # seconds that a worker may be late with its end


@dataclass(frozen=True)
class Limits:
    """Seconds: *grace* to finish, after *drain* of being unhealthy; *timeout* without a beat, None for any time."""

    grace: float
    drain: float = 0
    timeout: float | None = 30

    def __post_init__(self) -> None:
        if self.grace < 0 or self.drain < 0:
            raise ValueError(f"grace and drain are seconds, not {self.grace!r} and {self.drain!r}")
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError(f"with a worker_timeout of {self.timeout!r} no worker would be in time; None is no limit")

    @property
    def between_beats(self) -> float:
        """Return the seconds from one beat to the next, so that a worker that is not hung is heard in time."""
        return 1.0 if self.timeout is None else min(1.0, self.timeout / 4)

    @property
    def to_end(self) -> float:
        """Return the seconds after which a worker that was told to end is killed."""
        return self.drain + self.grace + _KILLED_AFTER
