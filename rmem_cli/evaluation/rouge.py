"""What a summary is worth: ROUGE, and how much of it is said again."""

import unicodedata
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from rmem_cli.errors import UsageError
from rmem_cli.results.metrics import REPEATED_TRIGRAMS

Sentences = Sequence[Sequence[str]]  # the words of each

_KINDS = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeLsum": "rouge_l"}


class Rouge:
    """ROUGE-1, ROUGE-2 and ROUGE-L of summaries, by the library rouge-score.

    ROUGE-L is that of a summary, sentence by sentence: for each sentence of the reference, the union of its
    longest common subsequences with all of the summary's. Words are those of the library, lower-case runs of
    a to z and 0 to 9, so that one with an accent is cut there. Beside a reference most of whose letters are
    others, which the library scores 0, words are lower-case runs of letters and digits of any script.

    Args:
        stemming: Whether words count as equal whose Porter stems, which are of English, are.

    Attributes:
        settings: What scores, in words.

    Raises:
        UsageError: The library is missing.

    Source: Lin 2004. The papers used ROUGE-1.5.5 by pyrouge, with stemming, which splits words otherwise.
    """

    def __init__(self, *, stemming: bool) -> None:
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError as error:
            raise UsageError(
                "ROUGE is computed by the library rouge-score, which is missing; `pip install 'rmem[text]'` "
                "brings it, then run the same command again"
            ) from error
        self._published = RougeScorer([*_KINDS], use_stemmer=stemming)
        self._of_any_script = RougeScorer([*_KINDS], tokenizer=_Words())
        self.settings = f"rouge-score {version('rouge-score')}, {'Porter stems' if stemming else 'words'}"

    def __call__(self, reference: Sentences, summary: Sentences) -> dict[str, float]:
        """Each metric of `rmem_cli.results.metrics.ROUGE`, of a summary beside a reference."""
        told = lines(reference)
        scorer = self._published if _is_mostly_ascii(told) else self._of_any_script
        found = scorer.score(told, lines(summary))
        scores: dict[str, float] = {}
        for kind, name in _KINDS.items():
            precision, recall, f1 = found[kind]
            scores |= {name: f1, f"{name}_precision": precision, f"{name}_recall": recall}
        return scores


class _Words:
    """The words of a text of any script, as the library asks for them."""

    def tokenize(self, text: str) -> list[str]:
        """The words, an accent being the same as a sign of its own or as part of its letter."""
        signs = unicodedata.normalize("NFC", text.lower())
        runs = "".join(sign if _is_of_a_word(sign) else " " for sign in signs).split()
        return [run for run in runs if any(map(str.isalnum, run))]


def _is_mostly_ascii(text: str) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    return 2 * sum(map(str.isascii, letters)) >= len(letters)


def _is_of_a_word(sign: str) -> bool:
    """Letters, digits, and the marks on them: vowels of Hindi, for example."""
    return sign.isalnum() or unicodedata.category(sign) in ("Mn", "Mc")


def repeated_trigrams(words: Sequence[str]) -> dict[str, float]:
    """The share of a text's trigrams that stand further ahead in it already; 0 if it has none."""
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return {REPEATED_TRIGRAMS: 1 - len({*trigrams}) / len(trigrams) if trigrams else 0.0}


def sentences(words: Iterable[str]) -> list[list[str]]:
    """A text cut behind each word that ends a sentence: a point, a question mark or an exclamation mark."""
    found: list[list[str]] = [[]]
    for word in words:
        found[-1].append(word)
        if word in (".", "?", "!"):
            found.append([])
    return [sentence for sentence in found if sentence]


def lines(text: Sentences) -> str:
    """The text with a sentence on each line, which is how rouge-score knows them."""
    return "\n".join(" ".join(sentence) for sentence in text)
