"""The receiving half of a conversation: octets in, callbacks out.

A short Python loop pulls payloads out of the InputBuffer; nothing compiled ever calls
back, so a callback may do as it likes: feed, discard, close, change the terminator.
Attributes that the loop reads have no default on the class, because CPython does not
specialise the access to a name that is in both places.
"""

from types import MethodType

from .framing import InputBuffer

__all__ = ["Receiving"]


def _plain_get_terminator(channel):
    """Return the terminator; see ``set_terminator()``."""
    return channel.terminator


class _RebindableMethod(property):
    """``get_terminator``: a function on the class, a method on an object that may rebind it, and is told so.

    Asking for the terminator before every payload costs a fifth of the time that a line takes.
    The loop must know when nothing but the attribute can be the answer.
    """

    __call__ = staticmethod(_plain_get_terminator)


class Receiving:
    """What a channel does with the octets that it receives."""

    ac_in_buffer_size = 65536
    """Octets to ask of the transport at once (int)."""

    use_encoding = 0
    """Whether a str is taken, encoded, where octets are due (bool): as terminator, received and to be sent."""

    encoding = "latin-1"
    """The encoding for ``use_encoding`` (str)."""

    collect_views = False
    """Whether ``collect_incoming_data()`` gets memoryviews of what was received (bool) rather than bytes of its own.

    Looked up when a terminator is set.  A view keeps all alive that came with it.
    """

    max_payload = None
    """The most octets a payload may have that ends at an octet terminator (int); None is no limit.

    Looked up when a terminator is set; see ``handle_overlong_payload()``.
    """

    def __init__(self):
        self.ac_in_buffer = b""
        self.incoming = []

    def __buffer(self):
        # Not made in __init__, which a subclass need not call if it sets ac_in_buffer.
        try:
            return self.__input
        except AttributeError:
            self.__input = InputBuffer()
            self.__asks = True  # get_terminator() is called before each payload
            self.__collecting = False  # a payload is with collect_incoming_data()
            self._ac_holds = 0  # see Sending
            return self.__input

    def _ac_received(self):
        """Return a number that changes when octets are received."""
        return self.__input.fed

    def _unshare_input(self):
        """Go on with an InputBuffer of one's own: this object is a copy of another."""
        unread = self.__input.unread
        del self.__input
        self.ac_in_buffer = unread

    @property
    def ac_in_buffer(self):
        """What was received and not delivered yet (bytes); may be assigned at any time, ``b""`` to discard it.

        While ``collect_incoming_data()`` runs, what it was given still counts.
        """
        return self.__input.untaken if self.__collecting else self.__input.unread

    @ac_in_buffer.setter
    def ac_in_buffer(self, octets):
        buffer = self.__buffer()
        taken = buffer.taken
        buffer.unread = octets or b""
        if self.__collecting:
            buffer.skip(taken)  # what is being collected is dropped by its length, as asynchat does

    @property
    def terminator(self):
        """What ends the payload at hand: octets, the number of octets to come, or a false value for nothing."""
        try:
            return self.__terminator
        except AttributeError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'terminator'") from None

    @terminator.setter
    def terminator(self, terminator):
        buffer = self.__buffer()
        self.__terminator = terminator
        self.__asks = self.__rebound is not None or type(self).get_terminator is not _get_terminator
        if self.__asks:
            buffer.set_terminator(None)  # ends the loop that does not ask
        else:
            buffer.set_terminator(terminator, self.max_payload, self.collect_views)

    @terminator.deleter
    def terminator(self):
        del self.__terminator
        self.__asks = True
        self.__buffer().set_terminator(None)

    __rebound = None  # what an object has put in place of get_terminator

    def __fetch_get_terminator(self):
        rebound = getattr(self, "_Receiving__rebound", None)
        return MethodType(_plain_get_terminator, self) if rebound is None else rebound

    def __rebind_get_terminator(self, function=None):
        self.__rebound = function
        if isinstance(self, Receiving):  # and not of a class that borrows the method
            self.__asks = True
            self.__buffer().set_terminator(None)  # ends the loop that does not ask

    get_terminator = _RebindableMethod(
        __fetch_get_terminator, __rebind_get_terminator, __rebind_get_terminator, _plain_get_terminator.__doc__
    )

    def set_terminator(self, term):
        """Set what ends a payload.

        *term* is octets; a number of octets, after which ``found_terminator()`` is called once;
        or None, 0 or empty, for a payload without end, which ``found_terminator()`` is never
        called for.  With ``use_encoding``, a str is encoded.  ValueError for a negative number.
        Source: the asynchat documentation.
        """
        if isinstance(term, str) and self.use_encoding:
            term = term.encode(self.encoding)
        elif isinstance(term, int) and term < 0:
            raise ValueError(f"a numeric terminator counts octets: it cannot be {term}")
        self.terminator = term

    def collect_incoming_data(self, data):
        """Take *data*, the payload at hand or a part of it (bytes, never empty); to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must define collect_incoming_data()")

    def found_terminator(self):
        """Act upon the payload, which is complete; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must define found_terminator()")

    def _ac_collect_partial(self, data):
        """Take *data*, octets of a payload whose terminator has not come, for classes that want to know that.

        Tell whether what may be the beginning of the terminator is to be looked at again, as it is another one now.
        """
        self.collect_incoming_data(data)
        return False

    def _collect_incoming_data(self, data):
        self.incoming.append(data)

    def _get_data(self):
        data = b"".join(self.incoming)
        del self.incoming[:]
        return data

    def handle_overlong_payload(self):
        """Called once for each payload that exceeds ``max_payload``; logs and closes, unless overridden.

        What had not been collected of the payload is dropped, up to and including its
        terminator, for which ``found_terminator()`` is not called.  Who overrides this to go on
        drops what was collected before.
        """
        self.log_info(f"closing {self!r}: more than {self.max_payload} octets without a terminator", "error")
        self.ac_in_buffer = b""
        self.handle_close()

    def receive(self, octets):
        """Deliver *octets* (bytes-like) to the callbacks, after those that wait in ``ac_in_buffer``.

        What ``collect_incoming_data()`` was given when it raised stays in ``ac_in_buffer``.
        """
        try:
            buffer = self.__input
        except AttributeError:
            if isinstance(self, Receiving):
                raise
            return _Borrower(self).receive(octets)
        try:
            buffer.feed(octets)
        except TypeError:
            if not (isinstance(octets, str) and self.use_encoding):
                raise
            buffer.feed(octets.encode(self.encoding))
        outer = self._ac_holds
        if not outer and self.coalesce_pushes:
            self._ac_hold_pushes()
        try:
            while True:
                if not self.__asks:
                    for payload in buffer:
                        if payload:
                            self.__collecting = True
                            self.collect_incoming_data(payload)
                            self.__collecting = False
                        self.found_terminator()
                if not buffer:
                    break
                if not self.__deliver(buffer):
                    buffer.feed(b"")  # keeps no more of the received object than what waits
                    break
        except BaseException:
            if self.__collecting:
                self.__collecting = False
                buffer.put_back()
            raise
        finally:
            if self._ac_holds and not outer:
                self._ac_send_held()

    _ac_receive = receive

    def __deliver(self, buffer):
        """Deliver what the present terminator lets out of *buffer*; tell whether more may come out."""
        asks = self.__asks
        terminator = self.get_terminator() if asks else self.__terminator
        if asks:
            buffer.set_terminator(terminator, self.max_payload, self.collect_views)
        payload = next(buffer, None)
        whole = payload is not None
        if not whole:
            payload = buffer.take_partial()
        if asks:
            buffer.set_terminator(None)  # an answer holds for one payload
        if payload and isinstance(terminator, int) and terminator:
            self.__deliver_counted(payload, terminator)
        elif whole:
            self.__collect(payload)
            self.found_terminator()
        elif payload:
            waits = bool(buffer)
            self.__collecting = True
            again = self._ac_collect_partial(payload)
            self.__collecting = False
            if waits and not again:
                return False  # for the rest of what begins like the terminator
        elif buffer.overlong:
            buffer.overlong = False
            self.handle_overlong_payload()
        else:
            return False
        return bool(buffer) or not asks

    def __deliver_counted(self, payload, terminator):
        before = getattr(self, "terminator", None)  # not always what get_terminator() answered
        self.__collect(payload)
        if len(payload) == terminator:
            self.terminator = 0
            self.found_terminator()
        elif self.terminator == before:  # not changed by the callback
            self.terminator = before - len(payload)

    def __collect(self, payload):
        if payload:
            self.__collecting = True
            self.collect_incoming_data(payload)
            self.__collecting = False


_get_terminator = Receiving.get_terminator


class _Borrower(Receiving):
    """Receives for an object whose class only borrowed ``handle_read()``: its ``ac_in_buffer`` is a plain attribute."""

    coalesce_pushes = False  # it is the owner that pushes

    def __init__(self, owner):
        super().__init__()
        self.owner = owner
        self.use_encoding = getattr(owner, "use_encoding", self.use_encoding)
        self.encoding = getattr(owner, "encoding", self.encoding)
        self.ac_in_buffer = owner.ac_in_buffer

    @property
    def terminator(self):
        return self.owner.terminator

    @terminator.setter
    def terminator(self, terminator):
        self.owner.terminator = terminator

    def get_terminator(self):
        return self.owner.get_terminator()

    def receive(self, octets):
        try:
            super().receive(octets)
        finally:
            self.owner.ac_in_buffer = self.ac_in_buffer

    def collect_incoming_data(self, data):
        self.__call(self.owner.collect_incoming_data, data)

    def found_terminator(self):
        self.__call(self.owner.found_terminator)

    def __call(self, callback, *args):
        shown = self.owner.ac_in_buffer = self.ac_in_buffer
        try:
            callback(*args)
        finally:
            if self.owner.ac_in_buffer is not shown:
                self.ac_in_buffer = self.owner.ac_in_buffer
