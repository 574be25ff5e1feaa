"""How fast this machine takes steps: by the kind of core, from small ones of sizes that differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch.fx.experimental import _config as meta_config

from rmem_cli.clock import clock
from rmem_cli.models.batch import Batch
from rmem_cli.models.cores.layered_config import LayeredSettings
from rmem_cli.models.cores.recurrent_config import FastSlowSettings
from rmem_cli.models.cores.transformer_config import TransformerXLSettings
from rmem_cli.models.model import Model
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.kinds import CoreSettings, OptimizerSettings
from rmem_cli.recipe.schema import ModelSettings
from rmem_cli.recipe.settings import fields_by_name
from rmem_cli.runs.cost import Cost, Walks, update_cost
from rmem_cli.runs.timing_keys import machine_key
from rmem_cli.runs.timings import keep, known
from rmem_cli.training.config import AdamSettings
from rmem_cli.training.optimizers import build_optimizer

# Hidden size, batch and time of the small steps, the cheap ones first.
_RECURRENT = [(32, 4, 16), (64, 64, 16), (128, 16, 64), (256, 16, 16), (512, 32, 8)]
_ATTENTION = [(32, 2, 16), (64, 16, 16), (128, 8, 32), (256, 4, 128), (512, 2, 64)]
_PRODUCT = 1024  # rows and columns
_SYMBOLS = 32
_REPEATS = 3


@dataclass(frozen=True)
class Pace:
    """Seconds of one of each that a cost counts."""

    per_flop: float
    per_call: float
    per_byte: float

    def seconds(self, cost: Cost) -> float:
        """What something takes that costs so much."""
        return cost.flops * self.per_flop + cost.calls * self.per_call + cost.traffic * self.per_byte


def pace_of(
    core: CoreSettings | None, op_paths: dict[str, str], dtype: torch.dtype, device: torch.device
) -> Pace:
    """The pace of steps of a kind of core, or of products of matrices, measured once for each machine."""
    kind = _like(core)
    return _pace(type(kind), _variant(kind), tuple(sorted(op_paths.items())), dtype, device)


def _like(core: CoreSettings | None) -> LayeredSettings:
    """A core whose small steps are like those of another: itself, a cell of its own, or attention."""
    if isinstance(core, FastSlowSettings):
        return _like(core.fast)
    return core if isinstance(core, LayeredSettings) else TransformerXLSettings(hidden_size=64)


def _variant(core: LayeredSettings) -> tuple[tuple[str, Any], ...]:
    """What makes steps of one kind of core differ in more than their counts."""
    fields = core.model_dump(by_alias=True)
    return tuple(
        (name, fields[name]) for name in ("lambda", "gate", "memory_kind", "layer_norm") if name in fields
    )


@cache
def _pace(
    kind: type[LayeredSettings],
    variant: tuple[tuple[str, Any], ...],
    op_paths: tuple[tuple[str, str], ...],
    dtype: torch.dtype,
    device: torch.device,
) -> Pace:
    about = [kind.model_fields["kind"].default, *map(list, variant)]
    key = machine_key("pace of products and small steps", about, str(dtype), dict(op_paths), device)
    numbers = known(key)
    if numbers is None or len(numbers) != 3:
        numbers = _measured(kind, dict(variant), dtype, device)
        keep(key, numbers)
    return Pace(*numbers)


def _measured(
    kind: type[LayeredSettings], variant: dict[str, Any], dtype: torch.dtype, device: torch.device
) -> list[float]:
    sizes = _ATTENTION if "heads" in kind.model_fields else _RECURRENT
    taken = [
        _small_step(_sized(kind, variant, hidden, time), batch, time, dtype, device)
        for hidden, batch, time in sizes
    ]
    costs, seconds = zip(*taken, strict=True)
    return fitted(costs, seconds, _product_pace(dtype, device))


def _sized(kind: type[LayeredSettings], variant: dict[str, Any], hidden: int, time: int) -> LayeredSettings:
    values = variant | {
        "kind": kind.model_fields["kind"].default,
        "hidden_size": hidden,
        "heads": max(1, hidden // 64),
        "head_size": min(hidden, 64),
        "inner_size": 4 * hidden,
        "segment_length": time,
        "memory_tokens": 4,
        "chrono_length": 100,
    }
    names = fields_by_name(kind)
    return kind.model_validate({name: value for name, value in values.items() if name in names})


def _small_step(
    core: LayeredSettings, batch_size: int, time: int, dtype: torch.dtype, device: torch.device
) -> tuple[Cost, float]:
    """The cost of a training step, and how long it takes at best."""
    settings = ModelSettings(core=core)
    adam = AdamSettings(lr=1e-4)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        model = build_model(settings, _SYMBOLS, _SYMBOLS).to(device, dtype)
        symbols = torch.randint(_SYMBOLS, (batch_size, time))
    model.op_paths()
    batch = Batch(symbols, symbols, torch.ones(symbols.shape), torch.ones(batch_size, dtype=torch.bool))
    batch = batch.to(device, dtype)
    optimizer = build_optimizer(adam, list(model.parameters()))
    seconds = min(_taken(model, batch, optimizer, device) for _ in range(1 + _REPEATS))
    return _counted(model, batch, adam), seconds


def _taken(model: Model, batch: Batch, optimizer: torch.optim.Optimizer, device: torch.device) -> float:
    started = clock(device)
    optimizer.zero_grad()
    loss = model.step(batch, None).nll_sum
    torch.autograd.backward(loss)
    optimizer.step()
    loss.item()
    return clock(device) - started


def _counted(model: Model, batch: Batch, optimizer: OptimizerSettings) -> Cost:
    meta = torch.device("meta")
    model = model.to(meta)
    with meta_config.patch(  # type: ignore[attr-defined]
        meta_nonzero_assume_all_nonzero=True
    ):
        (cost,) = Walks(model).costs([batch.to(meta, next(model.parameters()).dtype)], carried=False)
    update = update_cost(model, optimizer)
    return Cost(cost.flops, cost.calls + update.calls, cost.bytes, cost.traffic + update.traffic)


def _product_pace(dtype: torch.dtype, device: torch.device) -> float:
    """Seconds a flop of a product of large matrices, which is as fast as flops are done."""
    matrix = torch.ones(_PRODUCT, _PRODUCT, device=device, dtype=dtype)
    taken = []
    for _ in range(1 + _REPEATS):
        started = clock(device)
        (matrix @ matrix).sum().item()
        taken.append(clock(device) - started)
    return min(taken) / (2 * _PRODUCT**3)


def fitted(costs: Sequence[Cost], seconds: Sequence[float], per_flop: float) -> list[float]:
    """Seconds a flop, a call and a byte, none of them negative, of the least relative errors.

    Of the subsets of the three that give no negative number the best is the solution. In small steps flops
    come along with bytes: without a least time of theirs, the fit may leave them out, and large steps, in
    which they are nearly all, would be planned at a tenth of their time.

    Args:
        costs: Of some steps.
        seconds: What each took.
        per_flop: The least that a flop takes.
    """
    counts = np.array([[cost.flops, cost.calls, cost.traffic] for cost in costs]) / np.array(seconds)[:, None]
    others = 1 - per_flop * counts[:, 0]  # share of its seconds that each step takes beside that
    best, least = np.zeros(3), float(np.square(others).sum())
    for size in (1, 2, 3):
        for chosen in combinations(range(3), size):
            found, *_ = np.linalg.lstsq(counts[:, chosen], others, rcond=None)
            error = float(np.square(counts[:, chosen] @ found - others).sum())
            if (found >= 0).all() and error < least:
                best, least = np.zeros(3), error
                best[list(chosen)] = found
    return [per_flop + float(best[0]), float(best[1]), float(best[2])]
