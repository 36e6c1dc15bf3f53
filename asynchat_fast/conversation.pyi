from typing_extensions import Self

from .receiving import Receiving
from .sending import Sending

__all__ = ["Conversation"]

class Conversation(Receiving, Sending):
    def __copy__(self) -> Self: ...
    def discard_buffers(self) -> None: ...
