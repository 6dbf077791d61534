"""Reads a page as a browser would: which tags and attributes it has, and what it says."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta", "br", "img", "line", "rect", "circle", "path", "polyline", "polygon", "input"}


class PageReader(HTMLParser):
    """Collects what a page is made of, and holds that tags close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert not self._open

    @property
    def ids(self) -> list[str]:
        return [value for name, value in self.attributes if name == "id"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
