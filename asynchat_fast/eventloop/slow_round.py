"""The slow round: channels that report their interest are also asked in turn, in case a change was not reported."""

from collections.abc import Collection

__all__ = ["SlowRound"]

_STEP = 1 / 64  # seconds from one step to the next
_STEPS = 60  # steps in a round, which takes less than a second
_FEWEST = 32  # channels asked in a step


class SlowRound:
    """Chooses the channels to ask in this pass, and the time of the next step."""

    def __init__(self) -> None:
        # Channels that must still be asked before the loop may wait its whole timeout: all, after program code ran.
        self.owed = 0
        self.next = 0.0  # the time.monotonic() of the next step
        self._turn: list[int] = []  # descriptors still to come in this round

    def take(self, channels: Collection[int], now: float) -> list[int]:
        """Return the descriptors among *channels* whose turn it is, in the step that is due *now* (seconds)."""
        self.next = now + _STEP
        size = min(max(_FEWEST, len(channels) // _STEPS + 1), self.owed)
        self.owed -= size
        if len(self._turn) < size:
            # At the beginning of the list: those that are left of the last round are at its end, and are taken first.
            self._turn[:0] = tuple(channels)
        taken = self._turn[-size:]
        del self._turn[-size:]
        return taken
