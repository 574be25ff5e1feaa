"""Settings of the tasks: everything about them that can be known without torch and without data."""

import math
import re
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.tasks.baselines import OCCURRED, expected_largest_count, plateaus, unigrams

# Of one image; here, so that a recipe is checked without its data.
PIXELS = {"mnist": 28 * 28, "cifar10": 32 * 32}
IMAGES = {"mnist": 60_000, "cifar10": 50_000}  # to train on
BABI_TASKS = range(1, 21)
SMALLER: Literal["en"] = "en"  # size of bAbI
# How often it is the answer to one of the 1,000 test questions of each task.
MOST_FREQUENT_ANSWERS = (
    *(187, 187, 215, 177, 189, 503, 488, 336, 638, 437),
    *(187, 189, 183, 177, 341, 257, 520, 531, 93, 180),
)
# Texts whose documents `rmem_cli.data.documents` finds, word by word.
WITH_DOCUMENTS = ("wikitext2", "wikitext103")


def _no_path(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError(
            f"must be a name that `rmem fetch --list` shows, not {text!r}; own texts cannot be read yet"
        )
    return text


PreparedName = Annotated[str, AfterValidator(_no_path)]
BabiNumber = Annotated[int, Field(ge=1, le=20)]


class CopyingMemorySettings(TaskSettings):
    """The copying memory task in the form of the RUM papers; `rmem_cli.tasks.copying_memory` has an example.

    Attributes:
        length: T, the number of steps over which the symbols must be kept.
        symbols: How many symbols are to be copied.
        alphabet: How many different symbols there are.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.copying_memory:CopyingMemory"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["copying_memory"] = "copying_memory"
    length: PositiveInt
    symbols: PositiveInt = 10
    alphabet: PositiveInt = 8

    def chance(self, split: str) -> dict[str, float]:
        """Blanks where blanks are due, and a uniform guess for each symbol."""
        del split
        return {"loss": self._loss_without_memory, "accuracy": 1 / self.alphabet}

    def plateaus(self) -> str:
        """Each symbol that is kept takes an equal part of the loss away."""
        return plateaus(self._loss_without_memory, self.symbols)

    @property
    def _loss_without_memory(self) -> float:
        return self.symbols * math.log(self.alphabet) / (self.length + 2 * self.symbols)


class CopyLastTenSettings(TaskSettings):
    """The copy task in the form of the UR-LSTM paper; `rmem_cli.tasks.copy_last_ten` tells how it differs.

    Attributes:
        length: The time lag: the number of steps over which the ten symbols must be kept.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.copy_last_ten:CopyLastTen"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["copy_last_ten"] = "copy_last_ten"
    length: PositiveInt

    def chance(self, split: str) -> dict[str, float]:
        """One of eight symbols, each as likely as the other."""
        del split
        return {"loss": math.log(8), "accuracy": 1 / 8}

    def plateaus(self) -> str:
        """Each symbol that is kept takes a tenth of the loss away."""
        return plateaus(math.log(8), 10)


class AddingSettings(TaskSettings):
    """The adding task; `rmem_cli.tasks.adding` has an example.

    Attributes:
        length: Steps of the sequence.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.adding:Adding"
    metrics: ClassVar[tuple[str, ...]] = ("mse",)
    generated: ClassVar[bool] = True
    encoder: ClassVar[str] = "features"
    head: ClassVar[str] = "regression"
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["adding"] = "adding"
    length: int = Field(ge=2)

    def chance(self, split: str) -> dict[str, float]:
        """The variance of the sum of two values, each uniform in [0, 1)."""
        del split
        return {"mse": 1 / 6}


class AssociativeRecallSettings(TaskSettings):
    """Associative recall in the form of the RUM papers; `rmem_cli.tasks.associative_recall` has an example.

    Attributes:
        length: T, twice the number of key-digit pairs; even.
        training_examples: How many examples are drawn for training, to be read again in every pass; None:
            every step draws its own.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.associative_recall:AssociativeRecall"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["associative_recall"] = "associative_recall"
    length: PositiveInt = Field(multiple_of=2)
    training_examples: PositiveInt | None = None

    def chance(self, split: str) -> dict[str, float]:
        """One of ten digits, each as likely as the other."""
        del split
        return {"accuracy": 0.1, "loss": math.log(10)}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Beside chance: to know the digits that occurred, of none its key, and to name the most frequent."""
        occurred = expected_largest_count(self.length // 2, 10) / (self.length // 2)
        return {**super().baselines(split), OCCURRED: {"accuracy": occurred}}


class ImageSequenceSettings(TaskSettings):
    """An image read as a sequence of pixels, to be classified at its end.

    Attributes:
        dataset: Which images.
        pixels_per_step: Pixels of one step, in reading order: 1, 2, a row of 28 or 32, or another divisor.
        permutation_seed: What the one order in which the pixels of all images are read derives from; None
            reads them row by row.
        permutation: `bit_reversal` reads the pixels of all images by their number with its bits reversed;
            None leaves the order to `permutation_seed`.
        held_out: How many images at the end of the training split are for validation, and not trained on.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.image_sequence:ImageSequence"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = False
    encoder: ClassVar[str] = "features"

    kind: Literal["image_sequence"] = "image_sequence"
    dataset: Literal["mnist", "cifar10"]
    pixels_per_step: PositiveInt = 1
    permutation_seed: NonNegativeInt | None = None
    permutation: Literal["bit_reversal"] | None = None
    held_out: NonNegativeInt = 5000

    @model_validator(mode="after")
    def _steps_are_whole(self) -> Self:
        pixels = PIXELS[self.dataset]
        if pixels % self.pixels_per_step:
            raise ValueError(f"pixels_per_step must divide the {pixels} pixels of an image of {self.dataset}")
        return self

    @model_validator(mode="after")
    def _one_order(self) -> Self:
        if self.permutation is not None and self.permutation_seed is not None:
            raise ValueError(
                f"permutation {self.permutation} and permutation_seed are two orders of the pixels; "
                "set one of them to null"
            )
        return self

    @model_validator(mode="after")
    def _some_images_are_left(self) -> Self:
        if self.held_out >= IMAGES[self.dataset]:
            raise ValueError(
                f"held_out is {self.held_out:,} of {IMAGES[self.dataset]:,} training images; lower it"
            )
        return self

    def empty_splits(self) -> frozenset[str]:
        """See `TaskSettings.empty_splits`."""
        return frozenset() if self.held_out else frozenset({"valid"})

    def data_sets(self) -> list[tuple[str, str]]:
        """The images."""
        return [(self.dataset, "images")]


class ProgramExecutionSettings(TaskSettings):
    """Programs to be executed by reading them; `rmem_cli.tasks.program_execution` has an example.

    Attributes:
        length: Most digits of a number in a program.
        nesting: How many operations a program combines.
        curriculum: How hard the training examples are. `baseline`: as hard as length and nesting say.
            `naive`: at first both are 1; then length rises to its full value, then nesting by one with
            length 1 again, and so on. `mix`: both are drawn anew for each example, from 1 to their full
            values. `combined`: each example is one of `naive` or of `mix`. Evaluation is always on the full
            values.
        stage_steps: Training steps before `naive` and `combined` get harder; they need it.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.program_execution:ProgramExecution"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["program_execution"] = "program_execution"
    length: PositiveInt
    nesting: int = Field(ge=1, le=20)
    curriculum: Literal["baseline", "naive", "mix", "combined"] = "baseline"
    stage_steps: PositiveInt | None = None

    @model_validator(mode="after")
    def _stages_have_a_length(self) -> Self:
        if self.curriculum in ("naive", "combined") and self.stage_steps is None:
            raise ValueError(f"curriculum {self.curriculum} needs stage_steps")
        return self


class LanguageModelSettings(TaskSettings):
    """Next-symbol prediction over a whole text, the state carried from batch to batch.

    Attributes:
        dataset: Name of a prepared data set, as `rmem fetch` knows it.
        form: Which of its prepared forms: `char`, `word`, `bytes`, ...
        segment_length: Symbols of each text column in one training batch; the state's gradient stops there.
        carried: Whether the state goes on from one batch to the next, or every batch starts afresh.
        reset_at_documents: Whether the state starts afresh with each document of the text, in training and in
            evaluation. (What `rmem sample` writes is one document to the model: where the next one begins is
            not known before its title is complete.)
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.language_model:LanguageModel"
    metrics: ClassVar[tuple[str, ...]] = ("bpc", "perplexity", "loss", "accuracy")
    generated: ClassVar[bool] = False
    predicts_future: ClassVar[bool] = True
    answers_in_symbols: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"segment_length"})

    kind: Literal["language_model"] = "language_model"
    dataset: PreparedName
    form: PreparedName
    segment_length: PositiveInt
    carried: bool = True
    reset_at_documents: bool = False

    @model_validator(mode="after")
    def _documents_are_known(self) -> Self:
        if self.reset_at_documents and (self.dataset not in WITH_DOCUMENTS or self.form != "word"):
            raise ValueError(
                f"{self.dataset} ({self.form}) does not say where documents begin; set reset_at_documents to "
                f"false, or read the words of {' or '.join(WITH_DOCUMENTS)}"
            )
        return self

    def chance(self, split: str) -> dict[str, float]:
        """The unigram model of the training text, where it is known."""
        known = unigrams().get((self.dataset, self.form, split))
        if known is None:
            return {}
        loss, accuracy = known
        return {
            "loss": loss,
            "bpc": loss / math.log(2),
            "perplexity": math.exp(loss),
            "accuracy": accuracy,
        }

    def data_sets(self) -> list[tuple[str, str]]:
        """The text."""
        return [(self.dataset, self.form)]


class DocumentClassificationSettings(TaskSettings):
    """Articles to be classified; `rmem_cli.tasks.document_classification` has an example.

    Attributes:
        dataset: Which articles.
        fold: Which fold is held out, 0 to 4; the tokenizer has not seen it either.
        segment_length: Symbols of a segment; that of the core, if it has one.
        segments: Most segments of an article that are read.
        whole_fold: Whether all held-out articles are the test split, so that the folds together test every
            article; there is no validation then. Without, half of them are for validation.
        twins_together: Whether articles that begin with the same 200 letters are held out together, of which
            there are three pairs; the test otherwise asks for what was read in training.
        backbone: Name or folder of the pretrained model whose tokenizer makes the symbols; None: pieces of
            words, found in the articles that are not held out.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.document_classification:DocumentClassification"
    metrics: ClassVar[tuple[str, ...]] = ("f1", "accuracy", "loss")
    generated: ClassVar[bool] = False
    common: ClassVar[frozenset[str]] = frozenset({"segment_length", "segments"})

    kind: Literal["document_classification"] = "document_classification"
    dataset: Literal["hyperpartisan"] = "hyperpartisan"
    fold: int = Field(default=0, ge=0, le=4)
    segment_length: PositiveInt
    segments: PositiveInt
    whole_fold: bool = False
    twins_together: bool = False
    backbone: str | None = None

    def across_folds(self) -> Self | None:
        """Those of any fold, where all of it is tested."""
        return self.model_copy(update={"fold": 0}) if self.whole_fold else None

    def empty_splits(self) -> frozenset[str]:
        """See `TaskSettings.empty_splits`."""
        return frozenset({"valid"}) if self.whole_fold else frozenset()

    def data_sets(self) -> list[tuple[str, str]]:
        """The articles, as pieces or as they are."""
        form = "pieces" if self.backbone is None else "articles"
        return [(self.dataset, f"{form}-twins" if self.twins_together else form)]


class BabiSettings(TaskSettings):
    """Questions about the stories of bAbI; `rmem_cli.tasks.babi` has examples.

    Attributes:
        number: Number of the task, 1 to 20, or a list of those that one model learns together; None: all.
        size: With 1,000 training questions (`en`) or 10,000 (`en-10k`); the test questions are the same.
        level: Whether a step is a word, or all words of a sentence (the question is one, too).
        padding: `masked` reads no further than a question is long; `published` reads blanks before each story
            and behind each question, up to the longest ones.
        order: In which order training questions are read: `like_length` makes batches of questions of about
            one length, in another order in each pass; `file` is that of the files in each, as published.
        classes: What an answer is one of: all words and answers and the blank (`vocabulary`, as published),
            or all answers.
        if_missing: What becomes of a task without its file of 10,000 training questions: it is refused, or
            learned from those of the `smaller` size. Results then say that their data is partial.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.babi:StoryQuestions"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = False

    kind: Literal["babi"] = "babi"
    number: BabiNumber | list[BabiNumber] | None
    size: Literal["en", "en-10k"] = "en-10k"
    level: Literal["word", "sentence"] = "sentence"
    padding: Literal["masked", "published"] = "masked"
    order: Literal["like_length", "file"] = "like_length"
    classes: Literal["vocabulary", "answers"] = "vocabulary"
    if_missing: Literal["refuse", "smaller"] = "refuse"

    @property
    def numbers(self) -> list[int]:
        """The tasks that are learned."""
        if self.number is None:
            return [*BABI_TASKS]
        return self.number if isinstance(self.number, list) else [self.number]

    @property
    def reads_sentences(self) -> bool:
        """See `TaskSettings.reads_sentences`."""
        return self.level == "sentence"

    def parts(self) -> tuple[str, ...]:
        """Each of the tasks that are learned together, such as `qa3`."""
        return tuple(f"qa{number}" for number in self.numbers) if len(self.numbers) > 1 else ()

    @field_validator("number")
    @classmethod
    def _tasks_differ(cls, number: int | list[int] | None) -> int | list[int] | None:
        if isinstance(number, list) and len(set(number)) != max(1, len(number)):
            raise ValueError(f"number is {number}; give one or more tasks, each of them once")
        return number

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """To give the same answer to each test question of a task, the most frequent one."""
        if split != "test" or isinstance(self.number, list | None):
            return {}
        return {"the most frequent answer": {"accuracy": MOST_FREQUENT_ANSWERS[self.number - 1] / 1000}}

    def data_sets(self) -> list[tuple[str, str]]:
        """The tasks, and what may stand in for them."""
        sizes = [self.size] if self.if_missing == "refuse" else list(dict.fromkeys([self.size, SMALLER]))
        return [("babi", f"{size}-qa{number}") for number in self.numbers for size in sizes]


class AlgorithmicSettings(TaskSettings):
    """What the generated tasks of the RMT paper share.

    Attributes:
        prepared: Whether the examples are those of the prepared set, as published (100,000 to train on,
            10,000 and 20,000 to evaluate), or drawn anew at every step.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "exact_match", "loss")
    generated: ClassVar[bool] = True
    feeds_back: ClassVar[bool] = True
    predicts_future: ClassVar[bool] = True
    answers_in_symbols: ClassVar[bool] = True

    prepared: bool = False

    def data_sets(self) -> list[tuple[str, str]]:
        """The prepared set."""
        return [self._prepared_set()] if self.prepared else []

    @abstractmethod
    def _prepared_set(self) -> tuple[str, str]:
        """Name and form of the set that has such examples."""


class _RepeatingSettings(AlgorithmicSettings):
    """What copy and reverse share.

    Attributes:
        length: How many symbols are to be repeated. There are prepared sets of 24 and 120, and to copy also
            of 240 and 360.
        alphabet: How many different symbols there are; prepared sets longer than 24 have 8.
    """

    common: ClassVar[frozenset[str]] = frozenset({"length", "alphabet", "prepared"})

    length: PositiveInt
    alphabet: int = Field(default=10, gt=0, le=254)  # symbols are bytes, and two of them stand for others

    def chance(self, split: str) -> dict[str, float]:
        """One of the symbols, each as likely as the other."""
        del split
        return {"loss": math.log(self.alphabet), "accuracy": 1 / self.alphabet}

    def _prepared_set(self) -> tuple[str, str]:
        return self.kind, str(self.length)


class CopySettings(_RepeatingSettings):
    """The copy task in the form of the RMT paper; `rmem_cli.tasks.copy_reverse` has an example."""

    implementation: ClassVar[str] = "rmem_cli.tasks.copy_reverse:Copy"

    kind: Literal["copy"] = "copy"


class ReverseSettings(_RepeatingSettings):
    """The reverse task in the form of the RMT paper; `rmem_cli.tasks.copy_reverse` has an example."""

    implementation: ClassVar[str] = "rmem_cli.tasks.copy_reverse:Reverse"

    kind: Literal["reverse"] = "reverse"


class AssociativeRetrievalSettings(AlgorithmicSettings):
    """Associative retrieval in the form of the RMT paper; `rmem_cli.tasks.associative_retrieval` has an
    example.

    Attributes:
        pairs: How many keys with values there are; the prepared set has four.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.associative_retrieval:AssociativeRetrieval"

    kind: Literal["associative_retrieval"] = "associative_retrieval"
    pairs: int = Field(default=4, ge=1, le=10)

    @model_validator(mode="after")
    def _the_prepared_set_has_four(self) -> Self:
        if self.prepared and self.pairs != 4:
            raise ValueError("the prepared set has 4 pairs; set pairs to 4, or prepared to false")
        return self

    def chance(self, split: str) -> dict[str, float]:
        """One of ten digits, each as likely as the other."""
        del split
        return {"accuracy": 0.1, "exact_match": 0.1, "loss": math.log(10)}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """Beside chance: to know the values that occurred, which all differ, but of none its key."""
        occurred = 1 / self.pairs
        known = {"accuracy": occurred, "exact_match": occurred, "loss": math.log(self.pairs)}
        return {**super().baselines(split), OCCURRED: known}

    def _prepared_set(self) -> tuple[str, str]:
        return "associative_retrieval", "pairs4"


class QuadraticEquationsSettings(AlgorithmicSettings):
    """Quadratic equations in the form of the RMT paper; `rmem_cli.tasks.quadratic_equations` has an
    example.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.quadratic_equations:QuadraticEquations"

    kind: Literal["quadratic_equations"] = "quadratic_equations"

    def _prepared_set(self) -> tuple[str, str]:
        return "quadratic", "steps"


class FactsInTextSettings(TaskSettings):
    """What the three tasks of the paper on a million tokens share; `rmem_cli.tasks.facts_in_text` has
    examples.

    Attributes:
        babi_task: Number of the bAbI task that the facts are from.
        dataset: Name of a prepared text.
        form: Which of its prepared forms; words, or anything made of characters.
        segments: Length of an example, in segments.
        segment_length: Length of a segment, in symbols; the core's own should be the same.
        questions: Which size of bAbI: 1,000 questions (`en`) or 10,000.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.facts_in_text:FactsInText"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset(
        {"dataset", "form", "segments", "segment_length", "questions"}
    )
    babi_task: ClassVar[int]

    dataset: PreparedName
    form: PreparedName
    segments: PositiveInt
    segment_length: PositiveInt
    questions: Literal["en", "en-10k"] = "en-10k"

    def chance(self, split: str) -> dict[str, float]:
        """One of six places."""
        del split
        return {"accuracy": 1 / 6, "loss": math.log(6)}

    def data_sets(self) -> list[tuple[str, str]]:
        """Facts and text."""
        return [("babi", f"{self.questions}-qa{self.babi_task}"), (self.dataset, self.form)]


class MemorizeSettings(FactsInTextSettings):
    """A fact at the beginning of a text, a question at its end."""

    babi_task: ClassVar[int] = 1

    kind: Literal["memorize"] = "memorize"


class DetectAndMemorizeSettings(FactsInTextSettings):
    """A fact somewhere in a text, a question at its end."""

    babi_task: ClassVar[int] = 1

    kind: Literal["detect_and_memorize"] = "detect_and_memorize"


class ReasoningSettings(FactsInTextSettings):
    """Two facts somewhere in a text, and at its end a question about what they say of a place."""

    babi_task: ClassVar[int] = 4

    kind: Literal["reasoning"] = "reasoning"
