"""A trained model with all that is needed to use it, and no data set."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from rmem_cli.data.task_tokenizers import ArticleTokenizer, TaskTokenizer, TextTokenizer
from rmem_cli.errors import UsageError
from rmem_cli.evaluation.reader import Reader
from rmem_cli.evaluation.sampling import draw, generate
from rmem_cli.evaluation.summaries import said_about
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.shapes import check_inputs, check_lengths, check_symbols
from rmem_cli.models.state import State
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.recipe.options import settings_from
from rmem_cli.recipe.schema import BeamSearchSettings, RunSettings
from rmem_cli.seeding import generator
from rmem_cli.tasks.sources import Sources
from rmem_cli.tasks.summary_config import SummarizationSettings
from rmem_cli.tasks.text_config import LanguageModelSettings


def check_continues(name: str, task: TaskSettings) -> None:
    """Make sure that the model of a task can go on with a text.

    Raises:
        UsageError: It cannot.
    """
    if task.kind != "language_model":
        about = "; give it an article to say something about, by --source or --article"
        raise UsageError(
            f"{name} learns the task {task.kind!r}; only a language_model has text to go on with"
            f"{about if task.has_source else ''}"
        )


def check_summarizes(name: str, task: TaskSettings) -> None:
    """Make sure that the model of a task says something about articles.

    Raises:
        UsageError: It does not.
    """
    if not task.has_source:
        raise UsageError(
            f"{name} learns the task {task.kind!r}, which says nothing about articles; leave out "
            "--source and --article"
        )


class LoadedModel(nn.Module):
    """A trained model: symbols or numbers to predictions, and text where its task has some.

    Attributes:
        name: What messages call it.
        model: The model itself; `rmem_cli.models.model.Model` says what it can do.
        settings: All that it was made and trained with, `settings.task` and `settings.model` among them.
        symbols: How many symbols it reads, or features of a step.
        class_names: What each class is called; None: classes are symbols, numbers, or have no names.

    Example:
        >>> model = load("exported")  # a language model of characters
        >>> x = model.encode("the_market_")  # [symbols]
        >>> logits, state = model(x[None])  # [1, symbols, classes]
        >>> logits, state = model(logits[:, -1:].argmax(-1), state)  # goes on, its memory with it
        >>> text = model.generate("the_market_", 100)
    """

    def __init__(
        self,
        name: str,
        model: Model,
        settings: RunSettings,
        symbols: int,
        tokenizer: TaskTokenizer | None,
        class_names: list[str] | None,
    ) -> None:
        super().__init__()
        self.name, self.model, self.settings = name, model, settings
        self.symbols, self.class_names = symbols, class_names
        self._tokenizer = tokenizer

    @property
    def vocabulary(self) -> list[str]:
        """The text of each symbol; a `UsageError` where the task has no text."""
        return list(self.tokenizer.vocabulary)

    @property
    def tokenizer(self) -> TaskTokenizer:
        """How text becomes symbols and back.

        Raises:
            UsageError: The task has no text.
        """
        if self._tokenizer is None:
            raise UsageError(f"{self.name} learned the task {self.settings.task.kind!r}, which has no text")
        return self._tokenizer

    def encode(self, text: str) -> Tensor:
        """The symbols of a text, `[symbols]`.

        Raises:
            UsageError: The task has no text, or there is no symbol for a part of this one.
        """
        return torch.tensor(self.tokenizer.encode(text), dtype=torch.long, device=self._device)

    def decode(self, symbols: Tensor | Iterable[int]) -> str:
        """The text of symbols `[symbols]`.

        Raises:
            UsageError: The task has no text.
            ValueError: One is no symbol.
        """
        tokenizer = self.tokenizer
        numbers = symbols.cpu() if isinstance(symbols, Tensor) else torch.tensor([*symbols], dtype=torch.long)
        if numbers.dim() != 1:
            raise ValueError(f"the symbols are {list(numbers.shape)}; they must be [symbols]")
        check_symbols(numbers, len(tokenizer.vocabulary))
        return "".join(tokenizer.decode(numbers.tolist()))

    def forward(
        self,
        inputs: Tensor,
        state: State | None = None,
        lengths: Tensor | None = None,
        question: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Read inputs of any length, in segments of the model's length where it has one.

        Args:
            inputs: `[batch, time]` symbols; `[batch, time, features]` numbers; or `[batch, time, symbols]`
                where a step is a sentence of several symbols, -1 where one has fewer.
            state: What came out before; None starts afresh. Where the model has segments, one ends with the
                inputs.
            lengths: `[batch]`, or `[1]` for all rows: steps that count; None: all.
            question: `[batch]`, the step with which each row's question begins, where the task asks one at
                the end; None: there is none.

        Returns:
            Logits `[batch, time, classes]`, or the numbers `[batch, time]` where the task predicts those; and
            the state after the inputs.

        Raises:
            UsageError: The model says something about articles, for which there is `summarize`.
            ValueError: The inputs have another shape, or are none that the model knows, a row cannot have its
                length, or the state is that of another model, or of other rows.
        """
        if self.settings.task.has_source:
            raise UsageError(
                f"{self.name} says something about articles; call summarize, with the text of one"
            )
        self._check_inputs(inputs)
        if lengths is not None:
            check_lengths(lengths, *inputs.shape[:2])
            lengths = lengths.expand(len(inputs))
        parts = []
        for segment in self._batch(inputs, state, lengths, question).split(self.model.segment_length):
            outputs, state = self.model.outputs(segment, state)
            parts.append(self.model.predictions(outputs))
        return torch.cat(parts, dim=1), state or {}

    def generate(
        self, text: str, count: int, *, temperature: float = 1.0, top_k: int | None = None, seed: int = 1
    ) -> str:
        """What a language model adds to a text, drawn symbol by symbol, as `rmem sample` does.

        Args:
            text: The beginning; it may be empty.
            count: Symbols that are added; 0: none.
            temperature: What logits are divided by; 0 always takes the likeliest symbol.
            top_k: How many of the likeliest symbols are drawn from; None: all.
            seed: Another one, another text: `--number` of `rmem sample`.

        Raises:
            UsageError: The model is none of a language, or there is no symbol for a part of the text.
            ValueError: `count` or `temperature` is below 0, or `top_k` no whole number above 0.
            DivergedError: The model predicts what is no number.
        """
        if count < 0:
            raise ValueError(f"count is {count}; no less than 0 symbols can be added")
        reader, choose = self.reader(), draw(temperature, top_k, generator(seed, "sample"))
        return self.decode(generate(reader, self.beginning(text), count, choose))

    def summarize(self, article: str, **search: Any) -> str:
        """The likeliest that a search finds to be said about an article, in words with blanks between them.

        Args:
            article: Its text.
            search: Options of `rmem_cli.recipe.schema.BeamSearchSettings` that differ from those of the
                model's evaluation, such as `beam`; see `search_settings`.

        Raises:
            UsageError: The model says nothing about articles, or the article has no word.
            TypeError: There is no such option.
            ValueError: An option has no such value.
            DivergedError: The model predicts what is no number.
        """
        settings = self.search_settings(**search)
        sources = self.sources()
        (words,) = said_about(self.model, sources, [sources.article_of(article)], settings)
        return " ".join(words)

    def reader(self) -> Reader:
        """What reads a text from its beginning, and tells after each symbol what may come next.

        Raises:
            UsageError: The model is none of a language.
        """
        task = self.settings.task
        check_continues(self.name, task)
        assert isinstance(task, LanguageModelSettings)  # noqa: S101  its kind says so
        return Reader(self.model, task.segment_length, carried=task.carried)

    def beginning(self, text: str) -> list[int]:
        """The symbols that a language model reads before it goes on with a text: an end of line first."""
        tokenizer = self.tokenizer
        end = tokenizer.end_of_line if isinstance(tokenizer, TextTokenizer) else None
        return [end or 0, *tokenizer.encode(text)]

    def sources(self) -> Sources:
        """How articles are read that something is said about.

        Raises:
            UsageError: The model says nothing about articles.
        """
        task = self.settings.task
        check_summarizes(self.name, task)
        assert isinstance(task, SummarizationSettings)  # noqa: S101  no other has a source
        assert isinstance(self.tokenizer, ArticleTokenizer)  # noqa: S101  so its task has it
        return Sources(self.tokenizer, task.source_length)

    def search_settings(self, **changed: Any) -> BeamSearchSettings:
        """How what is said is looked for: as the first evaluation does that looks for it.

        Args:
            changed: Options that differ. Where `longest` alone does, `shortest` leaves it room.

        Raises:
            TypeError: There is no such option.
            ValueError: An option has no such value.
        """
        searches = [
            one.summaries for one in self.settings.eval if one.summaries and one.summaries.lead is None
        ]
        own = searches[0] if searches else BeamSearchSettings()
        options = {name: getattr(own, name) for name in BeamSearchSettings.model_fields} | changed
        longest = options["longest"]
        if "shortest" not in changed and isinstance(longest, int) and longest > 0:
            options["shortest"] = min(own.shortest, longest - 1)
        return settings_from(BeamSearchSettings, **options)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _check_inputs(self, inputs: Tensor) -> None:
        if self.settings.task.encoder == "features":  # where a recipe names none
            check_inputs(inputs, self.symbols, "[batch, time, {}]")
        elif self.settings.task.reads_sentences:
            check_inputs(inputs, None, "[batch, time, symbols]")
            check_symbols(inputs, self.symbols, least=-1)
        else:
            check_inputs(inputs, None, "[batch, time]")
            check_symbols(inputs, self.symbols)

    def _batch(
        self, inputs: Tensor, state: State | None, lengths: Tensor | None, question: Tensor | None
    ) -> Batch:
        """Inputs whose predictions are wanted at each step, or, of a question, at its end alone."""
        rows, time = inputs.shape[:2]
        weight = torch.ones(rows, time)
        if question is not None:
            ends = torch.full((rows,), time) if lengths is None else lengths.cpu()
            weight = (torch.arange(time) == ends[:, None] - 1).float()  # [batch, time]
        batch = Batch(
            inputs,
            torch.zeros(rows, time, dtype=torch.long),
            weight,
            torch.full((rows,), state is None),
            lengths=lengths,
            question=question,
        )
        return batch.to(self._device, next(self.model.parameters()).dtype)
