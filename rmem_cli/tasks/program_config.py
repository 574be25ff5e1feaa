"""Settings of programs that are executed by reading them."""

from typing import ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from rmem_cli.recipe.kinds import TaskSettings


class ProgramExecutionSettings(TaskSettings):
    """Programs to be executed by reading them; `rmem_cli.tasks.program_execution` has an example.

    Attributes:
        length: Most digits of a number in a program, at most a thousand: results have more, and Python
            prints none of more than 4,300.
        nesting: How many operations a program combines.
        curriculum: How hard the training examples are. `baseline`: as hard as length and nesting say.
            `naive`: at first both are 1; then length rises to its full value, then nesting by one with
            length 1 again, and so on. `mix`: both are drawn anew for each example, from 1 to their full
            values. `combined`: each example is one of `naive` or of `mix`. Evaluation is always on the full
            values.
        stage_steps: Training steps before `naive` and `combined` get harder; no other curriculum has them.
    """

    implementation: ClassVar[str] = "rmem_cli.tasks.program_execution:ProgramExecution"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    generated: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"length"})

    kind: Literal["program_execution"] = "program_execution"
    length: int = Field(ge=1, le=1000)
    nesting: int = Field(ge=1, le=20)
    curriculum: Literal["baseline", "naive", "mix", "combined"] = "baseline"
    stage_steps: PositiveInt | None = None

    @model_validator(mode="after")
    def _stages_have_a_length(self) -> Self:
        has_stages = self.curriculum in ("naive", "combined")
        if has_stages and self.stage_steps is None:
            raise ValueError(f"curriculum {self.curriculum} needs stage_steps")
        if not has_stages and self.stage_steps is not None:
            raise ValueError(f"curriculum {self.curriculum} has no stages; leave out stage_steps")
        return self
