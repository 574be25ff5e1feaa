"""Texts with tags of HTML, of which what is seen is read."""

import re
from html.parser import HTMLParser

_CLOSED = re.compile(r"</[a-z][a-z0-9]*\s*>", re.IGNORECASE)
_BREAKS = frozenset({"p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6"})
_UNSEEN = frozenset({"script", "style"})


def has_tags(text: str) -> bool:
    """Whether a text has tags of HTML."""
    return _CLOSED.search(text) is not None


def seen(text: str) -> str:
    """A text, or, of one with tags of HTML, what is seen of it."""
    if not has_tags(text):
        return text
    page = _Page()
    page.feed(text)
    page.close()
    return "".join(page.seen)


class _Page(HTMLParser):
    """Collects what is seen of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self._unseen += tag in _UNSEEN
        self.seen.append("\n" if tag in _BREAKS else "")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))
        self.seen.append("\n" if tag in _BREAKS else "")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.seen.append(data)
