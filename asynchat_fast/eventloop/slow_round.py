"""The slow round: channels that are not asked in each pass are asked in turn, in case that they changed unnoticed."""

from collections.abc import Collection

__all__ = ["SlowRound"]

_STEP = 1 / 64  # seconds from one step to the next
_STEPS = 60  # that make a round: less than a second
_FEWEST = 32  # channels asked in a step


class SlowRound:
    """Chooses the channels to ask now, and tells when the next are due."""

    def __init__(self) -> None:
        self.owed = 0  # channels to be asked before the loop may wait its whole timeout: all, once code has run
        self.next = 0.0  # the time.monotonic() of the next step
        self._turn: list[int] = []  # descriptors still to come in this round

    def take(self, channels: Collection[int], now: float) -> list[int]:
        """Return those of *channels* whose turn it is, as a step is due *now*."""
        self.next = now + _STEP
        size = min(max(_FEWEST, len(channels) // _STEPS + 1), self.owed)
        self.owed -= size
        if len(self._turn) < size:
            # Those that are left stand at the end, which is where the next are taken from.
            self._turn[:0] = tuple(channels)
        taken = self._turn[-size:]
        del self._turn[-size:]
        return taken
