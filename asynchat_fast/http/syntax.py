"""The grammar that all parts of HTTP share: tokens, quoted strings, field values and lists.

Each expression has its ABNF beside it, and is defined nowhere else.  Source: RFC 9110, sections 5.5 and 5.6.
"""

import re

__all__ = ["BLANKS", "QUOTED_STRING", "TOKEN", "is_field_value", "is_token", "members"]

BLANKS = r"[ \t]*"
"""``OWS = BWS = *( SP / HTAB )``"""

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - no password
"""``token = 1*tchar``"""

QUOTED_STRING = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
r"""``quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE``; each quoted-pair begins with a backslash."""

is_token = re.compile(TOKEN).fullmatch

# field-value = *field-content, as it is sent: obs-text is opaque, and CR, LF or NUL would end the line.
is_field_value = re.compile(rb"[^\0\r\n]*").fullmatch


def members(value: str | list[str]) -> list[str]:
    """Return the members of a list of tokens, in lower case and without the empty ones.

    *value* is that of a field (str), or all that were sent under its name (list of str).
    Source: RFC 9110, section 5.6.1.
    """
    joined = value if isinstance(value, str) else ",".join(value)
    found = (member.strip(" \t").lower() for member in joined.split(","))
    return [member for member in found if member]
