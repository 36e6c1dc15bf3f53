"""Channels in an asyncio program: their own loop embedded in asyncio's or uvloop's, or channels on its transports."""

from .embedding import embedded
from .serving import chat_protocol, connect, start_server

__all__ = ["chat_protocol", "connect", "embedded", "start_server"]
