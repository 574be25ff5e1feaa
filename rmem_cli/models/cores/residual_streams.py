"""How the branches of a layer are added up: one residual stream, or several with learned connections."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Branch = Callable[[Tensor], Tensor]


class PlainResidual(nn.Module):
    """`x + branch(x)`."""

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        """`[batch, places, hidden]`, and a map that keeps this shape."""
        return x + branch(x)


class HyperConnection(nn.Module):
    """Several residual streams, mixed before a branch and each given its share of what the branch yields.

    With r the streams and n their root mean square norms, the branch reads the first of the mixtures
    `sum_s A[s, t] r_s`, the others become the streams, and stream t gets `B[t]` times the branch's output,
    where `A = A_0 + a tanh(n W_a)` and `B = B_0 + b tanh(n w_b)`. At first this is one ordinary residual
    stream, repeated: `W_a` and `w_b` are zero, `A_0` picks stream `index` for the branch and keeps all.

    Args:
        hidden_size: Width of a stream.
        streams: How many there are.
        index: Which of them the branch reads at first, modulo their number.

    Source: Zhu et al. 2024, algorithm 2, with a root mean square norm, as in lucidrains/hyper-connections.
    """

    def __init__(self, hidden_size: int, streams: int, index: int) -> None:
        super().__init__()
        every = torch.eye(streams)
        self.gain = nn.Parameter(torch.zeros(hidden_size))
        self.mixture = nn.Parameter(torch.cat([every[:, [index % streams]], every], dim=1))
        self.mixture_map = nn.Parameter(torch.zeros(hidden_size, streams + 1))
        self.mixture_scale = nn.Parameter(torch.tensor(0.01))
        self.share = nn.Parameter(torch.ones(streams))
        self.share_map = nn.Parameter(torch.zeros(hidden_size))
        self.share_scale = nn.Parameter(torch.tensor(0.01))

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        """`[batch, places, streams, hidden]`, and a map that keeps `[batch, places, hidden]`."""
        normed = functional.normalize(x, dim=-1) * x.shape[-1] ** 0.5 * (self.gain + 1)
        mixture = self.mixture + self.mixture_scale * (normed @ self.mixture_map).tanh()
        share = self.share + self.share_scale * (normed @ self.share_map).tanh()
        mixed: Tensor = mixture.mT @ x
        added: Tensor = share.unsqueeze(-1) * branch(mixed[..., 0, :]).unsqueeze(-2)
        return mixed[..., 1:, :] + added
