"""Those who come from the published code: the examples on their pages do what they say."""

import contextlib
import io

import numpy as np
import pytest
import torch
from pages import DOCS, ROOT, alike, give_weights, scripts

PAGES = sorted((DOCS / "coming-from").glob("*.md"))
PUBLISHED = {
    "rotational-unit-of-memory",
    "rum-tensorflow",
    "ur-lstm",
    "lm-rmt",
    "recurrent-memory-transformer-pytorch",
}
EXAMPLES = [
    pytest.param(page, name, id=f"{page.stem}-{name}")
    for page in PAGES
    for name in scripts(page.read_text(encoding="utf-8"))
]


def test_each_published_code_has_a_page_with_examples():
    assert {page.stem for page in PAGES} == PUBLISHED
    assert {example.values[0].stem for example in EXAMPLES} == PUBLISHED


@pytest.mark.parametrize(("page", "name"), EXAMPLES)
def test_an_example_prints_what_its_page_shows(page, name, tmp_path, monkeypatch):
    text = page.read_text(encoding="utf-8")
    give_weights(text, tmp_path)
    monkeypatch.chdir(tmp_path)
    body, shown = scripts(text)[name]
    assert alike(run(body)[1]) == alike(shown)


def run(program):
    """The names that a page's program leaves, and what it prints."""
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, names)
    return names, printed.getvalue()


def test_weights_of_ur_lstm_give_its_outputs_by_the_names_on_its_page(tmp_path, monkeypatch):
    text = (DOCS / "coming-from" / "ur-lstm.md").read_text(encoding="utf-8")
    give_weights(text, tmp_path)
    monkeypatch.chdir(tmp_path)
    model = run(scripts(text)["weights.py"][0])[0]["model"]
    with np.load(ROOT / "tests" / "golden" / "ur_seq2.npz") as golden:
        x, expected = (torch.from_numpy(np.array(golden[name])).float() for name in ("x", "y_nostate"))
    torch.testing.assert_close(model(x)[0], expected, rtol=0, atol=1e-6)
