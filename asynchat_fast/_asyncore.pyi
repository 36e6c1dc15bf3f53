import asyncore as asyncore  # type: ignore[import-untyped,unused-ignore]  # pyasyncore brings no types

__all__ = ["asyncore"]
