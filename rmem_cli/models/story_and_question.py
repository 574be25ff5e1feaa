"""Three networks: one reads a story, one a question about it, and the last answers from what both give."""

import torch
from torch import Tensor
from torch.nn import functional

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.models.cores.base import Core
from rmem_cli.models.encoders import Encoder, encoded
from rmem_cli.models.heads import Head
from rmem_cli.models.model import Model, StepResult
from rmem_cli.models.state import State
from rmem_cli.ops.forms import joined_forms

_ALL = slice(None)


class StoryAndQuestion(Model):
    """Answers a question by a network that reads, in one step, what two others made of story and question.

    With `e` the encoder, a story of the steps `x_1 ... x_S` and a question of the steps `q_1 ... q_Q`,

        s = story(e(x_1), ..., e(x_S))_S    t = question(e(q_1), ..., e(q_Q))_Q
        y = answer([s ; t])_1               logits: W y + b

    where `story`, `question` and `answer` are cores of one kind and size with weights of their own, each from
    its initial state, and the subscript is the step whose output is taken. Of a row, only the last step of
    its question has an answer.

    Args:
        encoder: Symbols to vectors, of story and question.
        story: Reads the story.
        question: Reads the question.
        answer: Reads what both give.
        head: What the last network gives to losses and predictions.
        input_dropout: Probability of dropping an input of the readers, in training.
        output_dropout: Probability of dropping an output of the last network, in training.

    Raises:
        UsageError: The cores read segments as a whole.

    Source: Jing et al. 2017, the section on bAbI. Where it is silent: that the two readers share the vectors
    of words, that "the outputs of the two" are the last ones, so that the third network has one step, and
    that all three are of one size.
    """

    segment_length: int | None = None
    causal = True
    stepwise = False

    def __init__(
        self,
        encoder: Encoder,
        story: Core,
        question: Core,
        answer: Core,
        head: Head,
        *,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not answer.stepwise:
            raise UsageError(
                f"{type(answer).__name__} reads segments as a whole, and networks of story and question are "
                "recurrent; choose a recurrent core, such as lstm or rum"
            )
        self.encoder = encoder
        self.story, self.question, self.answer = story, question, answer
        self.head = head
        self.input_dropout = input_dropout
        self.output_dropout = output_dropout

    def outputs(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """`[batch, time, size]`: what the last network gives at the end of each question, else zeros."""
        del state
        if batch.question is None:
            raise UsageError(
                "networks of story and question answer questions about stories; choose task babi"
            )
        end = batch.weight.argmax(1)  # [batch]
        x = functional.dropout(encoded(self.encoder, batch.inputs), self.input_dropout, self.training)
        told = _last(self.story, x, batch.question)
        asked = _last(self.question, *_question(x, batch.question, end))
        answer, _ = self.answer.step(torch.cat([told, asked], dim=-1))
        answer = functional.dropout(answer, self.output_dropout, self.training)
        outputs = answer.new_zeros(*batch.weight.shape, answer.shape[-1])
        return outputs.index_put((torch.arange(len(end), device=end.device), end), answer), {}

    def step(self, batch: Batch, state: State | None) -> StepResult:
        """See `Model.step`."""
        outputs, state = self.outputs(batch, state)
        steps = batch.counted_steps() if self.training else _ALL
        outputs, weights = outputs[:, steps], batch.weight[:, steps]
        losses = self.head.nll(outputs, batch.targets[:, steps]) * weights
        return StepResult(losses, weights, outputs, state)

    def logits(self, outputs: Tensor) -> Tensor:
        """See `Model.logits`."""
        return self.head.logits(outputs)

    def op_paths(self) -> dict[str, str]:
        """Those of the networks, which differ where their widths do."""
        return joined_forms(core.op_paths() for core in (self.story, self.question, self.answer))


def _last(core: Core, x: Tensor, lengths: Tensor) -> Tensor:
    """The output at the last step of each row that counts, `[batch, size]`; zero where none does.

    Args:
        core: From its initial state.
        x: `[batch, time, width]`.
        lengths: `[batch]`.
    """
    y, _ = core(x[:, : _longest(lengths, x.shape[1])], None, lengths)
    last = y[torch.arange(len(y), device=y.device), (lengths - 1).clamp(min=0)]
    return torch.where(lengths[:, None] > 0, last, 0)


def _question(x: Tensor, begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """The steps of the questions, each from its first on, `[batch, time, width]`, and how many each has."""
    lengths = end - begin + 1
    steps = torch.arange(_longest(lengths, x.shape[1]), device=x.device)
    index = (begin[:, None] + steps).clamp(max=x.shape[1] - 1)
    return x.gather(1, index[..., None].expand(*index.shape, x.shape[-1])), lengths


def _longest(lengths: Tensor, time: int) -> int:
    """At most how many steps count; all, where finding out stalls an accelerator."""
    return max(1, int(lengths.max())) if lengths.device.type == "cpu" else time
