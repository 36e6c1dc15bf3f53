"""Choose the head parser: the compiled one, or the plain one where that is what there is.

The only place that chooses; ``asynchat_fast/_compiled.py`` says when, and what is said about it.
"""

from .._compiled import is_wanted, report_missing

__all__ = ["COMPILED", "check_beginning", "parse_fields", "parse_head"]

COMPILED = False
"""Whether heads are parsed by the compiled module (bool)."""

if is_wanted():
    try:
        from ._head import check_beginning, parse_fields, parse_head

        COMPILED = True
    except ModuleNotFoundError as missing:
        report_missing(missing, f"{__package__}._head")

if not COMPILED:
    from ._head_py import check_beginning, parse_fields, parse_head
