"""The page that lists the files and folders in a folder."""

import html
import os
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, quote

from .document_root import Entry
from .pages import page

__all__ = ["listing_page"]

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
# These characters are invisible, not allowed in HTML, or can make a name look like another one.
_CONTROLS = (*range(32), *range(127, 160), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_SHOWN = dict.fromkeys(_CONTROLS, "\N{REPLACEMENT CHARACTER}")

_STYLE = """\
h1 { padding-left: .5rem }
h1 a, h1 span { font-weight: 400 }
table { border-collapse: collapse; width: 100% }
th, td { padding: .35rem 0 .35rem 1.5rem; text-align: right; vertical-align: top; white-space: nowrap }
th { font-weight: 600; border-bottom: 2px solid var(--line) }
td { color: var(--soft); border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums }
th:first-child, td:first-child { padding-left: .5rem; width: 100%; text-align: left; white-space: normal }
th:last-child, td:last-child { padding-right: .5rem }
th a { color: inherit }
th[aria-sort=ascending] a::after { content: " \\2191" }
th[aria-sort=descending] a::after { content: " \\2193" }
tbody tr:hover { background: var(--hover) }
td:first-child { padding-left: 2.2rem; position: relative }
td:first-child::before { content: ""; position: absolute; left: .6rem; top: .68rem; width: .7rem; height: .85rem;
border: 1px solid var(--soft); border-radius: 1px; box-sizing: border-box }
.folder td:first-child::before { left: .5rem; top: .72rem; width: 1rem; height: .8rem; background: var(--link);
border: 0; clip-path: polygon(0 0, 40% 0, 50% 15%, 100% 15%, 100% 100%, 0 100%) }
bdi { white-space: pre-wrap }
@media (max-width: 36rem) { time span { display: none } th, td { padding-left: .9rem } }
"""
# The links in the rows begin with <a href=", for programs that look for that; all other links have rel="" first.
_PARENT = '<tr class="folder"><td><a href="../">../</a></td><td></td><td></td></tr>\n'

_ORDERS: dict[str, tuple[str, Callable[[Entry], Any]]] = {
    "name": ("Name", lambda entry: (entry.name.casefold(), entry.name)),
    "size": ("Size", lambda entry: 0 if entry.is_folder else entry.size),
    "time": ("Modified", lambda entry: entry.modified),
}


def listing_page(segments: list[str], entries: Iterable[Entry], is_all: bool = True, query: str = "") -> bytes:
    """Return the page (bytes, in UTF-8) of the folder at *segments*, with *entries*; not *is_all*: there are more.

    *query* may say how to sort: ``sort=name``, ``size`` or ``time``, and ``order=asc`` or ``desc``.
    """
    wanted = dict(parse_qsl(query))
    key = wanted.get("sort", "name")
    if key not in _ORDERS:
        key = "name"
    descends = wanted.get("order") == "desc"
    shown = _sorted(entries, key, descends)
    rows = "".join(map(_row, shown))
    table = (
        f"<table>\n<thead><tr>{_headings(key, descends)}</tr></thead>\n"
        f"<tbody>\n{_PARENT if segments else ''}{rows}</tbody>\n</table>\n"
    )
    notes = "" if shown else "<p>There is nothing in this folder.</p>\n"
    if not is_all:
        notes += f"<p>There is more than the {len(shown):,} files and folders that are shown.</p>\n"
    title = _text("".join(f"/{name}" for name in segments) + "/")
    body = f"<h1>{_breadcrumb(segments)}</h1>\n{table}{notes}"
    return page(f"Index of {title}", body, _STYLE).encode()


def _sorted(entries: Iterable[Entry], key: str, descends: bool) -> list[Entry]:
    """Return *entries* sorted: folders first, then by *key*, then by name."""
    by_name = sorted(entries, key=_ORDERS["name"][1], reverse=descends and key == "name")
    if key != "name":
        by_name.sort(key=_ORDERS[key][1], reverse=descends)
    return sorted(by_name, key=lambda entry: not entry.is_folder)


def _headings(key: str, descends: bool) -> str:
    cells = []
    for name, (heading, _) in _ORDERS.items():
        state, order = "", "asc"
        if name == key:
            state = f' aria-sort="{"descending" if descends else "ascending"}"'
            order = "asc" if descends else "desc"
        cells.append(f'<th{state}><a rel="nofollow" href="?sort={name}&amp;order={order}">{heading}</a></th>')
    return "".join(cells)


def _breadcrumb(segments: list[str]) -> str:
    """Return relative links to the folders above, which work behind a proxy, too."""
    if not segments:
        return "Index of /"
    links = [f'<a rel="up" href="{"../" * len(segments)}">Index of</a> <span>/</span>']
    for up, name in zip(range(len(segments) - 1, 0, -1), segments, strict=False):
        links.append(f' <a rel="up" href="{"../" * up}"><bdi>{_text(name)}</bdi></a> <span>/</span>')
    links.append(f" <bdi>{_text(segments[-1])}</bdi> <span>/</span>")
    return "".join(links)


def _text(name: str) -> str:
    """Return *name*, whose bytes may not be UTF-8, as text of a page."""
    return html.escape(os.fsencode(name).decode("utf-8", "replace").translate(_SHOWN))


def _row(entry: Entry) -> str:
    slash, mark = ("/", ' class="folder"') if entry.is_folder else ("", "")
    link = quote(os.fsencode(entry.name), safe="") + slash
    size = "" if entry.is_folder else _size(entry.size)
    return (
        f'<tr{mark}><td><a href="{link}"><bdi>{_text(entry.name)}</bdi>{slash}</a></td>'
        f"<td>{size}</td><td>{_time(entry.modified)}</td></tr>\n"
    )


def _size(count: int) -> str:
    """Return *count* bytes as text, in a unit that fits."""
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in _UNITS:
        size /= 1024
        if size < 999.5 or unit is _UNITS[-1]:
            break
    return f"{size:.1f} {unit}" if size < 99.95 else f"{size:.0f} {unit}"


def _time(seconds: float) -> str:
    try:
        local = time.localtime(seconds)
    except (OverflowError, ValueError, OSError):  # a time that the system cannot represent
        return ""
    return time.strftime('<time datetime="%Y-%m-%dT%H:%M:%S%z">%Y-%m-%d<span> %H:%M</span></time>', local)
