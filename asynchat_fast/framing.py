"""Choose the InputBuffer: the compiled one, or the plain one where that is what there is.

The only place that chooses; ``_compiled.py`` says when, and what is said about it.
"""

from ._compiled import is_wanted, report_missing

__all__ = ["COMPILED", "InputBuffer", "find_prefix_at_end"]

COMPILED = False
"""Whether InputBuffer is the compiled one (bool)."""

if is_wanted():
    try:
        from ._framing import InputBuffer, find_prefix_at_end

        COMPILED = True
    except ModuleNotFoundError as missing:
        report_missing(missing, f"{__package__}._framing")

if not COMPILED:
    from ._framing_py import InputBuffer, find_prefix_at_end
