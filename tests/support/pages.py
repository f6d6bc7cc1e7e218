"""Reading what the report has written or printed."""

import io
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

from rich.console import Console

VOID = {"meta", "link", "br", "img", "hr", "input"}


class PageParser(HTMLParser):
    """Collects what a page loads, its ids and its text, and checks that its tags are balanced."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                self.loads.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parse_page(path: Path) -> PageParser:
    """Parse a page; runs of white space in its text become one space, as in a browser."""
    parser = PageParser()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    assert parser.open == []
    parser.text = " ".join(parser.text.split())
    return parser


def cells_of_html(html: str) -> set[str]:
    """Return what stands in the cells of all tables, the small line below each by itself."""
    cells = re.findall(r"<t[dh]\b[^>]*>(.*?)</t[dh]>", html, flags=re.DOTALL)
    return {unescape(line.removesuffix("</small>")) for cell in cells
            for line in cell.split(" <small>")}  # fmt: skip


def printed(function, *arguments, width: int = 80) -> str:
    """Return what a function prints to a console that is no terminal."""
    out = io.StringIO()
    function(*arguments, console=Console(file=out, width=width, highlight=False))
    return out.getvalue()
