"""Fast-Slow networks of cells at random: what is right of each, by calling its cells one after the other.

Run by hand: `python tests/trials/networks.py --seed 1 --count 300`. Kinds, sizes and options of the cells are
drawn from their settings. Of each network, in double precision and in evaluation: its outputs, states and
gradients are those of its cells called by hand, a text in two pieces gives what it gives as a whole, and a
row that ends early keeps its state. It prints how many were right, and each that was not.
"""

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

import torch
from pydantic import ValidationError

sys.path.insert(0, str(Path(__file__).parents[1]))
from odd_settings import drawn

from rmem_cli.models.cores.fast_slow import FastSlow
from rmem_cli.models.cores.recurrent_config import FastSlowSettings
from rmem_cli.recipe.registry import CORES

CELLS = [kind for kind in CORES.kinds() if CORES.settings(kind).stepwise]


def drawn_cell(source):
    kind = source.choice(CELLS)
    if kind == "fast_slow" and source.random() < 0.7:
        return drawn_cell(source)
    settings = CORES.settings(kind)
    fields = drawn(settings, source) | {"kind": kind}
    if "chrono_length" in settings.model_fields:
        fields["chrono_length"] = 5
        fields.pop("master_downsize", None)
    for part in {"fast", "slow"} & settings.model_fields.keys():
        fields[part] = drawn_cell(source)
    return fields


def drawn_network(source):
    """A network, or None where the settings of a cell exclude each other."""
    fields = {
        "fast": drawn_cell(source),
        "slow": drawn_cell(source),
        "fast_cells": source.choice([2, 2, 3, 4]),
    }
    try:
        return FastSlow(3, FastSlowSettings.model_validate(fields, by_alias=True)).double().eval()
    except ValidationError:
        return None


def by_hand(network, x, state):
    parts = {
        part: {name[5:]: value for name, value in state.items() if name.startswith(part)}
        for part in ("fast.", "slow.")
    }
    outputs = []
    for read in x.unbind(1):
        y, fast = network.fast[0].step(read, parts["fast."])
        y, slow = network.slow.step(y, parts["slow."])
        y, fast = network.fast[1].step(y, fast)
        for cell in network.fast[2:]:
            y, fast = cell.step(torch.zeros(len(x), 1, dtype=x.dtype), fast)
        parts = {"fast.": fast, "slow.": slow}
        outputs.append(y)
    return torch.stack(outputs, 1), {
        part + name: value for part, values in parts.items() for name, value in values.items()
    }


def close(ours, theirs):
    return all(
        (a - b).abs().max() <= 1e-9 * (1 + b.abs().max())
        for a, b in zip(ours, theirs, strict=True)
        if b.numel()
    )


def gradients(network, y, state):
    loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum()
    loss = loss + sum(value.square().sum() for value in state.values())
    leaves = [each for each in network.parameters() if each.requires_grad]
    return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)


def trial(seed, number):
    """What is wrong with the network of this number; nothing where there is none."""
    source = random.Random(f"{seed} {number}")
    torch.manual_seed(source.getrandbits(32))
    network = drawn_network(source)
    if network is None:
        return "refused"
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    y, state = network(x)
    hand, hand_state = by_hand(network, x, network.initial_state(3))
    if not close([y, *state.values()], [hand, *(hand_state[name] for name in state)]):
        return "other outputs"
    if not close(gradients(network, y, state), gradients(network, hand, hand_state)):
        return "other gradients"
    first, between = network(x[:, :2])
    second, after = network(x[:, 2:], between)
    if not close([first, second, *after.values()], [y[:, :2], y[:, 2:], *state.values()]):
        return "another whole"
    cut, ended = network(x, None, torch.tensor([5, 0, 2]))
    alone, alone_state = network(x[2:, :2])
    before = network.initial_state(3)
    rows = [ended[name][1:] for name in ended]
    wanted = [torch.cat([before[name][1:2], alone_state[name]]) for name in ended]
    return "right" if close([cut[2:, :2], *rows], [alone, *wanted]) else "another end"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    counts = Counter()
    for number in range(arguments.count):
        found = trial(arguments.seed, number)
        counts[found] += 1
        if found not in ("right", "refused"):
            print(f"network {number}: {found}")
    for outcome, count in sorted(counts.items()):
        print(f"{outcome}: {count}")
    return int(counts["right"] + counts["refused"] < arguments.count)


if __name__ == "__main__":
    sys.exit(main())
