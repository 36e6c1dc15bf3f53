"""Content negotiation: the preferences of a client.  Source: RFC 9110, section 12."""

import re
from collections.abc import Iterable

from .syntax import QUOTED_STRING, TOKEN

__all__ = ["preferred_coding", "wants_html"]

# member = ( token / "*" / media-range ) [ weight ]; the other parameters of a media range do not matter here.
_match_member = re.compile(
    rf"({TOKEN}(?:/{TOKEN})?)"
    rf"""(?:[ \t]*;[ \t]*(?!q=){TOKEN}=(?:{TOKEN}|{QUOTED_STRING}))*"""
    r"(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?",
    re.IGNORECASE,
).fullmatch
_ALIASES = {"x-gzip": "gzip"}  # RFC 9110, section 8.4.1.3


def _weights(value: str) -> dict[str, float]:
    """Return the weight, 0 to 1, of each member of a list, by its name in lower case; malformed ones are left out."""
    weights = {}
    for member in value.split(","):
        if found := _match_member(member.strip(" \t")):
            name = found[1].lower()
            weights[_ALIASES.get(name, name)] = float(found[2] or 1)
    return weights


def preferred_coding(accept_encoding: str | None, available: Iterable[str]) -> str | None:
    """Return the content coding among *available* that the client prefers, None for no coding.

    *accept_encoding* is the value of the field, None if there is none.  Of codings with the same weight, the first in
    *available* is taken; no coding, if the client gives ``identity`` a greater weight.
    """
    if not accept_encoding:
        return None
    weights = _weights(accept_encoding)
    others = weights.get("*", 0.0)
    best, best_weight = None, weights.get("identity", 0.0)
    for coding in available:
        weight = weights.get(coding, others)
        if weight and (weight > best_weight or (weight == best_weight and best is None)):
            best, best_weight = coding, weight
    return best


def wants_html(accept: str | None) -> bool:
    """Return whether *accept*, the value of the field, names HTML: browsers do so for pages, and not for data."""
    return accept is not None and any(map(_weights(accept).get, ("text/html", "application/xhtml+xml")))
