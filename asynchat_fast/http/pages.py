"""The pages that the server makes: one template, and a sentence for each error status.

The pages load nothing from elsewhere, and are short: an error page has less than 2,000 bytes.
"""

import html
from http import HTTPStatus

__all__ = ["HTML", "PAGE_FIELDS", "error_page", "page"]

HTML = "text/html; charset=utf-8"
"""The Content-Type of a page."""

PAGE_FIELDS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
)
"""The fields of a response with a page, by which a browser runs no script and loads nothing else for it."""

_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}</body>
</html>
"""
_STYLE = """\
:root { --text: #1f2328; --soft: #59636e; --line: #d1d9e0; --hover: #f3f5f8; --link: #0a5dc2; --back: #fff }
@media (prefers-color-scheme: dark) {
:root { --text: #e6e9ee; --soft: #9aa4b0; --line: #343b44; --hover: #1c2128; --link: #7ab7ff; --back: #101418 }
}
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.35rem; font-weight: 600 }
a { color: var(--link); text-decoration: none }
a:hover, a:focus { text-decoration: underline }
"""
_ERROR_STYLE = """\
body { max-width: 36rem; margin: 18vh auto }
h1 { margin: 0 }
p { margin: .5rem 0; color: var(--soft) }
"""

_WORDS = {
    400: "The request could not be understood.",
    401: "This needs a name and a password.",
    403: "This is not for everyone to see.",
    404: "There is nothing at this address.",
    405: "This address does not take requests of this method.",
    406: "There is no version of this that your program accepts.",
    408: "The request did not arrive in time. Please try again.",
    409: "The request does not fit the present state of this address.",
    410: "What was at this address has been removed.",
    411: "The request must say how long its body is.",
    412: "This has changed since your program last saw it.",
    413: "The body of the request is too large.",
    414: "The address is too long.",
    415: "The body of the request is of a type that is not taken here.",
    416: "The file does not have the part that was asked for.",
    417: "The server cannot do what the request expects of it.",
    421: "The request was sent to the wrong server.",
    426: "This address needs another protocol.",
    429: "These were too many requests. Please wait a moment.",
    431: "The fields of the request are too large.",
    500: "Something went wrong on the server.",
    501: "The server does not know this kind of request.",
    502: "Another server that is needed for this did not respond well.",
    503: "The server cannot do this at the moment. Please try again soon.",
    504: "Another server that is needed for this did not respond in time.",
    505: "The server does not know this version of HTTP.",
}


def page(title: str, body: str, style: str = "") -> str:
    """Return a page (str) with *title* and *body*, which are HTML, and additional *style* (CSS)."""
    return _TEMPLATE.format(title=title, body=body, style=_STYLE + style)


def error_page(code: int, message: str | None = None, explain: str | None = None) -> str:
    """Return the page for a response with status *code*.

    *message* and *explain* are plain text (str): a few words that name the error, and a sentence about it;
    None for the usual texts of *code*.
    """
    if message is None:
        try:
            message = HTTPStatus(code).phrase
        except ValueError:
            message = "Error"
    title = html.escape(f"{code} {message}")
    words = html.escape(_WORDS.get(code, "") if explain is None else explain)
    return page(title, f"<h1>{title}</h1>\n<p>{words}</p>\n", _ERROR_STYLE)
