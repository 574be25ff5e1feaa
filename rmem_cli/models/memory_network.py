"""End-to-end memory networks: a question looks several times through a story."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.models.cores.base import Core
from rmem_cli.models.model import Model, StepResult
from rmem_cli.models.state import State
from rmem_cli.recipe.registry import build
from rmem_cli.recipe.schema import ModelSettings

_NOTHING = -1


class MemoryNetwork(Model):
    """Answers a question by what it attends to in a story, sentence by sentence, again and again.

    With `A`, `B`, `C` tables of vectors, `l` the weights of a word by its place in its sentence, and `T` a
    vector for how long ago a sentence was, for the hops k = 1 ... K:

        m_i = sum_j l_j A^k x_ij + T_A^k(i)     c_i = sum_j l_j C^k x_ij + T_C^k(i)
        u^1 = sum_j l_j B q_j                   p_i = softmax_i(u^k . m_i)
        o^k = sum_i p_i c_i                     u^(k+1) = u^k + o^k          logits: W u^(K+1)

    `l_kj = (1 - j/J) - (k/d) (1 - 2j/J)` for word j of J and component k of d; in the published code
    `l_kj = 1 + 4 (k - (d+1)/2) (j - (J+1)/2) / (d J)`, J being the longest sentence of the data and one more,
    the word J that `T` is the vector of. Tables are tied from hop to
    hop: `A^(k+1) = C^k`, `B = A^1`, `W' = C^K`, and `T` likewise. Without the softmax, `p_i = u . m_i`
    ("linear start"): so are the first training steps of a model that starts linearly.

    With a core as its controller, that reads the question and then what each hop has found: `u^1` and
    `u^(k+1)` are its outputs, step by step, instead of the sum.

    Of a row, only the last step of its question has an answer. Classes are the symbols.

    Args:
        symbols: How many there are.
        classes: How many there are; as many as symbols.
        settings: `memory_network`, and `core` for a controller.

    Raises:
        UsageError: Classes are no symbols, or the controller's outputs are of another width.

    Source: Sukhbaatar et al. 2015, sections 2, 4.1 and 4.2. Where it departs from it: the softmax is put in
    after a number of steps, not when the validation loss has stopped falling; punctuation is words, as the
    task has it.
    """

    segment_length: int | None = None
    causal = True
    stepwise = False

    def __init__(self, symbols: int, classes: int, settings: ModelSettings) -> None:
        super().__init__()
        assert settings.memory_network is not None  # noqa: S101  the settings see to it
        self.settings = own = settings.memory_network
        if classes != symbols:
            raise UsageError(
                f"a memory network answers in symbols, and the task has {symbols:,} symbols and {classes:,} "
                "classes; set task.classes to vocabulary"
            )
        self.words = _tables(own.hops + 1, symbols, own.size, own.initial_std)
        self.times = _tables(
            own.hops + 1 if own.temporal_encoding else 0, own.capacity, own.size, own.initial_std
        )
        self.controller: Core | None = None if settings.core is None else build(settings.core, own.size)
        if self.controller is not None:
            if not self.controller.stepwise:
                raise UsageError(
                    "the controller of a memory network goes step by step; choose a recurrent core"
                )
            if self.controller.output_size != own.size:
                raise UsageError(
                    f"the controller of a memory network has outputs of {self.controller.output_size} units, "
                    f"and memory_network.size is {own.size}; make them equal"
                )
        self.register_buffer("trained_steps", torch.zeros((), dtype=torch.long))

    def outputs(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """`[batch, time, size]`: what is known at the end of each question, and zeros at all other steps."""
        del state
        if batch.question is None or batch.inputs.dim() != 3:
            raise UsageError(
                "a memory network answers questions about sentences; choose task babi of level sentence"
            )
        end = batch.weight.argmax(1)  # [batch]
        ends = torch.arange(len(end), device=end.device), end
        found = self._answer(*_story(batch, self.settings.capacity), batch.inputs[ends])
        outputs = found.new_zeros(*batch.weight.shape, self.settings.size)
        return outputs.index_put(ends, found), {}

    def begin_training_step(self, step: int) -> None:
        """See `Model.begin_training_step`; the start is linear for so many steps."""
        self.get_buffer("trained_steps").fill_(step + 1)

    def step(self, batch: Batch, state: State | None) -> StepResult:
        """See `Model.step`."""
        outputs, state = self.outputs(batch, state)
        logits = self.logits(outputs)
        # [batch * time, classes], [batch * time]
        losses = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
        return StepResult(losses.view_as(batch.weight) * batch.weight, batch.weight, outputs, state)

    def logits(self, outputs: Tensor) -> Tensor:
        """See `Model.logits`."""
        logits: Tensor = outputs @ self.words[-1].mT
        return logits

    def _answer(self, story: Tensor, there: Tensor, question: Tensor) -> Tensor:
        """What is known of each row after all hops, `[batch, size]`.

        Args:
            story: Symbols of the latest sentences, the last one first, `[batch, sentences, symbols]`.
            there: Whether a row has as many, `[batch, sentences]`.
            question: Symbols of the questions, `[batch, symbols]`.
        """
        ages = self._ages(there)
        known, state = self._controlled(self._sentences(0, question), None)
        for hop in range(self.settings.hops):
            memory = self._sentences(hop, story) + self._times(hop, ages, story.shape[-1])
            content = self._sentences(hop + 1, story) + self._times(hop + 1, ages, story.shape[-1])
            scores = (memory @ known.unsqueeze(-1)).squeeze(-1)
            attention = self._attention(scores, there)
            seen = (attention.unsqueeze(1) @ content).squeeze(1)
            if self.controller is None:
                known = known + seen
            else:
                known, state = self._controlled(seen, state)
        return known

    def _controlled(self, read: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """What the controller makes of what is read; without one, that itself."""
        return (read, None) if self.controller is None else self.controller.step(read, state)

    def _attention(self, scores: Tensor, there: Tensor) -> Tensor:
        """`[batch, sentences]`: a softmax, or the scores themselves as long as the start is linear."""
        masked = scores.masked_fill(~there, torch.finfo(scores.dtype).min)
        attention = masked.softmax(-1) * there
        if self.settings.linear_start_steps == 0:
            return attention
        is_linear = self.get_buffer("trained_steps") <= self.settings.linear_start_steps
        return torch.where(is_linear, scores * there, attention)

    def _sentences(self, table: int, symbols: Tensor) -> Tensor:
        """Vectors of sentences: `[..., symbols]` to `[..., size]`."""
        there = symbols != _NOTHING
        vectors = self.words[table][symbols.clamp(min=0)] * there.unsqueeze(-1)
        if self.settings.position_encoding:
            vectors = vectors * self._weights_by_place(there, vectors)
        return torch.sum(vectors, dim=-2)

    def _weights_by_place(self, there: Tensor, vectors: Tensor) -> Tensor:
        """What is multiplied with vectors `[..., symbols, size]`."""
        if self.settings.position_weights == "paper":
            return _paper_weights(there, vectors)
        words = vectors.shape[-2]
        return _published_weights(vectors, words + self.settings.temporal_encoding)[:words]

    def _times(self, table: int, ages: Tensor, width: int) -> Tensor | float:
        """Vectors of the ages of sentences of so many words, `[batch, sentences, size]`."""
        if not self.settings.temporal_encoding:
            return 0.0
        vectors: Tensor = self.times[table][ages]
        if self.settings.position_encoding and self.settings.position_weights == "published":
            vectors = vectors * _published_weights(vectors, width + 1)[-1]
        return vectors

    def _ages(self, there: Tensor) -> Tensor:
        """How many sentences ago each is, `[batch, sentences]`; in training, empty ones may count as well.

        Up to a share `time_noise` of a story's sentences is added, empty, at random places.
        """
        rows, sentences = there.shape
        ages = torch.arange(sentences, device=there.device).expand(rows, sentences)
        if not (self.training and self.settings.time_noise):
            return ages
        counts = there.sum(1)
        most = (self.settings.time_noise * counts).ceil()
        empty = (torch.rand(rows, device=there.device) * (most + 1)).floor().long()
        places = sentences + int(self.settings.time_noise * sentences) + 1
        # Of counts + empty places, those with the lowest random numbers are the sentences.
        lots = torch.rand(rows, places, device=there.device)
        lots = lots.masked_fill(torch.arange(places, device=there.device) >= (counts + empty)[:, None], 2)
        taken = lots.argsort(1).argsort(1) < counts[:, None]
        ages = (~taken).to(torch.uint8).argsort(dim=1, stable=True)[:, :sentences]
        return ages.clamp(max=self.settings.capacity - 1)


def _story(batch: Batch, capacity: int) -> tuple[Tensor, Tensor]:
    """The latest sentences of each row before its question, the last one first, and whether a row has them.

    Returns:
        `[batch, sentences, symbols]` and `[batch, sentences]`.
    """
    assert batch.question is not None  # noqa: S101  the caller checked
    rows, time, symbols = batch.inputs.shape
    sentences = max(1, min(capacity, time - 1))
    places = batch.question[:, None] - 1 - torch.arange(sentences, device=batch.inputs.device)
    index = places.clamp(min=0)[..., None].expand(rows, sentences, symbols)
    return batch.inputs.gather(1, index), places >= 0


def _paper_weights(there: Tensor, vectors: Tensor) -> Tensor:
    """The weight of each component of each word's vector, by the word's place: `[..., symbols, size]`."""
    size = vectors.shape[-1]
    components = torch.arange(1, size + 1, device=vectors.device, dtype=vectors.dtype) / size
    places = torch.arange(1, there.shape[-1] + 1, device=vectors.device, dtype=vectors.dtype)
    share = (places / there.sum(-1, keepdim=True).clamp(min=1)).unsqueeze(-1)
    return (1 - share) - components * (1 - 2 * share)


def _published_weights(like: Tensor, words: int) -> Tensor:
    """The same of sentences of so many words, the age of the sentence among them: `[words, size]`."""
    size = like.shape[-1]
    components = torch.arange(1, size + 1, device=like.device, dtype=like.dtype) - (size + 1) / 2
    places = torch.arange(1, words + 1, device=like.device, dtype=like.dtype) - (words + 1) / 2
    return 1 + 4 * components * places.unsqueeze(-1) / (size * words)


def _tables(count: int, rows: int, size: int, std: float) -> nn.ParameterList:
    return nn.ParameterList(torch.empty(rows, size).normal_(std=std) for _ in range(count))
