"""Time limits for workers, and the messages that they write to their parent."""

from dataclasses import dataclass

from ..arguments import check_limit, check_seconds

__all__ = ["BEAT", "LEAVING", "Limits"]

BEAT = b"."  # the worker's loop has made a pass; the first one says that the worker serves
LEAVING = b"-"  # the worker has begun to end

_KILLED_AFTER = 2.0  # seconds that a worker may be late with its end before it is killed
_AHEAD = 0.25  # seconds by which the parent is ahead of workers at the end of the drain, even on a busy machine


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
        check_seconds("grace", self.grace)
        check_seconds("drain", self.drain)
        check_limit("worker_timeout", self.timeout)

    @property
    def between_beats(self) -> float:
        """The seconds from one beat to the next: several within *timeout*."""
        return 1.0 if self.timeout is None else min(1.0, self.timeout / 4)

    @property
    def to_last_accept(self) -> float:
        """The seconds after which workers that were told to end are about to accept the last connections."""
        return max(self.drain - _AHEAD, 0.0)

    @property
    def to_end(self) -> float:
        """The seconds after which a worker that was told to end is killed."""
        return self.drain + self.grace + _KILLED_AFTER
