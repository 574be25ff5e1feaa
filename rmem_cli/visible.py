"""Text that others wrote, as it may be shown: what would move a cursor or hide text is spelled out."""

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (bidirectional ones too), surrogates, separators


def visible(text: str) -> str:
    """A text with escapes, such as that of ESC, for the characters that are seen only by what they do.

    Line feeds stay.
    """
    if text.isprintable():
        return text
    return "".join(_escape(each) if is_hidden(each) and each != "\n" else each for each in text)


def one_line(text: str) -> str:
    """The same on one line, with a blank for all white space between two words."""
    return visible(" ".join(text.split()))


def say(console: "Console", text: str) -> None:
    """Print a line for people as it is: no markup, no wrapping; hidden characters are spelled out."""
    console.print(visible(text), markup=False, emoji=False, highlight=False, soft_wrap=True)


def is_hidden(character: str) -> bool:
    """Whether a character shows only by what it does."""
    return unicodedata.category(character) in _HIDDEN


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
