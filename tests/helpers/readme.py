"""The README's scoreboard: run as a program, this puts that of `results/` between its markers."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BETWEEN = re.compile("(<!-- scoreboard: [^>]*-->\n).*(<!-- end of scoreboard -->\n)", re.DOTALL)


def with_scoreboard(readme, scoreboard):
    """The text of a README with a scoreboard between its markers, of which there is one pair."""
    changed, count = _BETWEEN.subn(lambda found: f"{found[1]}{scoreboard}{found[2]}", readme)
    if count != 1:
        raise ValueError("the README has no pair of markers, <!-- scoreboard: ... --> and its end")
    return changed


if __name__ == "__main__":
    path = ROOT / "README.md"
    scoreboard = (ROOT / "results" / "scoreboard.md").read_text(encoding="utf-8")
    text = with_scoreboard(path.read_text(encoding="utf-8"), scoreboard)
    path.write_text(text, encoding="utf-8", newline="")
