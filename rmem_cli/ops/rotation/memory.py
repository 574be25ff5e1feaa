"""The associative memory of lambda 1: advanced in place, and taken back step by step for the gradient.

Automatic differentiation would keep `[batch, hidden, hidden]` numbers for every step. Here one buffer holds
the memory: each step adds its update of rank two and keeps the two factors of it, and the backward pass
subtracts them again. `torch.compile` cannot capture that: what it translates keeps the memory of each step.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.compiler import is_compiling

from rmem_cli.ops import autocast
from rmem_cli.ops.differentiation import recorded_gradients

# Steps between two copies of the memory, which bound the rounding that taking back accumulates.
_STEPS_BETWEEN_COPIES = 256


class _Update(NamedTuple):
    """One step's factors of `A_t = A_{t-1} + left @ right`, `[batch, n, 2]` and `[batch, 2, n]`.

    With `Rotation = I + columns @ right`, `left` is `A_{t-1} @ columns`.
    """

    left: Tensor
    right: Tensor
    columns: Tensor


class RotationMemory:
    """One associative memory over one sequence; every step turns it and applies it to a vector.

    Args:
        initial: `[batch, n, n]`, the memory before the first step.
    """

    def __init__(self, initial: Tensor) -> None:
        self._memory = initial
        if not is_compiling():
            self._tape = _Tape(initial, recording=torch.is_grad_enabled())
            self._memory = _Begin.apply(initial, self._tape)  # type: ignore[no-untyped-call]

    def turn(self, columns: Tensor, right: Tensor, h: Tensor) -> Tensor:
        """Multiply the memory by a rotation from the right, and a vector by the memory.

        Args:
            columns: `[batch, n, 2]`.
            right: `[batch, 2, n]`; the rotation is `I + columns @ right`.
            h: `[batch, n]`.

        Returns:
            The new memory times `h`, `[batch, n]`.
        """
        rotated: Tensor
        if is_compiling():
            rotated, self._memory = _turned(self._memory, columns, right, h)
            return rotated
        rotated, self._memory = _Turn.apply(self._memory, self._tape, columns, right, h)  # type: ignore[no-untyped-call]
        return rotated

    def value(self) -> Tensor:
        """The memory after the last step, `[batch, n, n]`."""
        if is_compiling():
            return self._memory
        memory: Tensor = _End.apply(self._memory, self._tape)  # type: ignore[no-untyped-call]
        return memory


class _Tape:
    """The memory at one step, its gradient in a backward pass, and how to go back.

    Attributes:
        memory: The memory after `position` steps.
        gradient: In a backward pass, the gradient of that memory.
        position: How many steps `memory` contains.
    """

    def __init__(self, initial: Tensor, *, recording: bool) -> None:
        self.memory = initial.detach().clone(memory_format=torch.contiguous_format)
        self.gradient = self.memory
        self.position = 0
        self._recording = recording
        self._updates: list[_Update] = []
        self._copies: dict[int, Tensor] = {}
        self._last = self.memory
        self._pass = -1

    def advance(self, columns: Tensor, right: Tensor, h: Tensor) -> Tensor:
        """One step; returns the new memory times `h`."""
        h = h.unsqueeze(-1)
        products = self.memory @ torch.cat([columns, h], dim=-1)
        left = products[..., :2]
        if self._recording:
            if self.position % _STEPS_BETWEEN_COPIES == 0 and self.position:
                self._copies[self.position] = self.memory.clone()
            # Without their history: it would lead back to this tape, a circle that is never freed.
            self._updates.append(_Update(left, right.detach(), columns.detach()))
        self.memory.baddbmm_(left, right)
        self.position += 1
        return torch.baddbmm(products[..., 2:], left, right @ h).squeeze(-1)

    def finish(self) -> Tensor:
        """The memory after the last step, which every backward pass starts from."""
        if not self._recording:
            return self.memory
        self._last = self.memory.clone()
        return self._last.clone()

    def rewind(self, position: int) -> None:
        """In a backward pass, go back to an earlier step with the memory and its gradient."""
        self._enter_pass()
        while self.position > position:
            self.take_back()

    def add(self, gradient: Tensor | None) -> None:
        """In a backward pass, add what else the memory at this step is given as its gradient."""
        if gradient is not None:
            self.gradient.add_(gradient)

    def take_back(self) -> tuple[Tensor, Tensor]:
        """Undo the last step; returns the gradients of the two factors of its update."""
        self.position -= 1
        left, right, columns = self._updates[self.position]
        right_gradient = left.mT @ self.gradient
        left_gradient = self.gradient @ right.mT
        self.gradient.baddbmm_(left_gradient, columns.mT)
        if self.position in self._copies:
            self.memory.copy_(self._copies[self.position])
        else:
            self.memory.baddbmm_(left, right, alpha=-1)
        return left_gradient, right_gradient

    def _enter_pass(self) -> None:
        """Start from the last step again if this is another backward pass than the one before."""
        current = torch._C._current_graph_task_id()
        if current == self._pass:
            return
        self._pass = current
        self.position = len(self._updates)
        self.memory = self._last.clone()
        self.gradient = torch.zeros_like(self.memory)


def _stand_in(memory: Tensor) -> Tensor:
    """What torch knows of a memory after a step: its shape, and zeros; the numbers are on the tape.

    Its gradient is there as well (None for torch), but where that is recorded.
    """
    return memory.new_zeros(()).expand(memory.shape)


class _Begin(Function):
    """The start of a chain of stand-ins that makes the backward pass visit the steps in reverse order."""

    @staticmethod
    def forward(ctx: Any, initial: Tensor, tape: _Tape) -> Tensor:
        ctx.tape = tape
        ctx.set_materialize_grads(False)
        return _stand_in(initial)

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, None]:
        if torch.is_grad_enabled():
            return gradient, None
        ctx.tape.rewind(0)
        ctx.tape.add(gradient)
        return ctx.tape.gradient.clone(), None


class _Turn(Function):
    """One step of the memory."""

    @staticmethod
    def forward(
        ctx: Any, memory: Tensor, tape: _Tape, columns: Tensor, right: Tensor, h: Tensor
    ) -> tuple[Tensor, Tensor]:
        rotated = tape.advance(columns, right, h)
        ctx.tape = tape
        ctx.position = tape.position
        ctx.save_for_backward(memory, columns, right, h)
        ctx.set_materialize_grads(False)
        return rotated, _stand_in(memory)

    @staticmethod
    @autocast.as_it_is
    def backward(
        ctx: Any, gradient: Tensor | None, memory_gradient: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        tape: _Tape = ctx.tape
        memory, columns, right, h = ctx.saved_tensors
        if torch.is_grad_enabled():
            tape.rewind(ctx.position - 1)
            inputs = (tape.memory + memory, columns, right, h)
            of_memory, *others = recorded_gradients(_turned, inputs, (gradient, memory_gradient))
            return of_memory, None, *others
        tape.rewind(ctx.position)
        tape.add(memory_gradient)
        gradient = (torch.zeros_like(h) if gradient is None else gradient).unsqueeze(-1)
        h_gradient = (tape.memory.mT @ gradient).squeeze(-1)
        tape.gradient.baddbmm_(gradient, h.unsqueeze(-2))
        left_gradient, right_gradient = tape.take_back()
        columns_gradient = tape.memory.mT @ left_gradient
        return None, None, columns_gradient, right_gradient, h_gradient


def _turned(memory: Tensor, columns: Tensor, right: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """What `RotationMemory.turn` gives and the memory after it, as torch can differentiate them."""
    after = torch.baddbmm(memory, memory @ columns, right)
    return (after @ h.unsqueeze(-1)).squeeze(-1), after


class _End(Function):
    """The memory after the last step."""

    @staticmethod
    def forward(ctx: Any, memory: Tensor, tape: _Tape) -> Tensor:
        del memory
        ctx.tape = tape
        ctx.position = tape.position
        return tape.finish()

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        if torch.is_grad_enabled():
            return gradient, None
        ctx.tape.rewind(ctx.position)
        ctx.tape.add(gradient)
        return None, None
