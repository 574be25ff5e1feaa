"""Recipes with a mistake whose place is marked by ‸."""


def without_mark(text):
    """The text as it is read, and the place of the mark as messages name it, `made_up.yaml:LINE:COLUMN`."""
    before, _, behind = text.partition("‸")
    place = f"made_up.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    return before + behind, place
