"""The Fast-Slow network: a core whose cells are cores."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.errors import UsageError
from rmem_cli.models.cores.base import Core, Stepped, Stepper, without_padding
from rmem_cli.models.cores.recurrent_config import FastSlowSettings
from rmem_cli.models.state import State, described
from rmem_cli.ops.autocast import in_single_precision
from rmem_cli.ops.forms import joined_forms
from rmem_cli.recipe.registry import build

_FAST, _SLOW = "fast.", "slow."


class FastSlow(Core):
    """Fast cells that share one state and are gone through one after the other, and a slow cell between them.

    At every step the first fast cell reads the input, the slow cell what that gives, the second fast cell
    what the slow cell gives, and each further fast cell a zero. What the last one gives is the output. What
    is read and the output are subject to dropout.

    The state has the entries of a fast cell as `fast.<name>`, and those of the slow cell as `slow.<name>`.

    Args:
        input_size: Width of the inputs.
        settings: All options.

    Raises:
        UsageError: A cell reads segments as a whole, or the states of the fast cells have different shapes.

    Source: Mujika et al. 2017, section 3; the zero of the further cells: the code of Dangovski et al. 2019.
    """

    def __init__(self, input_size: int, settings: FastSlowSettings) -> None:
        super().__init__()
        self.input_size = input_size
        self.dropout = settings.dropout
        first: Core = build(settings.fast, input_size)
        self.slow: Core = build(settings.slow, first.output_size)
        widths = (self.slow.output_size, *[1] * (settings.fast_cells - 2))
        self.fast = nn.ModuleList([first, *(build(settings.fast, width) for width in widths)])
        self.output_size = first.output_size
        _check((*self._fast_cells(), self.slow))
        _check_shared(self._fast_cells())

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Those of a fast cell and of the slow cell."""
        fast, slow = (
            cell.initial_state(batch, device=device, dtype=dtype)
            for cell in (self._fast_cells()[0], self.slow)
        )
        return _joined(fast, slow)

    @in_single_precision
    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment; see `Core.forward`."""
        if state is None:
            state = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        self.check_state(state, x.shape[0])
        if lengths is not None:
            lengths = lengths.to(x.device)
            x = without_padding(x, lengths)
        step, outputs = self.stepper(), []
        for time, x_t in enumerate(x.unbind(1)):
            y, after = step(x_t, state)
            state = after if lengths is None else _where(time < lengths, after, state)
            outputs.append(y)
        return torch.stack(outputs, dim=1), state

    def stepper(self) -> Stepper:
        """See `Core.stepper`."""
        first, second, *further = (cell.stepper() for cell in self._fast_cells())
        slow = self.slow.stepper()

        def step(x: Tensor, state: State) -> Stepped:
            y, of_fast = first(self._dropped(x), _part(state, _FAST))
            y, of_slow = slow(self._dropped(y), _part(state, _SLOW))
            y, of_fast = second(self._dropped(y), of_fast)
            for cell in further:
                y, of_fast = cell(x.new_zeros(x.shape[0], 1), of_fast)
            return self._dropped(y), _joined(of_fast, of_slow)

        return step

    def op_paths(self) -> dict[str, str]:
        """Those of all cells; `fast+native` where one cell runs an operation in one form, one in another."""
        return joined_forms(cell.op_paths() for cell in (*self._fast_cells(), self.slow))

    def _fast_cells(self) -> list[Core]:
        return [cell for cell in self.fast if isinstance(cell, Core)]

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)


def _check(cells: Iterable[Core]) -> None:
    for cell in cells:
        if not cell.stepwise:
            raise UsageError(
                f"{type(cell).__name__} reads segments as a whole, and a cell is gone through step by "
                "step; choose another cell, such as layer_norm_lstm"
            )


def _check_shared(cells: list[Core]) -> None:
    """Whether cells that read inputs of other widths have states of one shape."""
    shapes = [
        {name: value.shape for name, value in cell.initial_state(1, device=torch.device("meta")).items()}
        for cell in cells
    ]
    for other in shapes[1:]:
        if other != shapes[0]:
            raise UsageError(
                f"the state of a fast cell is {described(shapes[0])}, and of another {described(other)}; "
                "they share one: choose a cell whose state does not depend on the width of its inputs"
            )


def _joined(fast: State, slow: State) -> State:
    parts = ((_FAST, fast), (_SLOW, slow))
    return {f"{part}{name}": value for part, entries in parts for name, value in entries.items()}


def _part(state: State, part: str) -> State:
    return {name.removeprefix(part): value for name, value in state.items() if name.startswith(part)}


def _where(active: Tensor, after: State, before: State) -> State:
    """The new state in the rows where `active [batch]` is true, the old one in the others."""
    return {
        # [batch, 1, ...]
        name: torch.where(active.view(-1, *[1] * (value.dim() - 1)), value, before[name])
        for name, value in after.items()
    }
