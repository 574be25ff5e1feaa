"""Random forms and sizes of RUM and the gated LSTM: native and fast compared with the equations as written.

Run by hand: `python tests/trials/forms.py --seed 1 --count 200`. Each trial draws options and sizes, and
compares outputs, last states and all gradients in float64. It prints how many trials of each form agreed, and
each that did not, with what it was.
"""

import argparse
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rmem_cli.ops.gates import fast as fast_gates
from rmem_cli.ops.gates import native as native_gates
from rmem_cli.ops.gates import reference as written_gates
from rmem_cli.ops.gates.options import GateOptions, GateWeights, lstm_blocks
from rmem_cli.ops.native import build
from rmem_cli.ops.rotation import fast as fast_rotation
from rmem_cli.ops.rotation import native as native_rotation
from rmem_cli.ops.rotation import reference as written_rotation
from rmem_cli.ops.rotation.options import Affine, LayerNormWeights, RUMOptions, RUMWeights

# Of a trial whose numbers are of order one; rounding grows with the steps, and near parallel vectors.
TOLERANCE = 1e-6

Outcome = list[Tensor]
Trial = tuple[str, str, dict[str, Callable[[], Outcome]]]


def main() -> int:
    """Print the counts; 1 if anything differed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    counts: Counter[tuple[str, str, str]] = Counter()
    for number in range(arguments.count):
        for op, described, forms in trials(random.Random(f"{arguments.seed} {number}")):
            written = forms.pop("reference")()
            for form, run in forms.items():
                difference = largest_difference(run(), written)
                held = "agrees" if difference < TOLERANCE else "differs"
                counts[op, form, held] += 1
                if held == "differs":
                    print(f"trial {number}: {form} {op} differs by {difference:.1e}: {described}")
    for (op, form, held), count in sorted(counts.items()):
        print(f"{op}, {form}: {count} {held}")
    return int(any(held == "differs" for _, _, held in counts))


def trials(source: random.Random) -> Iterator[Trial]:
    """One of each recurrence."""
    yield rum_trial(source)
    yield lstm_trial(source)


def largest_difference(ours: Outcome, written: Outcome) -> float:
    """Over all tensors, relative to the largest number of each, or to one; infinite where one is none."""
    differences = [
        ((one - other).abs().max() / other.abs().max().clamp_min(1.0)).item()
        for one, other in zip(ours, written, strict=True)
        if other.numel()
    ]
    return max(math.inf if math.isnan(each) else each for each in differences)


def rum_trial(source: random.Random) -> Trial:
    """A RUM of any options, with zoneout and lengths or without."""
    options = RUMOptions(
        lambda_=source.choice((0, 1)),
        eta=source.choice((None, 0.5, 1.0, 3.0)),
        update_gate=source.choice((True, False)),
        activation=source.choice(("relu", "tanh", "sigmoid", "softsign")),
        layer_norm=source.choice(("none", "before_gate", "after_gate")),
    )
    batch, time, inputs = source.randint(1, 9), source.randint(1, 40), source.randint(1, 9)
    size = source.choice((2, 3, 5, 8, 13, 16, 33))
    numbers = torch.Generator().manual_seed(source.randrange(2**62))

    def normal(*shape: int) -> Tensor:
        scale = 1.0 if len(shape) == 1 else shape[-2] ** -0.5
        return (scale * torch.randn(shape, generator=numbers, dtype=torch.float64)).requires_grad_()

    def affine(rows: int, bias: bool = True) -> Affine:
        return Affine(normal(rows, size), normal(size) if bias else None)

    norms = None
    if options.layer_norm != "none":
        norms = LayerNormWeights(*(normal(size) for _ in range(6 if options.update_gate else 4)))
    gate = affine(inputs + size) if options.update_gate else None
    weights = RUMWeights(affine(inputs + size), gate, affine(inputs, source.random() < 0.7), norms)
    x, hidden = normal(batch, time, inputs), normal(batch, size)
    memory = None
    if options.lambda_ == 1:
        memory = torch.linalg.qr(normal(batch, size, size).detach())[0].requires_grad_()
    keep = active = None
    if source.random() < 0.4:
        keep = (torch.rand(batch, time, size, generator=numbers) < 0.7).double()
    if source.random() < 0.4:
        lengths = torch.randint(0, time + 1, (batch, 1), generator=numbers)
        active = (torch.arange(time) < lengths).double().unsqueeze(-1)
    leaves = [x, hidden, memory, *(each for group in weights for each in (group or ()))]

    def run(form) -> Callable[[], Outcome]:
        return lambda: with_gradients(
            [
                each
                for each in form.rum(x, hidden, memory, weights, options, keep, active)
                if each is not None
            ],
            leaves,
        )

    forms = {"reference": run(written_rotation), "fast": run(fast_rotation)}
    if build.available("rotation"):
        forms["native"] = run(native_rotation)
    sizes = f"batch {batch}, {time} steps, {inputs} inputs, {size} units"
    extras = f"zoneout {keep is not None}, lengths {active is not None}"
    return "rum", f"{options}, {sizes}, {extras}", forms


def lstm_trial(source: random.Random) -> Trial:
    """A gated LSTM of any options."""
    options = GateOptions(
        activation=source.choice(("sigmoid", "cumax")),
        auxiliary=source.choice(("none", "master", "refine")),
        coupled=source.choice((True, False)),
        refine_bias=source.choice(("tied", "none")),
    )
    batch, time, inputs = source.randint(1, 9), source.randint(1, 60), source.randint(1, 9)
    size = source.choice((1, 2, 3, 5, 8, 13, 16, 33))
    rows = len(lstm_blocks(options)) * size
    numbers = torch.Generator().manual_seed(source.randrange(2**62))

    def normal(*shape: int) -> Tensor:
        scale = 1.0 if len(shape) == 1 else shape[-1] ** -0.5
        return (scale * torch.randn(shape, generator=numbers, dtype=torch.float64)).requires_grad_()

    weights = GateWeights(
        normal(rows, inputs),
        normal(rows, size),
        normal(rows) if source.random() < 0.7 else None,
        normal(size) if source.random() < 0.7 else None,
        normal(rows) if source.random() < 0.4 else None,
    )
    states = normal(batch, time, inputs), normal(batch, size), normal(batch, size)

    def run(form) -> Callable[[], Outcome]:
        return lambda: with_gradients(list(form.gated_lstm(*states, weights, options)), [*states, *weights])

    forms = {"reference": run(written_gates), "fast": run(fast_gates)}
    if build.available("gates"):
        forms["native"] = run(native_gates)
    sizes = f"batch {batch}, {time} steps, {inputs} inputs, {size} units"
    return "gated lstm", f"{options}, {sizes}, gain {weights.gain is not None}", forms


def with_gradients(results: Outcome, leaves: list[Tensor | None]) -> Outcome:
    """Results, and the gradients of a weighted sum of them by all leaves."""
    numbers = torch.Generator().manual_seed(0)
    loss = sum(
        (each * torch.randn(each.shape, generator=numbers, dtype=torch.float64)).sum() for each in results
    )
    present = [leaf for leaf in leaves if leaf is not None]
    return [*results, *torch.autograd.grad(loss, present, materialize_grads=True)]


if __name__ == "__main__":
    sys.exit(main())
