"""Numbering of footnotes."""


class Footnotes:
    """Footnotes in the order of their first use; the same text is one footnote."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, text: str) -> int:
        """The number of a footnote, from 1."""
        text = " ".join(text.split())
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1
