"""What one run is made of, as validated settings."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from rmem_cli.recipe.kinds import Backprop, Core, Encoder, Head, Optimizer, Readout, Schedule, Task
from rmem_cli.recipe.settings import Settings, listed_once
from rmem_cli.recipe.solved import StopWhenSolvedSettings

Drawn = Literal["by_batch", "by_number"]
Feed = Literal["truth", "predictions", "published"]
Reduction = Literal["mean", "sum_over_time"]
Steps = Annotated[int, Field(gt=0, le=10**12)]  # at a million a second, eleven days


class MemoryLossSettings(Settings):
    """An auxiliary loss on memory tokens; `rmem_cli.models.memory_loss` explains it.

    Attributes:
        weight: What it is multiplied by.
        symbol: Number of the symbol that every memory token is to predict.
    """

    weight: PositiveFloat = 0.01
    symbol: NonNegativeInt = 0


class MemoryNetworkSettings(Settings):
    """A memory network; `rmem_cli.models.memory_network.MemoryNetwork` has the equations.

    Attributes:
        size: Width of the vectors, d.
        hops: How often it looks through the story, K.
        capacity: How many sentences it sees, the latest.
        position_encoding: Whether the place of a word in its sentence matters.
        position_weights: How: the paper's weights, or those of the published code, which are twice as large,
            count places up to the longest sentence of the data instead of the word's own, and take the vector
            for a sentence's age for its last word.
        temporal_encoding: Whether it matters how long ago a sentence was.
        time_noise: Up to this share of a story's sentences is added in training, empty, at random places, so
            that the same sentence is not always as long ago.
        linear_start_steps: Training steps in which attention is without softmax.
        initial_std: Standard deviation of all first weights.
    """

    size: PositiveInt
    hops: PositiveInt = 3
    capacity: PositiveInt = 50
    position_encoding: bool = True
    position_weights: Literal["paper", "published"] = "paper"
    temporal_encoding: bool = True
    time_noise: float = Field(default=0.0, ge=0.0, le=1.0)
    linear_start_steps: NonNegativeInt = 0
    initial_std: PositiveFloat = 0.1


class PointerGeneratorSettings(Settings):
    """A pointer-generator network; `rmem_cli.models.pointer_generator.PointerGenerator` has the equations.

    Attributes:
        size: Width of the vectors of symbols, which source and decoder share.
        pointer: Whether words can be copied from the source, those that are no symbols included.
        coverage: Whether attention knows what has been attended to.
        coverage_loss: Weight of the loss on attending to the same again.
        unknown: Number of the symbol that stands for words that are none.
        initial_std: Standard deviation of the first weights of vectors, of the map from the source's states
            to the decoder's, and of that to the vocabulary.
    """

    size: PositiveInt
    pointer: bool = True
    coverage: bool = False
    coverage_loss: NonNegativeFloat = 1.0
    unknown: NonNegativeInt = 0
    initial_std: PositiveFloat = 1e-4

    @model_validator(mode="after")
    def _the_loss_needs_coverage(self) -> Self:
        if not self.coverage and self.coverage_loss != 1.0:
            raise ValueError(
                "coverage_loss is the weight of a loss on coverage; set coverage, or leave it out"
            )
        return self


class ModelSettings(Settings):
    """A model: by default, encoder, core, read-out and head.

    Attributes:
        architecture: `sequence`, of encoder, core, read-out and head; `memory_network`, which has its own
            vectors and answers, and may have a core as its controller; `pointer_generator`, which reads a
            source both ways and says something about it, and has its own vectors and predictions; or
            `story_and_question`, of encoder, three cores and head: one core reads a story, one a question
            about it, and the last one, in one step, what both give.
        encoder: From the task's inputs to the core's; None leaves it to the task.
        core: The memory model; of a memory network, its controller (None: the sum of the paper); of a
            pointer generator, its decoder; of `story_and_question`, each of the three.
        source_core: Of a pointer generator, what reads its source, each way; None: a core such as `core`.
        readout: From the core's outputs at all steps to what the head gets at each; None: that step's output.
        head: From what the read-out gives to predictions; None leaves it to the task.
        input_dropout: Probability of dropping an input of the core, in training.
        output_dropout: Probability of dropping an output of the core, in training.
        memory_loss: What memory tokens are to predict, for cores that have some; None: nothing.
        memory_network: Of a memory network, all else.
        pointer_generator: Of a pointer generator, all else.
    """

    architecture: Literal["sequence", "memory_network", "pointer_generator", "story_and_question"] = (
        "sequence"
    )
    encoder: Encoder | None = None
    core: Core | None = None
    source_core: Core | None = None
    readout: Readout | None = None
    head: Head | None = None
    input_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    output_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    memory_loss: MemoryLossSettings | None = None
    memory_network: MemoryNetworkSettings | None = None
    pointer_generator: PointerGeneratorSettings | None = None


class ValidationSettings(Settings):
    """How the model is judged during training.

    Attributes:
        split: Which split.
        metric: What the best checkpoint, early stopping and the plateau schedule go by.
        examples: How many examples; None takes the whole split of a data set.
        examples_drawn: See `EvalProtocol`.
        batch_size: Examples (or text columns) at a time; None takes the training batch size.
    """

    split: Literal["train", "valid", "test"] = "valid"
    metric: str = "loss"
    examples: PositiveInt | None = None
    examples_drawn: Drawn = "by_batch"
    batch_size: PositiveInt | None = None


class EarlyStoppingSettings(Settings):
    """Stop after `patience` evaluations without an improvement of more than `min_delta`.

    A smaller improvement is none for the best checkpoint either.
    """

    patience: PositiveInt
    min_delta: float = Field(default=0.0, ge=0.0)


class StageSettings(Settings):
    """A part of a training run in which the task is another, usually an easier one, or the model simpler.

    Attributes:
        steps: Optimizer steps.
        task: Fields of the task that differ.
        coverage: Whether a model that has coverage knows it already. As long as it does not, the weights of
            coverage stay as they are at first, and its loss does not count, nor are validations with it: the
            best checkpoint is one of those that come after.
    """

    steps: Steps
    task: dict[str, Any] = Field(default_factory=dict)
    coverage: bool = True

    @model_validator(mode="after")
    def _something_differs(self) -> Self:
        if not self.task and self.coverage:
            raise ValueError(
                "nothing differs in this stage; give it a task or coverage: false, or leave it out"
            )
        return self


class TrainSettings(Settings):
    """The training loop.

    Attributes:
        steps: Optimizer steps, those of the stages included; either this or `epochs`.
        epochs: Passes over the training split, for tasks that read data.
        batch_size: Examples (or text columns) of one step.
        accumulate: Shares of a batch's rows that are read one after the other, their gradients added up, to
            hold less at once. Apart from rounding, and from what dropout and zoneout draw, nothing differs.
        eval_every: Steps between two validations; None validates at the end only.
        validation: How to validate; None never does, and then there is no best checkpoint.
        loss: `mean` over all weighted positions, or `sum_over_time` (mean over the batch only), which
            matters where gradients are clipped.
        clip_norm: Bound on the norm of the whole gradient.
        backprop: How far gradients go back in time.
        stages: A curriculum: what comes first, one after the other. The remaining steps are on the task
            itself, with all of the model; and on the task itself are all validations.
        restart: Whether each stage starts with a new optimizer and schedule, as if they were runs that take
            over the weights of the one before.
        early_stopping: When to stop before the last step because nothing improves.
        stop_when_solved: When to stop before the last step because nothing is left to learn.
        diverged_above: Loss (nats per position) at which the run counts as diverged; one that is not finite
            always does.
        dtype: Numbers of weights and activations.
        precision: Of products and attention in training: `float32`; `bf16` by torch's autocast, where
            weights, states and recurrences stay in float32; or `tf32`, as NVIDIA's GPUs round. Evaluation
            is in `dtype`, but for `tf32`.
        log_every: Steps between two lines of the training curve.
        checkpoint_every: Steps between two checkpoints; None writes one every half minute.
    """

    unhashed: ClassVar[frozenset[str]] = frozenset({"log_every", "checkpoint_every"})

    steps: Steps | None = None
    epochs: PositiveFloat | None = None
    batch_size: Annotated[int, Field(gt=0, le=1_000_000)]
    accumulate: PositiveInt = 1
    eval_every: PositiveInt | None = None
    validation: ValidationSettings | None = None
    loss: Reduction = "mean"
    clip_norm: PositiveFloat | None = None
    backprop: Backprop
    stages: list[StageSettings] = Field(default_factory=list)
    restart: bool = False
    early_stopping: EarlyStoppingSettings | None = None
    stop_when_solved: StopWhenSolvedSettings | None = None
    diverged_above: PositiveFloat | None = None
    dtype: Literal["float32", "float64"] = "float32"
    precision: Literal["float32", "bf16", "tf32"] = "float32"
    log_every: PositiveInt = 100
    checkpoint_every: PositiveInt | None = None

    @model_validator(mode="after")
    def _every_share_has_rows(self) -> Self:
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate is {self.accumulate}, and a batch has batch_size={self.batch_size} rows; "
                "every share needs one, so take fewer"
            )
        return self

    @model_validator(mode="after")
    def _lower_precision_is_of_single(self) -> Self:
        if self.precision != "float32" and self.dtype != "float32":
            raise ValueError(
                f"precision {self.precision} is of numbers of dtype float32, and dtype is {self.dtype}; "
                "leave one of them out"
            )
        return self


class BeamSearchSettings(Settings):
    """How what a model says is looked for; `rmem_cli.evaluation.search.search` explains it.

    The defaults are those of the published code of See et al. 2017.

    Attributes:
        beam: Hypotheses that go on at each step; 1: greedy, always the likeliest symbol.
        shortest: Symbols before one may stop.
        longest: Symbols at most, the one that stops it included.
        length_normalization: Power of its length by which the log-probability of a hypothesis is divided: 1
            for the mean, 0 for the sum.
        repeat_trigrams: Whether three symbols may be said again in the same order.
    """

    beam: Annotated[int, Field(gt=0, le=10_000)] = 4
    shortest: NonNegativeInt = 35
    longest: Annotated[int, Field(gt=0, le=1_000_000)] = 100
    length_normalization: NonNegativeFloat = 1.0
    repeat_trigrams: bool = True

    @model_validator(mode="after")
    def _there_is_room_to_stop(self) -> Self:
        if self.shortest >= self.longest:
            raise ValueError(
                f"shortest is {self.shortest} and longest {self.longest}, which leaves no room to stop; make "
                "longest larger than shortest"
            )
        return self


class SummariesSettings(BeamSearchSettings):
    """What is said about each article of a split, and how that is scored.

    Attributes:
        lead: Sentences at the beginning of the article that are taken for its summary; no model is read then.
            None: what the model says is looked for.
        joined: Whether what is said about the sections of a paper, one after the other, is one summary.
        stemming: Whether ROUGE takes words for equal whose Porter stems are.
    """

    lead: PositiveInt | None = None
    joined: bool = False
    stemming: bool = True

    @model_validator(mode="after")
    def _a_lead_is_not_searched(self) -> Self:
        searched = [
            name
            for name, field in BeamSearchSettings.model_fields.items()
            if getattr(self, name) != field.default
        ]
        if self.lead is not None and searched:
            raise ValueError(
                f"lead takes sentences of the article and looks for nothing; leave out {', '.join(searched)}"
            )
        return self


class EvalProtocol(Settings):
    """One way of evaluating a trained model.

    Attributes:
        name: What the result rows call it.
        split: Which split.
        metrics: What is measured.
        examples: How many examples; None takes the whole split of a data set.
        examples_drawn: Of what an example that a task generates is a function, beside the run's seed and the
            split. `by_number`: of its number alone, so that more examples are the same ones and further ones,
            whatever the batch size. `by_batch`: of the number and the size of its batch, so that another
            batch size measures other examples.
        batch_size: Examples (or text columns) at a time; None takes the training batch size.
        checkpoint: The last one, or the best by the validation metric.
        task: Fields of the task that differ in this evaluation.
        core: Fields of the core that differ in this evaluation, such as the length of its cache; none may
            change the weights.
        feed: What the model reads after an answer, in tasks where answers are inputs: the true one (`truth`),
            its own (`predictions`), or what the published code of the RMT paper gives it (`published`): the
            true ones where the answer is shorter than a segment, else its own but for the first input of each
            segment.
        summaries: How summaries come about and are scored, of which such metrics as `rouge_1` are means;
            None: there are none, and what is measured is what the model predicts.
    """

    name: str
    split: Literal["train", "valid", "test"]
    metrics: Annotated[list[str], listed_once("a metric")] = Field(min_length=1)
    examples: PositiveInt | None = None
    examples_drawn: Drawn = "by_batch"
    batch_size: PositiveInt | None = None
    checkpoint: Literal["last", "best"] = "last"
    task: dict[str, Any] = Field(default_factory=dict)
    core: dict[str, Any] = Field(default_factory=dict)
    feed: Feed = "truth"
    summaries: SummariesSettings | None = None


class RunSettings(Settings):
    """Everything that decides the numbers of one run, but the seed and the data."""

    task: Task
    model: ModelSettings
    optimizer: Optimizer
    schedule: Schedule
    train: TrainSettings
    eval: list[EvalProtocol]
