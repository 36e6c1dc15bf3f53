"""Time limits for workers, and the messages that they write to their parent."""

from dataclasses import dataclass

__all__ = ["BEAT", "LEAVING", "Limits"]

BEAT = b"."  # the worker's loop has made a pass; the first one says that the worker serves
LEAVING = b"-"  # the worker has begun to end

_KILLED_AFTER = 2.0  # seconds that a worker may be late with its end before it is killed


@dataclass(frozen=True)
class Limits:
    """The seconds that workers have.

    When told to end, their health checks fail for *drain* seconds, and then they have *grace* seconds to finish.  A
    worker without a beat for *timeout* seconds (None for no limit) is hung.
    """

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
        """The seconds from one beat to the next: several within *timeout*."""
        return 1.0 if self.timeout is None else min(1.0, self.timeout / 4)

    @property
    def to_end(self) -> float:
        """The seconds after which a worker that was told to end is killed."""
        return self.drain + self.grace + _KILLED_AFTER
