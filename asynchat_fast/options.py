"""The options of a conversation: attributes that programs may assign on an object, and override on a class.

They take the channel off the fast paths of ``handle_read()`` and ``set_terminator()``, where looking at options would
cost more than all the rest.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

__all__ = ["check_max_payload", "coalesce_pushes", "collect_views", "max_payload", "output_high_water"]


def _option(name: str, doc: str, check: Callable[[Any], object] | None = None) -> Any:
    """Return a property *name* (str) with the docstring *doc*, whose value is in ``_ac_`` + *name*.

    *check* raises for a wrong value.
    """

    def assign(self: Any, value: Any) -> None:
        if check is not None:
            check(value)
        setattr(self, f"_ac_{name}", value)
        self._ac_has_options = True
        self._ac_prepared()
        self._ac_use_options()
        self._ac_report()

    return property(attrgetter(f"_ac_{name}"), assign, doc=doc)


def check_max_payload(most: Any) -> None:
    """Raise ValueError if *most* is negative."""
    if most and most < 0:
        raise ValueError(f"max_payload counts bytes: it cannot be {most}")


collect_views = _option(
    "collect_views",
    """Whether ``collect_incoming_data()`` gets memoryviews of the received bytes (bool), without a copy.

    A view keeps all bytes alive that were received with it.  Default: False.
    """,
)

max_payload = _option(
    "max_payload",
    """The most bytes that may come before a byte terminator (int); None, the default, or 0 is no limit.

    A numeric terminator is not limited.  ValueError for a negative number.  See ``handle_overlong_payload()``.
    """,
    check_max_payload,
)

coalesce_pushes = _option(
    "coalesce_pushes",
    """Whether pushes made while input is handled are sent together after it, by few ``send()`` (bool).""",
)

output_high_water = _option(
    "output_high_water",
    """While more bytes than this wait to be sent (int), nothing is received; None, the default, is no limit.""",
)
