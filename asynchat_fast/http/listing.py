"""The page that shows what is in a folder."""

import html
import os
import time
from collections.abc import Iterable
from urllib.parse import quote

from .trees import Entry

__all__ = ["listing_page"]

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
# Controls would not be seen, or are not allowed in a page, or make a name read as another.
_CONTROLS = (*range(32), *range(127, 160), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_SHOWN = dict.fromkeys(_CONTROLS, "\N{REPLACEMENT CHARACTER}")

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Index of {title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.35rem; font-weight: 600; overflow-wrap: anywhere }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ padding: .3rem .75rem; text-align: left; vertical-align: top; border-bottom: 1px solid #8884 }}
th {{ font-weight: 600 }}
th:first-child, td:first-child {{ padding-left: 0; width: 100%; overflow-wrap: anywhere }}
bdi {{ white-space: pre-wrap }}
th + th, td + td {{ padding: .3rem 0 .3rem 1.25rem; text-align: right; white-space: nowrap }}
td + td {{ font-variant-numeric: tabular-nums }}
tbody tr:hover {{ background: #8882 }}
a {{ text-decoration: none }}
a:hover, a:focus {{ text-decoration: underline }}
</style>
</head>
<body>
<h1>Index of <bdi>{title}</bdi></h1>
<table>
<thead><tr><th>Name</th><th>Size</th><th>Modified</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
{note}</body>
</html>
"""
_PARENT = '<tr><td><a href="../">../</a></td><td></td><td></td></tr>\n'


def listing_page(segments: list[str], entries: Iterable[Entry], is_all: bool = True) -> bytes:
    """Return the page (UTF-8) of the folder at *segments*, with its *entries*, or some of them if not *is_all*."""
    shown = sorted(entries, key=lambda entry: (not entry.is_folder, entry.name.casefold(), entry.name))
    rows = "".join(map(_row, shown))
    notes = ["" if shown else "<p>There is nothing in this folder.</p>\n"]
    if not is_all:
        notes.append(f"<p>There is more than the {len(shown):,} files and folders that are shown.</p>\n")
    page = _PAGE.format(
        title=_text("".join(f"/{name}" for name in segments) + "/"),
        rows=(_PARENT if segments else "") + rows,
        note="".join(notes),
    )
    return page.encode()


def _text(name: str) -> str:
    """Return *name* as it is to stand in a page, if it is no UTF-8, too."""
    return html.escape(os.fsencode(name).decode("utf-8", "replace").translate(_SHOWN))


def _row(entry: Entry) -> str:
    slash = "/" if entry.is_folder else ""
    link = quote(os.fsencode(entry.name), safe="") + slash
    size = "" if entry.is_folder else _size(entry.size)
    return (
        f'<tr><td><a href="{link}"><bdi>{_text(entry.name)}</bdi>{slash}</a></td>'
        f"<td>{size}</td><td>{_time(entry.modified)}</td></tr>\n"
    )


def _size(octets: int) -> str:
    """Return *octets* in units that are easily read."""
    if octets < 1024:
        return f"{octets} B"
    size = float(octets)
    for unit in _UNITS:
        size /= 1024
        if size < 999.5 or unit is _UNITS[-1]:
            break
    return f"{size:.1f} {unit}" if size < 99.95 else f"{size:.0f} {unit}"


def _time(seconds: float) -> str:
    try:
        local = time.localtime(seconds)
    except (OverflowError, ValueError, OSError):  # a time that the system cannot tell
        return ""
    return time.strftime('<time datetime="%Y-%m-%dT%H:%M:%S%z">%Y-%m-%d %H:%M</time>', local)
