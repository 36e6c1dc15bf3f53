"""The sending half of a conversation: what is pushed waits in a queue, and one at a time sends from it."""

import sys
from collections import deque
from itertools import accumulate, islice, repeat, starmap, takewhile
from threading import RLock

from .producers import FileChanged, file_producer

__all__ = ["Sending", "would_block"]

OCTETS = (bytes, bytearray, memoryview)

_JOINED_MOST = 1024  # items of the queue that are joined at once
_HELD_WHOLE = 4096  # octets of a push that is held back, before its size is looked at

_making_queue = RLock()  # so that threads whose first pushes meet make one queue; a signal handler may push, too


def would_block(error):
    """Tell whether *error*, an OSError, says "not now" rather than "failed"; a TLS socket's may, too."""
    if isinstance(error, BlockingIOError):
        return True
    ssl = sys.modules.get("ssl")  # whoever raises its errors has imported it
    return ssl is not None and isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError))


def _flat(view):
    """Return the octets of *view*, a memoryview of items of any size and arrangement, one by one."""
    if view.nbytes == len(view) and view.c_contiguous:
        return view
    return view.cast("B") if view.c_contiguous else view.tobytes()


class Sending:
    """What a channel does with the data that it is to send."""

    ac_out_buffer_size = 65536
    """Octets to give to the transport at once (int, at least 1)."""

    coalesce_pushes = False
    """Whether what is pushed while input is handled leaves together at the end of that (bool), in few sends."""

    output_high_water = None
    """The octets that may wait to be sent before reading pauses until fewer do (int); None is no limit."""

    def __init__(self):
        self.producer_fifo = None

    @property
    def producer_fifo(self):
        """What waits to be sent (a deque): octets, producers, and None for the end; may be changed and assigned."""
        self._ac_queue_is_known = True
        self._ac_report()
        return self.__queue()

    @producer_fifo.setter
    def producer_fifo(self, fifo):
        self.__fifo = fifo  # None: one is made when it is needed, as an empty deque takes much of an idle channel
        try:
            self.__outlet  # noqa: B018
        except AttributeError:  # not made in __init__, which a subclass need not call
            self.__outlet = [None]  # a token that the one who sends holds; taking it costs less than a Lock
            self.__sends = 0
            self.__sends_owed = False  # another has wanted to meanwhile
            self._ac_holds = 0  # 1 + the items that waited before, while pushes are held back
            self._ac_closed = False
        else:
            self.__hold_all()
            self._ac_report()

    def __queue(self):
        if self.__fifo is None:
            with _making_queue:
                if self.__fifo is None:
                    self.__fifo = deque()
        return self.__fifo

    _ac_queue_is_known = False  # to others, who may append at any time

    def _ac_sent(self):
        """Return how often octets have been sent."""
        return self.__sends

    def _ac_is_sending(self):
        """Tell whether something waits to be sent."""
        return bool(self.__fifo)

    def _ac_report(self):
        """Called when ``readable()`` or ``writable()`` may have changed, for transports that want to know."""

    def push(self, data):
        """Queue *data* (bytes, bytearray or memoryview, else TypeError), and send if the transport takes it.

        On a closed channel, *data* is discarded.  ValueError for an ``ac_out_buffer_size`` below 1.
        """
        if self._ac_holds and type(data) is bytes and len(data) <= _HELD_WHOLE:
            self.__fifo.append(data)  # it will be cut, if need be, when it is sent
            if self._ac_holds:  # still, whatever other threads do
                return
        else:
            fifo = self.__fifo
            if type(data) is not bytes or not data or len(data) > self.ac_out_buffer_size or fifo is None:
                self.__enqueue(self.__pieces(data))
                return
            if self._ac_closed and self._is_gone():
                self.__log_discarding()
                return
            fifo.append(data)
        self.initiate_send()
        if self.__fifo:
            self._ac_report()

    def __pieces(self, data):
        """Return what to queue of *data*, so that pushes of several threads do not mix in one step."""
        if not isinstance(data, OCTETS):
            raise TypeError(f"push() takes bytes, bytearray or memoryview, not {type(data).__name__}")
        if isinstance(data, memoryview):
            data = _flat(data)
        size = self.ac_out_buffer_size
        if size < 1:
            raise ValueError(f"with an ac_out_buffer_size of {size}, nothing could be sent")
        if len(data) <= size:
            return (data,) if data else ()
        size = int(size)
        return [data[at : at + size] for at in range(0, len(data), size)]

    def push_with_producer(self, producer):
        """Queue *producer*, whose ``more()`` is called until it returns nothing, and send.

        ``more()`` returns octets, another producer, or with ``use_encoding`` a str.
        """
        self.__enqueue((producer,))

    def __enqueue(self, items):
        if self._ac_closed and self._is_gone():
            self.__log_discarding()
            return
        self.__queue().extend(items)
        if self._ac_holds:
            return
        self.initiate_send()
        if self.__fifo:
            self._ac_report()

    def __log_discarding(self):
        self.log_info(f"{self!r} is closed: what is pushed is discarded", "warning")

    def close_when_done(self):
        """Close once everything queued so far is sent, which for a channel not connected yet is after it is."""
        if not self._is_gone():
            self.__queue().append(None)
            self._ac_report()

    def _ac_discard_output(self):
        if self.__fifo:
            self.__fifo.clear()
        self.__hold_all()

    def initiate_send(self):
        """Send from the queue, by one ``send()`` of at most ``ac_out_buffer_size`` octets.

        One thread sends at a time.  Who comes meanwhile, from another thread or from within
        ``send()`` or ``more()``, leaves the sending to the one who is at it.
        """
        size = self.ac_out_buffer_size
        if size < 1:
            raise ValueError(f"with an ac_out_buffer_size of {size}, nothing could be sent")
        outlet = self.__outlet
        self.__sends_owed = True  # before the attempt: the one who sends looks after letting go
        while self.__sends_owed:
            try:
                token = outlet.pop()
            except IndexError:
                break
            self.__sends_owed = False
            try:
                fifo = self.__fifo
                if not fifo or not self.connected:
                    continue
                first = data = fifo[0]
                length = len(data) if type(data) is bytes else 0
                # Nearly always the only item, and octets that can go as they are.
                if not length or length > size or (len(fifo) > 1 and self.coalesce_pushes):
                    data = self.__next_octets(int(size))
                    if not data:
                        continue
                    fifo = self.__fifo
                    first = fifo[0]
                    length = len(first)
                try:
                    sent = self.send(data)
                except OSError as error:
                    if not would_block(error):
                        self.handle_error()
                    continue
                if sent:
                    self.__sends += 1
                    if fifo and fifo[0] is first:  # and has not been discarded meanwhile
                        if sent < length:
                            fifo[0] = first[sent:]
                        else:
                            del fifo[0]
            finally:
                outlet.append(token)

    def __next_octets(self, size):
        """Bring octets to the head of the queue; return at most *size* of them, none if none are to be sent now."""
        while self.__fifo and self.connected:
            first = self.__fifo[0]
            if first is None:
                self.__replace_first(first)
                self.handle_close()
                break
            try:
                data = first[:size]
            except TypeError:  # not octets: a producer
                if self.__ask_producer(first):
                    break
                continue
            if not data:
                self.__replace_first(first)
            elif isinstance(data, str) and self.use_encoding:
                self.__replace_first(first, first.encode(self.encoding))
            elif isinstance(data, memoryview) and not (data.c_contiguous and data.nbytes == len(data)):
                self.__replace_first(first, _flat(first))
            elif self.coalesce_pushes and len(self.__fifo) > 1:
                return self.__join_first(size)[:size]
            else:
                return data
        return b""

    def __ask_producer(self, producer):
        """Put before *producer* what it has next; tell whether something was sent, or tried to be, in doing so."""
        try:
            if isinstance(producer, file_producer) and self.__send_file(producer):
                return True
            data = producer.more()
        except FileChanged as error:
            self.log_info(f"closing {self!r}: {error}", "error")
            self.handle_close()
            return True
        if data:
            self.__fifo.appendleft(data)
        else:
            self.__replace_first(producer)
        return False

    def __send_file(self, producer):
        """Send octets of a file without reading them; tell whether that was all to be done for now."""
        if producer.fileno is None or not producer.remaining or type(producer).more is not file_producer.more:
            return False
        producer.check()
        sent = self._ac_send_file(producer.fileno, producer.offset, producer.remaining)
        if sent is None:
            return False
        if sent >= 0:
            producer.advance(sent)
            self.__sends += 1
        return True

    def _ac_send_file(self, fileno, offset, count):
        """Send from a file by the transport's means: return how much, -1 for nothing now, None without such means."""
        return None

    def __replace_first(self, first, rest=b""):
        """Put *rest* in the place of *first*, unless a callback has emptied the queue meanwhile."""
        fifo = self.__fifo
        if fifo and fifo[0] is first:
            if rest:
                fifo[0] = rest
            else:
                del fifo[0]

    def __join_first(self, size):
        """Make one item of those at the head of the queue that together have at most *size* octets."""
        fifo = self.__fifo
        items = list(islice(fifo, _JOINED_MOST))
        try:
            joined = b"".join(items) if sum(map(len, items)) <= size else None
        except TypeError:  # not octets alone
            joined = None
        if joined is None or len(joined) > size:
            totals = accumulate(len(item) for item in takewhile(lambda item: isinstance(item, OCTETS), items))
            items = items[: sum(1 for _ in takewhile(lambda total: total <= size, totals))]
            joined = b"".join(items)
        if len(items) > 1:
            deque(starmap(fifo.popleft, repeat((), len(items))), 0)  # as a loop in C
            fifo.appendleft(joined)
        return fifo[0]

    def _ac_hold_pushes(self):
        """Have what is pushed from now on wait for ``_ac_send_held()``."""
        self._ac_holds = 1 + len(self.__queue())

    def __hold_all(self):
        """Have the whole queue, which is another now, wait for ``_ac_send_held()``, if anything does."""
        if self._ac_holds:
            self.__queue()
            self._ac_holds = 1

    def __release(self):
        """Hold pushes back no more; return how many items were added meanwhile."""
        before = self._ac_holds - 1
        self._ac_holds = 0
        return len(self.__fifo or ()) - before

    def _ac_send_held(self):
        """Send what ``coalesce_pushes`` held back while input was handled."""
        if self.__release() > 0:
            self.initiate_send()
        if self.__fifo:
            self._ac_report()

    def _send_held_back(self):
        """Send, before closing, what would have been sent already without ``coalesce_pushes``."""
        tried = None
        for _ in range(self.__release() if self._ac_holds else 0):
            if not self.__fifo or self.__fifo[0] is tried:
                break
            tried = self.__fifo[0]
            self.initiate_send()

    def _ac_end_output(self):
        """Tell the peer that nothing more will be sent, and tell whether that can be done without closing."""
        return False

    def _is_gone(self):
        """Tell whether the transport has been closed, and not been replaced."""
        return self._ac_closed and not self.connected

    _ac_reading_is_paused = False

    def _ac_pause_reading(self, paused):
        """Have nothing received while *paused* (bool), for classes that answer one request after the other."""
        self._ac_reading_is_paused = paused
        self._ac_report()

    def pause_reading(self):
        """Receive nothing until ``resume_reading()`` is called."""
        self._ac_pause_reading(True)

    def resume_reading(self):
        """Receive again."""
        self._ac_pause_reading(False)

    def readable(self):
        """Tell whether to read: always, but while more than ``output_high_water`` octets wait to be sent."""
        if self._ac_reading_is_paused:
            return False
        return self.output_high_water is None or not self.__exceeds_high_water()

    def __exceeds_high_water(self):
        waiting = 0
        for item in list(self.__fifo or ()):  # other threads may push meanwhile
            # A producer counts as what it may add to the queue at once.
            waiting += len(item) if isinstance(item, OCTETS) else self.ac_out_buffer_size
            if waiting > self.output_high_water:
                return True
        return False

    def writable(self):
        """Tell whether there is something to send, or a connection to be waited for."""
        return bool(self.__fifo) or not self.connected
