"""The interface of every memory model."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import torch
from torch import Tensor, nn

from rmem_cli.models.state import State, described

Stepped = tuple[Tensor, State]  # named, as torch.compile reads no such subscript within a function
Stepper = Callable[[Tensor, State], Stepped]


class Core(nn.Module, ABC):
    """A memory model that reads one segment at a time and carries a state between segments.

    Attributes:
        input_size: Width of the inputs.
        output_size: Width of the outputs.
        segment_length: Steps of one segment; None if any length will do.
        causal: Whether no output depends on later inputs of its segment.
        stepwise: Whether a segment read in parts gives the outputs and the state that it gives as a whole.
    """

    input_size: int
    output_size: int
    segment_length: int | None = None
    causal: bool = True
    stepwise: bool = True

    @abstractmethod
    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state before the first segment, for `batch` rows.

        Device and dtype default to those of the parameters.
        """

    @abstractmethod
    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment.

        Args:
            x: `[batch, time, input_size]`.
            state: State after the previous segment; None starts afresh.
            lengths: `[batch]`, steps of each row that count; the state stays as it is after them, and outputs
                beyond them mean nothing. None: all steps.

        Returns:
            Outputs `[batch, time, output_size]` and the state after the segment.

        Raises:
            ValueError: The state is that of another model, or of other rows.
        """

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read one step, as cores that hold others and decoders do.

        Args:
            x: `[batch, input_size]`.
            state: State after the step before; None starts afresh.

        Returns:
            The output `[batch, output_size]`, and the state after the step.

        Raises:
            TypeError: The core reads segments as a whole.
            ValueError: The state is that of another model, or of other rows.
        """
        if not self.stepwise:
            raise TypeError(f"{type(self).__name__} reads segments as a whole, not step by step")
        y, state = self(x[:, None], state)
        return y[:, 0], state

    def stepper(self) -> Stepper:
        """`step`, for many steps in a row, whose arguments are right.

        A core may compute what depends on nothing but its weights once for all of them.
        """
        return self.step

    def constant_weights(self) -> AbstractContextManager[None]:
        """Meanwhile the weights stay as they are, and gradients are taken by `backward` alone.

        A core may compute what depends on nothing but its weights once for all segments that it reads
        meanwhile. The gradients of that part reach the weights when the context ends.
        """
        return nullcontext()

    def turning_parameters(self) -> list[nn.Parameter]:
        """The parameters that decide how the state is turned; of a core of cells, the cells have them."""
        return []

    def op_paths(self) -> dict[str, str]:
        """Each op that has several forms, with the form that runs; see `joined_forms` for several."""
        return {}

    def check_state(self, state: State, batch: int) -> None:
        """Whether a state can be this core's.

        Args:
            state: That is given.
            batch: Rows of the inputs that are given with it.

        Raises:
            ValueError: It has other entries, or others of another shape.
        """
        if torch.compiler.is_compiling():
            return
        shapes = {name: (batch, *shape) for name, shape in self._state_shapes.items()}
        given = {name: tuple(value.shape) for name, value in state.items()}
        if given != shapes:
            raise ValueError(
                f"the state is not one of this {type(self).__name__} and {batch} rows: "
                f"it has {described(given)}; it must have {described(shapes)}"
            )

    @cached_property
    def _state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each entry of a state, without the batch."""
        one_row = self.initial_state(1, device=torch.device("meta"), dtype=torch.float32)
        return {name: tuple(value.shape[1:]) for name, value in one_row.items()}

    def parameter_options(
        self, device: torch.device | None, dtype: torch.dtype | None
    ) -> tuple[torch.device, torch.dtype]:
        """Device and dtype to make a state in: those given, else those of the parameters."""
        if device is not None and dtype is not None:
            return device, dtype  # a copy that `torch.nn.DataParallel` makes has no parameters
        parameter = next(self.parameters())
        return device or parameter.device, dtype or parameter.dtype


def without_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Inputs with zeros behind the ends of rows: what is not a number there, times nothing, is none either.

    Args:
        x: Inputs, `[batch, time, width]`.
        lengths: Steps of each row that count, `[batch]`, on the device of `x`.
    """
    counts = torch.arange(x.shape[1], device=x.device) < lengths[:, None]  # [batch, time]
    return torch.where(counts.unsqueeze(-1), x, 0.0)
