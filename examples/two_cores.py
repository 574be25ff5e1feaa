"""Two cores on a task of one's own: say at each step what was read some steps before.

    python examples/two_cores.py --steps 300 --delay 8 --seeds 3

Both have about as many parameters, and read the same data with each seed.
"""

import argparse
from collections.abc import Callable
from statistics import mean, stdev

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli import RUM, URLSTM

SYMBOLS = 8
CORES: dict[str, Callable[[], tuple[nn.Module, int]]] = {
    "RUM, lambda 1": lambda: (RUM(SYMBOLS, 48, lambda_=1), 48),
    "UR-LSTM": lambda: (URLSTM(SYMBOLS, 34, batch_first=True), 34),
}


class Network(nn.Module):
    """A core on one-hot symbols, and a linear map of its outputs."""

    def __init__(self, core: nn.Module, size: int) -> None:
        super().__init__()
        self.core, self.head = core, nn.Linear(size, SYMBOLS)

    def forward(self, symbols: Tensor) -> Tensor:
        """`[batch, time]` to logits `[batch, time, symbols]`."""
        y, _ = self.core(functional.one_hot(symbols, SYMBOLS).float())
        return self.head(y)


def trained(name: str, seed: int, steps: int, delay: int) -> float:
    """Train a core, and give the share of right symbols in new data."""
    torch.manual_seed(seed)
    network = Network(*CORES[name]())
    data = torch.Generator().manual_seed(seed)  # apart from the weights: the same for each core
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        symbols = torch.randint(SYMBOLS, (32, 4 * delay), generator=data)
        logits, targets = network(symbols)[:, delay:], symbols[:, :-delay]
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    symbols = torch.randint(SYMBOLS, (256, 4 * delay), generator=data)
    with torch.no_grad():
        return (network(symbols)[:, delay:].argmax(-1) == symbols[:, :-delay]).float().mean().item()


def main() -> None:
    """Train each core with each seed, and print a line for each core."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--delay", type=int, default=8)
    options.add_argument("--seeds", type=int, default=3)
    given = options.parse_args()
    for name in CORES:
        count = sum(weight.numel() for weight in CORES[name]()[0].parameters())
        right = [trained(name, seed, given.steps, given.delay) for seed in range(1, given.seeds + 1)]
        spread = f" ± {stdev(right):.3f}" if len(right) > 1 else ""
        print(f"{name}: {mean(right):.3f}{spread} right ({len(right)} seeds, {count:,} parameters)")


if __name__ == "__main__":
    main()
