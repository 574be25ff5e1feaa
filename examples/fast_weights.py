"""A core of one's own in one file: a memory of what followed what.

    rmem train fast_weights.yaml --allow-module fast_weights      in the folder of both files

Each step stores its input under the key of the step before, and reads what stands under its own key: what
came next when the same was read earlier. So an answer that was read once behind its question is known when
the question comes again.

Source: the delta rule for fast weights, Schlag, Irie and Schmidhuber 2021 (arXiv 2102.11174). The keys of the
step before are an addition.
"""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.cores.base import Core
from rmem_cli.models.state import State
from rmem_cli.recipe.kinds import CoreSettings


class FastWeights(Core):
    """M_t = M_{t-1} + r_t (v_t - M_{t-1} k_{t-1}) k_{t-1}^T, and y_t = M_t k_t.

    Keys k_t are W_k x_t at length 1, values v_t are W_v x_t, and the rates r_t lie between 0 and 1.
    """

    class Settings(CoreSettings):
        """What a recipe can say about it; a wrong name or value is refused with its line."""

        kind: str
        hidden_size: PositiveInt

        @property
        def output_size(self) -> int:
            """What stands behind the core is made for this width."""
            return self.hidden_size

    def __init__(self, input_size: int, settings: Settings) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, settings.hidden_size
        self.key = nn.Linear(input_size, self.output_size, bias=False)
        self.value = nn.Linear(input_size, self.output_size, bias=False)
        self.rate = nn.Linear(input_size, 1)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """All that is carried from one segment to the next, batch first: a text can be cut anywhere."""
        device, dtype = self.parameter_options(device, dtype)
        size = self.output_size
        shapes = {"weights": (batch, size, size), "key": (batch, size)}
        return {name: torch.zeros(shape, device=device, dtype=dtype) for name, shape in shapes.items()}

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Outputs `[batch, time, hidden]` and the state after the segment."""
        state = state or self.initial_state(len(x))
        weights, before = state["weights"], state["key"]  # [batch, hidden, hidden], [batch, hidden]
        keys = functional.normalize(self.key(x), dim=-1)  # [batch, time, hidden]
        values, rates = self.value(x), self.rate(x).sigmoid()  # [batch, time, hidden], [batch, time, 1]
        y = []
        for t in range(x.shape[1]):
            wrong = values[:, t] - torch.einsum("bij,bj->bi", weights, before)
            written = weights + torch.einsum("bi,bj->bij", rates[:, t] * wrong, before)
            key = keys[:, t]
            if lengths is not None:  # beyond its length, a row's state stays as it is
                counts = (t < lengths)[:, None]  # [batch, 1]
                written = torch.where(counts[:, :, None], written, weights)
                key = torch.where(counts, key, before)
            weights, before = written, key
            y.append(torch.einsum("bij,bj->bi", weights, key))
        return torch.stack(y, 1), {"weights": weights, "key": before}
