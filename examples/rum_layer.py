"""RUM as a layer: a network reads symbols, and says at the end which was the first of them.

python examples/rum_layer.py --steps 300 --length 20
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli import RUM

SYMBOLS = 8


class Network(nn.Module):
    """An embedding, RUM, and a linear map of its last output."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, 16)
        self.memory = RUM(16, hidden_size, lambda_=1)
        self.head = nn.Linear(hidden_size, SYMBOLS)

    def forward(self, symbols: Tensor) -> Tensor:
        """`[batch, time]` to logits `[batch, symbols]`."""
        y, _ = self.memory(self.embedding(symbols))  # [batch, time, hidden]
        return self.head(y[:, -1])


def main() -> None:
    """Train, and say every so often how many are right."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--length", type=int, default=20)
    options.add_argument("--hidden", type=int, default=50)
    given = options.parse_args()
    torch.manual_seed(1)
    network = Network(given.hidden)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(1, given.steps + 1):
        symbols = torch.randint(SYMBOLS, (64, given.length))
        logits = network(symbols)
        loss = functional.cross_entropy(logits, symbols[:, 0])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == given.steps:
            right = (logits.argmax(-1) == symbols[:, 0]).float().mean()
            print(f"step {step}: loss {loss:.3f}, right {right:.2f}")


if __name__ == "__main__":
    main()
