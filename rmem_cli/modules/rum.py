"""The rotational unit of memory as a module of its own, for use outside of recipes."""

from typing import Any

import torch
from torch import Tensor

from rmem_cli.models.cores import rum
from rmem_cli.models.cores.recurrent_config import RUMSettings
from rmem_cli.models.state import State
from rmem_cli.modules.options import settings_from


class RUM(rum.RUM):
    """A recurrent network whose state is turned by a learned rotation; `rmem_cli.models.cores.rum.RUM`.

    Args:
        input_size: Width of the inputs.
        hidden_size: Units of each layer.
        num_layers: As torch calls `layers`, the number of layers; None: what `layers` says, else 1.
        batch_first: Whether inputs and outputs are `[batch, time, ...]`, or `[time, batch, ...]`, which is
            torch's default. States have the batch first in either case.
        device: Of the weights.
        dtype: Of the weights.
        options: All others of `rmem_cli.models.cores.recurrent_config.RUMSettings`, which explains them.

    Raises:
        TypeError: There is no such option.
        ValueError: An option has no such value.

    Example:
        >>> rum = RUM(8, 32, lambda_=1)
        >>> y, state = rum(torch.randn(4, 10, 8))
        >>> y, state = rum(torch.randn(4, 10, 8), state)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int | None = None,
        batch_first: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        if num_layers is not None:
            layers = options.setdefault("layers", num_layers)
            if layers not in (1, num_layers):
                raise ValueError(f"layers is {layers} and num_layers, another name of it, is {num_layers}")
            options["layers"] = num_layers
        super().__init__(input_size, settings_from(RUMSettings, hidden_size=hidden_size, **options))
        self.batch_first = batch_first
        self.to(device=device, dtype=dtype)

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read a segment.

        Args:
            x: `[batch, time, input_size]`, or as `batch_first` says.
            state: What the segment before returned; None starts afresh.
            lengths: `[batch]`, steps of each row that count; None: all.

        Returns:
            Outputs in the form of `x`, and the state: `hidden.<layer>` `[batch, hidden]`, and for lambda 1
            `memory.<layer>` `[batch, hidden, hidden]`.

        Raises:
            ValueError: The state is that of another module, or of other rows.
        """
        if self.batch_first:
            return super().forward(x, state, lengths)
        y, after = super().forward(x.transpose(0, 1), state, lengths)  # y as [batch, time, hidden]
        return y.transpose(0, 1), after  # [time, batch, hidden]
