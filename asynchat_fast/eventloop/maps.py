"""``SocketMap``: an asyncore map that tells the loop what changes in it."""

from .timers import Timers

__all__ = ["SocketMap"]


class SocketMap(dict):
    """An asyncore map (descriptor -> dispatcher) that tells ``loop()`` what changes in it."""

    __slots__ = ("__weakref__", "changed", "reactor", "timers")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.changed = set(self)
        self.reactor = None
        self.timers = Timers()

    def touch(self, fd):
        """Have the channel at *fd* asked again what it waits for; any thread may."""
        self.changed.add(fd)
        self.wake()

    def wake(self):
        """Have a loop that waits begin its next pass; any thread may."""
        if self.reactor is not None:
            self.reactor.wake()

    def __setitem__(self, fd, channel):
        super().__setitem__(fd, channel)
        if self.reactor is not None:
            # The same channel may come back with another socket, of the same number.
            self.reactor.forget(fd)
        self.touch(fd)

    def __delitem__(self, fd):
        super().__delitem__(fd)
        if self.reactor is not None:
            # At once, while it is open: a copy in another process would keep the descriptor registered.
            self.reactor.forget(fd)
        self.wake()

    def clear(self):
        for fd in list(self):
            del self[fd]

    def pop(self, fd, *default):
        channel = super().pop(fd, *default)
        if self.reactor is not None:
            self.reactor.forget(fd)
        return channel

    def popitem(self):
        fd, channel = super().popitem()
        if self.reactor is not None:
            self.reactor.forget(fd)
        return fd, channel

    def setdefault(self, fd, channel=None):
        if fd not in self:
            self[fd] = channel
        return self[fd]

    def update(self, *args, **kwargs):
        for fd, channel in dict(*args, **kwargs).items():
            self[fd] = channel

    def __ior__(self, other):
        self.update(other)
        return self
