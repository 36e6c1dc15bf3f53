from . import _asyncore_types as asyncore

__all__ = ["asyncore", "is_polling"]

def is_polling() -> bool: ...
