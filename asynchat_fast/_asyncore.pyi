from . import _asyncore_types as asyncore

__all__ = ["asyncore"]
