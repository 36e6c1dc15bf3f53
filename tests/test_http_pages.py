"""The server's own pages: their content, and that they are well-formed and load nothing."""

import re
from html.parser import HTMLParser
from http import HTTPStatus

import pytest

from asynchat_fast.http.document_root import Entry
from asynchat_fast.http.listing import listing_page
from asynchat_fast.http.pages import error_page

VOID = {"meta"}


class Page(HTMLParser):
    """The text and the links of a page, in which each element must be closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.links, self.text, self.attributes = [], [], "", []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.attributes.append((tag, dict(attributes)))
        if tag == "a":
            self.links.append(dict(attributes)["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if "style" not in self.open and "title" not in self.open:
            self.text += text


@pytest.mark.parametrize("code", [*(each for each in HTTPStatus if each >= 300), 299, 499, 599])
def test_error_pages(code):
    page = error_page(int(code))
    read = Page(page)
    assert str(int(code)) in read.text
    assert not read.links
    assert "http://" not in page
    assert "https://" not in page
    assert len(page.encode()) < 2000


def test_the_message_of_an_error_page_is_text():
    page = error_page(404, "<No>", 'a & "b" <script>')
    assert "<h1>404 &lt;No&gt;</h1>" in page
    assert 'a & "b" <script>' in Page(page).text
    assert "<script>" not in page
    assert "There is nothing at this address." in error_page(404)
    assert Page(error_page(404, "", "")).text.strip() == "404"


FOLDER = [
    Entry("b", False, 3, 100.0),
    Entry("a", False, 2, 300.0),
    Entry("C", False, 1, 200.0),
    Entry("d", False, 1, 200.0),
    Entry("z", True, 4096, 50.0),
    Entry("y", True, 4096, 400.0),
]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "y z a b C d"),
        ("sort=name&order=asc", "y z a b C d"),
        ("sort=name&order=desc", "z y d C b a"),
        ("sort=size&order=asc", "y z C d a b"),
        ("sort=size&order=desc", "y z b a C d"),
        ("sort=time&order=asc", "z y b C d a"),
        ("sort=time&order=desc", "y z a C d b"),
        ("sort=time", "z y b C d a"),
        ("order=desc", "z y d C b a"),
        ("sort=nothing&order=<b>", "y z a b C d"),
        ("sort=size&sort=time", "z y b C d a"),
        ("%00=%ff&&&=", "y z a b C d"),
    ],
)
def test_a_listing_is_sorted(query, names):
    page = listing_page([], FOLDER, query=query).decode()
    assert re.findall("<bdi>([^<]*)</bdi>", page) == names.split()


def test_headings_lead_to_the_other_orders():
    for query, state in [("", "ascending"), ("sort=name&order=desc", "descending")]:
        page = Page(listing_page([], FOLDER, query=query).decode())
        sorted_by = [attributes.get("aria-sort") for tag, attributes in page.attributes if tag == "th"]
        assert sorted_by == [state, None, None]
        order = "desc" if state == "ascending" else "asc"
        assert page.links[:3] == [f"?sort=name&order={order}", "?sort=size&order=asc", "?sort=time&order=asc"]


def test_the_breadcrumb_leads_to_each_folder_above():
    page = Page(listing_page(["one", "<two>", "three"], []).decode())
    assert page.links[:3] == ["../../../", "../../", "../"]
    assert "Index of / one / <two> / three /" in page.text
    assert "?" not in Page(listing_page([], []).decode()).links[0].partition("?sort")[0]


def test_folders_are_marked():
    page = Page(listing_page(["sub"], FOLDER).decode())
    marked = [attributes.get("class") for tag, attributes in page.attributes if tag == "tr"]
    assert marked == [None, "folder", "folder", "folder", None, None, None, None]
