"""Channels in an asyncio program: on their sockets, by our loop embedded in asyncio's, or on asyncio's transports."""

from .embedding import embedded
from .serving import chat_protocol, connect, start_server

__all__ = ["chat_protocol", "connect", "embedded", "start_server"]
