"""Parse the head of a request: strictly, by RFC 9112, sections 2 to 5, and RFC 9110, section 5.

All functions take octets (bytes) that the caller has cut and raise HTTPError: 400 for what is malformed, 414
for a request line of more than *max_line* octets, 431 for more than *max_fields* field lines, 501 for a method
of more than 64 octets, 505 for another major version than 1.  The first fault in the order of the octets counts.
"""

_Fields = list[tuple[str, str]]
_Index = dict[str, str | list[str]]

def parse_head(octets: bytes, max_fields: int = 100, max_line: int = 8192) -> tuple[str, str, int, _Fields, _Index]:
    """Return method, target, minor version, fields and their index.

    *octets* are a head from the request line on, without the CRLF CRLF at its end.  The fields are pairs of the
    name as it was sent and the value without blanks around it, obs-text in it as Latin-1, in the order sent.
    The index has, by lower-case name, the value, or the list of values where a name was sent several times.
    What the target, and any field, means is left to the caller.
    """

def parse_fields(octets: bytes, max_fields: int = 100) -> tuple[_Fields, _Index]:
    """Return fields and their index, as ``parse_head()`` does.

    *octets* are the field lines alone, trailers, without the CRLF CRLF at their end; maybe none.
    """

def check_beginning(octets: bytes, checked: int = 0, max_fields: int = 100, max_line: int = 8192) -> int:
    """Raise what ``parse_head()`` will, whatever comes, for a head of which *octets* are the beginning.

    Return the offset up to which nothing is wrong, to be passed as *checked* with the same octets and what
    has come after them: then all calls together look at each octet of a field once, at those of the request
    line once a call.  A CR at the very end is never wrong where a line, or the head, may end.
    """
