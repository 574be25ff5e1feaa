"""The order of a vocabulary, which the hashes of prepared data rest on."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.data.symbols import character_content

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(TEXTS)
def test_characters_are_numbered_by_frequency_and_then_by_code_point(text):
    content = character_content({"train": text}, lambda split: [split])
    counts = Counter(text)
    order = sorted(counts, key=lambda character: (-counts[character], ord(character)))
    assert content.vocabulary == order
    symbols = np.concatenate(list(content.arrays["train"]))
    assert [order[symbol] for symbol in symbols] == list(text)
