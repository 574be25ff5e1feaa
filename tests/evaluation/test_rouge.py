"""What a summary is worth is what the library says, and what can be counted by hand."""

import random
import sys

import pytest
from rouge_score.rouge_scorer import RougeScorer

from rmem_cli.errors import UsageError
from rmem_cli.evaluation.rouge import Rouge, repeated_trigrams, sentences
from rmem_cli.results.metrics import ROUGE, Sums, metric

TEXTS = {
    "the same": ("the cat sat . it slept .", "the cat sat . it slept ."),
    "in another order": ("the cat sat . it slept .", "it slept . the cat sat ."),
    "less": ("the cat sat on the mat . it slept .", "the cat slept ."),
    "nothing in common": ("the cat sat .", "dogs bark !"),
    "stems": ("the runners were running .", "a runner runs ."),
    "numbers and signs": ("it cost $ 3.50 , or 3,50 euros .", "3.50 euros - cost - [UNK] ."),
    "empty": ("the cat sat .", ""),
    "signs alone": ("the cat sat .", ". . ."),
    "one long sentence": ("a b c d e f g", "g f e d c b a"),
}


def assert_the_librarys_own(reference, summary, stemming):
    own = RougeScorer(["rouge1", "rouge2", "rougeLsum"], use_stemmer=stemming)
    expected = own.score(*("\n".join(" ".join(line) for line in text) for text in (reference, summary)))
    found = Rouge(stemming=stemming)(reference, summary)
    assert set(found) == set(ROUGE)
    for theirs, ours in {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeLsum": "rouge_l"}.items():
        assert found[ours] == expected[theirs].fmeasure
        assert found[f"{ours}_precision"] == expected[theirs].precision
        assert found[f"{ours}_recall"] == expected[theirs].recall


@pytest.mark.parametrize("stemming", [True, False])
@pytest.mark.parametrize("name", TEXTS)
def test_rouge_is_the_librarys_own_and_l_goes_sentence_by_sentence(name, stemming):
    reference, summary = (sentences(text.split()) for text in TEXTS[name])
    assert_the_librarys_own(reference, summary, stemming)


@pytest.mark.parametrize("stemming", [True, False])
def test_rouge_of_any_text_in_latin_letters_is_the_librarys_own(stemming):
    source = random.Random(1)
    ends = ["ing", "s", "ies", "ed", "ational", "_", "-", "'s", "\x1f", "é", "ß", "\u03b1"]

    def text():
        parts = ["run", "cat", "nation", "9", *ends, *map(chr, range(128))]
        words = ["".join(source.choices(parts, k=source.randint(1, 3))) for _ in range(30)]
        return sentences(source.choice([str, str.title])(" . ".join(words)).split())

    for _ in range(50):
        reference = text()
        kept = [line for line in reference if source.random() < 0.7]
        assert_the_librarys_own(reference, [*kept, *text()[:5]], stemming)


@pytest.mark.parametrize("stemming", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "кошка сидела на коврике .",
        "猫 坐 在 垫子 上",
        "le café était fermé .",
        "в Paris и New York .",
        "बिल्ली चटाई पर बैठी थी",
        "القطة جلست على الحصيرة",
    ],
)
def test_equal_texts_of_any_script_score_1(text, stemming):
    found = Rouge(stemming=stemming)([text.split()], [text.upper().split()])
    assert {name: found[name] for name in ROUGE} == dict.fromkeys(ROUGE, 1.0)


def test_words_of_other_scripts_are_counted_whole_as_those_of_ascii_are():
    def score(reference, summary):
        return Rouge(stemming=False)([reference.split()], [summary.split()])["rouge_1"]

    assert score("кошка спала тут", "кошка ела там") == pytest.approx(1 / 3)
    assert score("था", "थी") == 0  # not its consonants alone
    assert score("ка\u0439", "ка\u0438\u0306") == 1
    assert score("кошка_спала , 9", "кошка спала-9 \ufe0f") == 1


def test_rouge_of_few_words_is_what_is_counted_by_hand():
    reference = [["the", "cat", "sat", "."], ["it", "slept", "."]]
    summary = [["it", "slept", "."], ["the", "cat", "ran", "off", "."]]
    found = Rouge(stemming=False)(reference, summary)
    # Of 5 words of the reference and 6 of the summary, 4 are in both: the, cat, it, slept.
    assert found["rouge_1_recall"] == pytest.approx(4 / 5)
    assert found["rouge_1_precision"] == pytest.approx(4 / 6)
    assert found["rouge_1"] == pytest.approx(8 / 11)
    # Pairs go across sentences: the cat, cat sat, sat it, it slept; it slept, slept the, the cat, ...
    assert found["rouge_2_recall"] == pytest.approx(2 / 4)
    assert found["rouge_2_precision"] == pytest.approx(2 / 5)
    # Each sentence is found as a whole in the summary's, which a subsequence of all words would not.
    assert found["rouge_l_recall"] == pytest.approx(4 / 5)
    assert found["rouge_l_precision"] == pytest.approx(4 / 6)


def test_without_the_library_what_to_do_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(
        UsageError, match=r"rouge-score, which is missing; `pip install 'rmem\[text\]'` brings it"
    ):
        Rouge(stemming=True)


def test_its_settings_are_told():
    assert Rouge(stemming=True).settings == "rouge-score 0.1.2, Porter stems"
    assert Rouge(stemming=False).settings == "rouge-score 0.1.2, words"


@pytest.mark.parametrize(
    ("text", "share"),
    [("", 0), ("a b", 0), ("a b c", 0), ("a b c a b c", 1 / 4), ("a a a a", 1 / 2), ("a b c d a b c", 1 / 5)],
)
def test_the_share_of_repeated_trigrams_is_what_is_counted_by_hand(text, share):
    assert repeated_trigrams(text.split()) == {"repeated_trigrams": pytest.approx(share)}


def test_sentences_end_with_their_sign():
    words = ["a", "b", ".", "c", "?", "d", "!", ".", "e"]
    assert sentences(words) == [["a", "b", "."], ["c", "?"], ["d", "!"], ["."], ["e"]]
    assert sentences([]) == []


def test_a_metric_of_summaries_is_a_mean_over_articles_with_an_interval_that_is_always_the_same():
    scores = [0.1 * (place % 7) for place in range(60)]
    sums = Sums(scores={"rouge_1": scores})
    assert sums.metric("rouge_1") == pytest.approx(sum(scores) / 60)
    low, high = metric("rouge_1").interval(sums)
    assert (low, high) == metric("rouge_1").interval(Sums(scores={"rouge_1": list(scores)}))
    # Near to the interval of a normal mean: 0.2 / sqrt(60) * 1.96.
    assert high - low == pytest.approx(2 * 1.96 * 0.2 / 60**0.5, rel=0.1)
    assert low < sum(scores) / 60 < high
    assert metric("rouge_1").interval(Sums(scores={"rouge_1": [0.5]})) == (0.5, 0.5)
    assert metric("loss").interval(Sums(nll=1.0, weight=1.0)) is None
