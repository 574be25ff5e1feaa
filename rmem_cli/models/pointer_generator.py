"""Pointer-generator networks: what is said about a source may be copied from it, words unknown included."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rmem_cli.errors import UsageError
from rmem_cli.models.attention_decoder import AttentionDecoder, Reached, Said, Source
from rmem_cli.models.batch import Batch, SourceBatch
from rmem_cli.models.cores.base import Core
from rmem_cli.models.model import Model, StepResult
from rmem_cli.models.state import State, described, reset
from rmem_cli.ops.autocast import in_single_precision, single_precision
from rmem_cli.ops.forms import joined_forms
from rmem_cli.recipe.registry import build
from rmem_cli.recipe.schema import ModelSettings

_SCORES_AT_ONCE = 2**24  # of the vocabulary, held in training: 64 MiB in single precision
_CORE = "core."  # in front of the names of the decoder's core, in a state


class BothWays(nn.Module):
    """Reads a text with two cores, one from its beginning and one from its end.

    Args:
        forwards: Reads from the beginning.
        backwards: Reads from the end.
    """

    def __init__(self, forwards: Core, backwards: Core) -> None:
        super().__init__()
        self.forwards, self.backwards = forwards, backwards
        self.output_size = forwards.output_size + backwards.output_size

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, State, State]:
        """Read whole texts.

        Args:
            x: `[batch, time, input_size]`.
            lengths: `[batch]`, steps of each row.

        Returns:
            Outputs of both cores at each step, `[batch, time, output_size]`, zero at steps that a row does
            not have; and the states in which they end, the one that reads forwards first.
        """
        times = torch.arange(x.shape[1], device=x.device)
        there = times < lengths[:, None]
        turned = torch.where(there, lengths[:, None] - 1 - times, times)[..., None]
        y, state = self.forwards(x, None, lengths)
        z, other = self.backwards(x.take_along_dim(turned, 1), None, lengths)
        both = torch.cat([y, z.take_along_dim(turned, 1)], -1)
        return both.masked_fill(~there[..., None], 0), state, other


class StateBridge(nn.Module):
    """Makes the state in which a decoder starts of those in which a reader both ways has ended.

    An entry of a state of the reader is that of both of its cores side by side. If reader and decoder have
    equally many entries, each is made of one, in the order of their names: `relu(W [f ; b] + v)`. If the
    reader has one, all are made of it. Otherwise, those of the reader are first made as narrow as that of one
    of its cores, likewise, and then each of the decoder's is made of all of them.

    Entries that do not start from zero, as the accumulated rotation of a RUM of lambda 1, are neither read
    nor made: that of the decoder starts as it does without a source.

    Args:
        reader: One of the cores of the reader.
        decoder: The core of the decoder.
        initial_std: Standard deviation of all first weights.

    Source: the published code of Dangovski et al. 2019, for LSTM and RUM. With lambda 1 that takes the first
    row of the rotation for the hidden state, by mistake.
    """

    def __init__(self, reader: Core, decoder: Core, initial_std: float) -> None:
        super().__init__()
        self._decoder = (decoder,)  # the model's own, whose weights are not counted again
        self._read, self._made = _from_zero(reader), _from_zero(decoder)
        read = [prod(shape) for shape in self._read.values()]
        made = [prod(shape) for shape in self._made.values()]
        joined = len(read) not in (1, len(made))
        self.narrow = _maps([2 * size for size in read], read, initial_std) if joined else None
        widths = [sum(read)] if joined else [2 * size for size in read]
        self.make = _maps(widths if len(widths) == len(made) else widths * len(made), made, initial_std)

    def forward(self, forwards: State, backwards: State) -> State:
        """The state of the decoder's core; see the class."""
        # each [batch, numbers]
        ends = [torch.cat([forwards[name].flatten(1), backwards[name].flatten(1)], -1) for name in self._read]
        if self.narrow is not None:
            ends = [torch.cat(_mapped(self.narrow, ends), -1)]
        made = _mapped(self.make, ends if len(ends) == len(self.make) else ends * len(self.make))
        rows, device, dtype = len(made[0]), made[0].device, made[0].dtype
        return self._decoder[0].initial_state(rows, device=device, dtype=dtype) | {
            name: value.view(rows, *shape)  # [batch, ...] as the core has it
            for (name, shape), value in zip(self._made.items(), made, strict=True)
        }


class PointerGenerator(Model):
    """Reads a source both ways, and says something about it, in its own words or in those of the source.

    The classes are the symbols, and behind them those words of the source that are none: each row counts its
    own. With `P_vocabulary = softmax(W o_t + b)` of the output of the decoder (`AttentionDecoder`):

        P(w) = p_gen P_vocabulary(w) + (1 - p_gen) sum_{i: w_i = w} a_ti

    With coverage, each step adds `coverage_loss * sum_i min(a_ti, z_ti)` to the loss that is trained, by the
    weight of its position; `Model.cover` is for training without it at first. Without a pointer, P is that of
    the vocabulary, and words outside of it are the unknown one. Embedded are symbols of source and inputs, by
    one table.

    The source is read once, with the first segment of what is said about it; the state that goes on from
    there holds what was read of it, beside where the decoder is.

    Args:
        symbols: How many there are.
        classes: How many there are without the words that are none; as many as symbols.
        settings: `pointer_generator`, `core` for the decoder and `source_core` for the reader.

    Raises:
        UsageError: Classes are no symbols, or a core cannot go step by step.

    Source: See et al. 2017, section 2, and the published code of Dangovski et al. 2019.
    """

    segment_length: int | None = None
    causal = True
    stepwise = True

    def __init__(self, symbols: int, classes: int, settings: ModelSettings) -> None:
        super().__init__()
        assert settings.pointer_generator is not None  # noqa: S101  the settings see to it
        assert settings.core is not None  # noqa: S101  likewise
        self.settings = own = settings.pointer_generator
        if classes != symbols:
            raise UsageError(
                f"a pointer generator says symbols, and the task has {symbols:,} symbols and {classes:,} "
                "classes; take a task whose classes are its symbols"
            )
        if own.unknown >= symbols:
            raise UsageError(
                f"model.pointer_generator.unknown is {own.unknown}; the task has the symbols 0 to "
                f"{symbols - 1}"
            )
        self.symbols = symbols
        self.vectors = nn.Embedding(symbols, own.size)
        _normal_(self.vectors.weight, own.initial_std)
        reader = settings.source_core or settings.core
        self.reader = BothWays(build(reader, own.size), build(reader, own.size))
        core = build(settings.core, own.size)
        for called, each in {"decoder": core, "reader": self.reader.forwards}.items():
            if not each.stepwise:
                raise UsageError(
                    f"the {called} of a pointer generator goes step by step; choose a recurrent core"
                )
        self.bridge = StateBridge(self.reader.forwards, core, own.initial_std)
        self.decoder = AttentionDecoder(
            own.size, self.reader.output_size, core, pointer=own.pointer, coverage=own.coverage
        )
        self.vocabulary = _maps([self.decoder.output_size], [symbols], own.initial_std)[0]

    def outputs(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """Logarithms of P(w), `[batch, time, symbols + source]`; see `Model.outputs`.

        A source has no more words than steps; those that it does not have are never said, and minus infinity
        is theirs. Without a pointer, `[batch, time, symbols]`.
        """
        batch = _with_source(batch)
        said, state = self.say(batch, state)
        likelihood = self._likelihood(said, batch)
        if self.settings.pointer:
            likelihood = likelihood.masked_fill(self._nowhere(batch)[:, None], -torch.inf)
        return likelihood, state

    def step(self, batch: Batch, state: State | None) -> StepResult:
        """See `Model.step`."""
        batch = _with_source(batch)
        before = self._before(batch, state)
        said, after = self._go_on(batch, before)
        targets = batch.targets if self.settings.pointer else self._symbols(batch.targets)
        if self.training:
            outputs, likelihood = None, self._likelihood_of(targets, said, batch)
        else:
            outputs = self._likelihood(said, batch)
            likelihood = outputs.take_along_dim(targets[..., None], -1).squeeze(-1)
        losses = -likelihood * batch.weight
        return StepResult(
            losses, batch.weight, outputs, after, self._auxiliary(said, batch, before["coverage"])
        )

    def logits(self, outputs: Tensor) -> Tensor:
        """What `outputs` gives is that already."""
        return outputs

    def say(self, batch: SourceBatch, state: State | None = None) -> tuple[Said, State]:
        """What the decoder gives at each step, and the state after the last."""
        return self._go_on(batch, self._before(batch, state))

    def _before(self, batch: SourceBatch, state: State | None) -> State:
        """The state before the first step: one that is given, but in rows that start afresh."""
        if not state:
            return self._start(batch)
        self._check_state(state, batch)
        # Sources are not read again for nothing; of tensors without values, nobody knows.
        if batch.fresh.device.type != "meta" and not batch.fresh.any():
            return state
        return reset(state, self._start(batch), batch.fresh)

    def _start(self, batch: SourceBatch) -> State:
        """The state in which the source has been read, and nothing said."""
        read, *ends = self.reader(self.vectors(self._symbols(batch.source)), batch.source_lengths)
        source = self.decoder.read(read, _there(batch))
        return _state(source, self.decoder.start(source, self.bridge(*ends)))

    def _go_on(self, batch: SourceBatch, state: State) -> tuple[Said, State]:
        """What is said from a state on, and the state after it."""
        source = Source(state["source"], state["keys"], _there(batch))
        reached = Reached(_of_core(state), state["context"], state["coverage"])
        said, reached = self.decoder(self.vectors(self._symbols(batch.inputs)), source, reached)
        return said, _state(source, reached)

    def _check_state(self, state: State, batch: SourceBatch) -> None:
        """Whether a state is that of this model after an earlier segment about the same source."""
        rows, source = batch.source.shape
        size = self.reader.output_size
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("source", "keys"), (rows, source, size))
        shapes |= {"context": (rows, size), "coverage": (rows, source)}
        given = {name: tuple(value.shape) for name, value in state.items() if not name.startswith(_CORE)}
        if given != shapes:
            raise ValueError(
                f"the state is not one of this model and {rows} sources of {source} steps: beside that of "
                f"the core, it has {described(given)}; it must have {described(shapes)}"
            )
        self.decoder.core.check_state(_of_core(state), rows)

    def cover(self, known: bool) -> None:
        """See `Model.cover`."""
        self.decoder.covers = known and self.settings.coverage

    def op_paths(self) -> dict[str, str]:
        """Those of its cores."""
        return joined_forms(core.op_paths() for core in (self.reader.forwards, self.decoder.core))

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Have `torch.compile` translate the cores of the reader; the decoder goes step by step."""
        self.compiled = True
        for core in (self.reader.forwards, self.reader.backwards):
            core.compile(*args, **kwargs)

    def _symbols(self, words: Tensor) -> Tensor:
        """The words, the unknown one where they are no symbols."""
        return words.where(words < self.symbols, self.settings.unknown)

    def _nowhere(self, batch: SourceBatch) -> Tensor:
        """Which words are neither symbols nor in a row's source, `[batch, symbols + source]`."""
        rows, source = batch.source_words.shape
        classes = torch.arange(self.symbols + source, device=batch.source_words.device)
        nowhere = (classes >= self.symbols).repeat(rows, 1)
        return nowhere.scatter(1, batch.source_words, False)

    def _likelihood(self, said: Said, batch: SourceBatch) -> Tensor:
        """Logarithms of P(w)."""
        return _mixed(self.vocabulary(said.outputs), said.pointing, said.attention, batch.source_words)

    def _likelihood_of(self, targets: Tensor, said: Said, batch: SourceBatch) -> Tensor:
        """Logarithms of P(w) of one word at each step, `[batch, time]`; zero where it has no weight.

        The scores of the vocabulary are there for some steps at a time, and are computed again in the
        backward pass, if those of all steps are many.
        """
        rows, times = _weighted(batch.weight)
        size = max(1, _SCORES_AT_ONCE // self.symbols)
        pieces = list(zip(torch.split(rows, size), torch.split(times, size), strict=True))

        def of_piece(*at: Tensor) -> Tensor:
            scores = self.vocabulary(said.outputs[at])  # [piece, symbols]
            pointing = None if said.pointing is None else said.pointing[at]
            return _mixed_of(targets[at], scores, pointing, said.attention[at], batch.source_words[at[0]])

        if len(pieces) > 1:
            found = [
                checkpoint(of_piece, *at, use_reentrant=False, preserve_rng_state=False) for at in pieces
            ]
        else:
            found = [of_piece(*at) for at in pieces]
        likelihood = torch.cat(found)
        return likelihood.new_zeros(targets.shape).index_put((rows, times), likelihood)

    def _auxiliary(self, said: Said, batch: SourceBatch, coverage: Tensor) -> dict[str, Tensor]:
        """The loss on attending again to what has been, by coverage `[batch, source]` before these steps."""
        if not self.decoder.covers:
            return {}
        before = coverage[:, None] + functional.pad(said.attention, (0, 0, 1, -1)).cumsum(1)
        again = torch.minimum(said.attention, before).sum(-1)
        return {"coverage": self.settings.coverage_loss * (again * batch.weight).sum()}


@in_single_precision
def _mixed(scores: Tensor, pointing: Tensor | None, attention: Tensor, words: Tensor) -> Tensor:
    """Logarithms of P(w), summed as logarithms, so that small probabilities are not lost.

    Copying a word that is nowhere in the source has the smallest probability that there is, not zero.

    Args:
        scores: Of the vocabulary, `[batch, time, symbols]`.
        pointing: Logit of p_gen, `[batch, time]`; None: nothing is copied.
        attention: `[batch, time, source]`.
        words: Class of each word of the source, `[batch, source]`.

    Returns:
        `[batch, time, symbols + source]`; `[batch, time, symbols]` where nothing is copied.
    """
    own = scores.log_softmax(-1)
    if pointing is None:
        return own
    own = functional.pad(own, (0, words.shape[-1]), value=-torch.inf)
    copied = torch.zeros_like(own).scatter_add(-1, words[:, None].expand_as(attention), attention)
    copied = copied.clamp(min=torch.finfo(own.dtype).tiny).log()
    p_gen, p_copy = (functional.logsigmoid(logit)[..., None] for logit in (pointing, -pointing))
    return torch.logaddexp(p_gen + own, p_copy + copied)


@in_single_precision
def _mixed_of(
    targets: Tensor, scores: Tensor, pointing: Tensor | None, attention: Tensor, words: Tensor
) -> Tensor:
    """What `_mixed` says of one word each, without the other words: `[n]`.

    Args:
        targets: The words, `[n]`.
        scores: Of the vocabulary, `[n, symbols]`.
        pointing: Logit of p_gen, `[n]`; None: nothing is copied.
        attention: `[n, source]`.
        words: Class of each word of the source, `[n, source]`.
    """
    symbols = targets < scores.shape[-1]
    chosen = scores.take_along_dim(targets.where(symbols, 0)[:, None], -1).squeeze(-1)
    own = chosen - scores.logsumexp(-1)
    if pointing is None:
        return own
    own = own.masked_fill(~symbols, -torch.inf)
    copied = (attention * (words == targets[:, None])).sum(-1)
    copied = copied.clamp(min=torch.finfo(own.dtype).tiny).log()
    return torch.logaddexp(functional.logsigmoid(pointing) + own, functional.logsigmoid(-pointing) + copied)


def _state(source: Source, reached: Reached) -> State:
    """All that goes from segment to segment."""
    own = {"source": source.vectors, "keys": source.keys}
    own |= {"context": reached.context, "coverage": reached.coverage}
    return own | {f"{_CORE}{name}": value for name, value in reached.core.items()}


def _of_core(state: State) -> State:
    """The part of a state that is the decoder's core's."""
    return {name.removeprefix(_CORE): value for name, value in state.items() if name.startswith(_CORE)}


def _there(batch: SourceBatch) -> Tensor:
    """Whether a row's source has a step, `[batch, source]`."""
    return torch.arange(batch.source.shape[1], device=batch.source.device) < batch.source_lengths[:, None]


def _weighted(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The rows and steps `[n]` that have a weight; of tensors without values, all."""
    if weight.device.type == "meta":
        rows, times = torch.ones(weight.shape, device="cpu").nonzero(as_tuple=True)
        return rows.to("meta"), times.to("meta")
    rows, times = weight.nonzero(as_tuple=True)
    return rows, times


def _with_source(batch: Batch) -> SourceBatch:
    if not isinstance(batch, SourceBatch):
        raise UsageError(
            "a pointer generator says something about a source, and the task has none; take another"
        )
    return batch


def _from_zero(core: Core) -> dict[str, torch.Size]:
    """The entries of a core's state that start from zero, each with the shape that a row has of it."""
    state = core.initial_state(1, device=torch.device("cpu"))
    return {name: state[name].shape[1:] for name in sorted(state) if not state[name].any()}


def _maps(inputs: list[int], outputs: list[int], std: float) -> nn.ModuleList:
    """Linear maps of the given widths, all first weights normal, within two deviations."""
    maps = nn.ModuleList(nn.Linear(*widths) for widths in zip(inputs, outputs, strict=True))
    for parameter in maps.parameters():
        _normal_(parameter, std)
    return maps


def _normal_(tensor: Tensor, std: float) -> None:
    nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def _mapped(maps: nn.ModuleList, vectors: list[Tensor]) -> list[Tensor]:
    return [single_precision(each(vector)).relu() for each, vector in zip(maps, vectors, strict=True)]
