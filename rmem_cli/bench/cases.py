"""What is measured: one training step of a recurrence or a model, at one size, in each of its forms."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.models.config import EmbeddingSettings
from rmem_cli.models.cores.fast_slow import FastSlow
from rmem_cli.models.cores.gated_layers import GatedLSTMLayer
from rmem_cli.models.cores.recurrent_config import (
    EUNNSettings,
    FastSlowSettings,
    GatedLSTMSettings,
    GORUSettings,
    LayerNormLSTMSettings,
    RUMSettings,
)
from rmem_cli.models.cores.rum import RUM
from rmem_cli.models.cores.unitary import EUNN, GORU
from rmem_cli.models.model import Model
from rmem_cli.models.sequence import build_model
from rmem_cli.ops.attention import fast as fast_attention
from rmem_cli.ops.attention import heads, masks
from rmem_cli.ops.attention import native as native_attention
from rmem_cli.ops.gates import fast as fast_gates
from rmem_cli.ops.gates import native as native_gates
from rmem_cli.ops.gates import reference as reference_gates
from rmem_cli.ops.native import build
from rmem_cli.ops.rotation import fast as fast_rotation
from rmem_cli.ops.rotation import native as native_rotation
from rmem_cli.ops.rotation import reference as reference_rotation
from rmem_cli.ops.unitary import fast as fast_unitary
from rmem_cli.ops.unitary import native as native_unitary
from rmem_cli.ops.unitary import reference as reference_unitary
from rmem_cli.recipe.registry import BACKPROP
from rmem_cli.recipe.schema import ModelSettings
from rmem_cli.training.backprop import TrainingStep, build_backprop

Step = Callable[[], Any]
"""Computes gradients of all weights, from none: forward and backward."""

_GATES: dict[str, Any] = {"reference": reference_gates, "fast": fast_gates, "native": native_gates}
_ROTATION: dict[str, Any] = {
    "reference": reference_rotation,
    "fast": fast_rotation,
    "native": native_rotation,
}
_UNITARY: dict[str, Any] = {"reference": reference_unitary, "fast": fast_unitary, "native": native_unitary}
_TORCH = "torch.nn.LSTM"
_PRODUCTS = "products alone"
_AS_IT_RUNS = "as it runs"  # each of its operations in the form that is chosen here


@dataclass(frozen=True)
class Size:
    """Of a problem.

    Attributes:
        hidden: Units.
        batch: Sequences.
        time: Steps of each.
        inputs: Width of the inputs.
    """

    hidden: int
    batch: int
    time: int
    inputs: int = 10


@dataclass(frozen=True)
class Case:
    """Something to measure.

    Attributes:
        name: How the command line calls it.
        family: The op family whose native form it may use; empty for none.
        size: How large it is.
        forms: What it can be computed by, slowest first.
        make: From a size and a form to a step.
        flops: From a size to the floating-point operations that a step cannot do without.
    """

    name: str
    family: str
    size: Size
    forms: tuple[str, ...]
    make: Callable[[Size, str], Step]
    flops: Callable[[Size], float]

    def forms_here(self, device: str = "cpu") -> list[str]:
        """Those of its forms that run on a device of this machine.

        Raises:
            UsageError: None does.
        """
        on_cpu = device == "cpu"
        here = [form for form in self.forms if form != "native" or (on_cpu and build.available(self.family))]
        if not here:
            reason = build.status(self.family).reason if on_cpu else "it is of the CPU alone"
            raise UsageError(f"the native form of {self.name} does not run here: {reason}")
        return here

    def only(self, forms: list[str]) -> "Case":
        """The same in some of its forms; in all of them if none is named.

        Raises:
            UsageError: It has no such form.
        """
        for form in forms:
            if form not in self.forms:
                raise UsageError(f"{self.name} has no form {form!r}; it has {', '.join(self.forms)}")
        return replace(self, forms=tuple(form for form in self.forms if not forms or form in forms))

    def grown(self) -> list["Case"]:
        """The same for twice the time steps, and for twice the units."""
        longer = replace(self.size, time=2 * self.size.time)
        wider = replace(self.size, hidden=2 * self.size.hidden)
        return [
            replace(self, name=f"{self.name}, twice the time", size=longer),
            replace(self, name=f"{self.name}, twice the units", size=wider),
        ]


def find_cases(names: Iterable[str], forms: Iterable[str] = (), *, quick: bool = False) -> list[Case]:
    """Cases by their names, or by how their names begin; all of them, or the quick ones, if none is named.

    Args:
        names: Of cases.
        quick: Whether the quick ones are enough where none is named.
        forms: The cases are reduced to these; without names, to those cases that have one of them.

    Raises:
        UsageError: There is no such case, or a case that is named has no such form.
    """
    wanted, kept = list(names), list(forms)
    for name in wanted:
        if not any(case.name.startswith(name) for case in CASES):
            known = ", ".join(case.name for case in CASES)
            raise UsageError(f"there is no case {name!r} to measure; there are {known}")
    if wanted:
        return [case.only(kept) for case in CASES if any(case.name.startswith(name) for name in wanted)]
    _check_forms(kept)
    return [
        case.only([form for form in case.forms if form in kept])
        for case in CASES
        if not (quick and case.name not in QUICK)
        if not kept or any(form in kept for form in case.forms)
    ]


def _check_forms(forms: list[str]) -> None:
    known = list(dict.fromkeys(form for case in CASES for form in case.forms))
    for form in forms:
        if form not in known:
            raise UsageError(f"no case has a form {form!r}; there are {', '.join(known)}")


def _lstm_settings(gate: Any, coupled: bool, hidden_size: int) -> GatedLSTMSettings:
    return GatedLSTMSettings(hidden_size=hidden_size, gate=gate, coupled_input_gate=coupled)


def _lstm_step(gate: Any, coupled: bool, size: Size, form: str) -> Step:
    x = torch.randn(size.batch, size.time, size.inputs)
    if form == _TORCH:
        module = nn.LSTM(size.inputs, size.hidden, batch_first=True)
        return partial(_gradients, module, lambda: module(x)[0])
    layer = GatedLSTMLayer(size.inputs, _lstm_settings(gate, coupled, size.hidden))
    zero = torch.zeros(size.batch, size.hidden)
    run = _GATES[form].gated_lstm
    return partial(_gradients, layer, lambda: run(x, zero, zero, layer.weights(), layer.options).hidden)


def _lstm_flops(gate: Any, coupled: bool, size: Size) -> float:
    rows = len(GatedLSTMLayer(1, _lstm_settings(gate, coupled, 1)).blocks) * size.hidden
    return size.time * size.batch * rows * (6.0 * size.hidden + 4.0 * size.inputs)


def _rum_step(lambda_: Any, size: Size, form: str) -> Step:
    x = torch.randn(size.batch, size.time, size.inputs)
    rum = RUM(size.inputs, RUMSettings(hidden_size=size.hidden, **{"lambda": lambda_}))
    layer: Any = rum.layers[0]
    state = rum.initial_state(size.batch)
    operands = x, state["hidden.0"], state.get("memory.0")
    run = _ROTATION[form].rum
    return partial(_gradients, rum, lambda: run(*operands, layer.weights(), layer.options).outputs)


def _rum_flops(lambda_: int, size: Size) -> float:
    """Two products of the state, three of the input, the rotation; for lambda 1 the cheaper of its forms."""
    n = size.hidden
    memory = lambda_ * min(38 * n * n, 16 * n * size.time)
    return size.time * size.batch * (12.0 * n * n + 12.0 * size.inputs * n + 60 * n + memory)


def _fast_slow_settings(size: Size) -> FastSlowSettings:
    """FS-LSTM-2, whose slow cell has four units to seven of each fast one, with what is drawn in training."""
    fast, slow = (
        LayerNormLSTMSettings(hidden_size=units, hidden_zoneout=0.1, cell_zoneout=0.5)
        for units in (size.hidden, size.hidden * 4 // 7)
    )
    return FastSlowSettings(fast=fast, slow=slow, dropout=0.35)


def _fast_slow_step(size: Size, form: str) -> Step:
    core = FastSlow(size.inputs, _fast_slow_settings(size))
    if form == _PRODUCTS:
        return _products_of_cells(size, _step_matrices(core))
    x = torch.randn(size.batch, size.time, size.inputs, requires_grad=True)
    return partial(_gradients, core, lambda: core(x)[0])


def _fast_slow_flops(size: Size) -> float:
    with torch.device("meta"):
        matrices = _step_matrices(FastSlow(size.inputs, _fast_slow_settings(size)))
    return 6.0 * size.time * size.batch * sum(matrix.numel() for matrix in matrices)


def _step_matrices(core: nn.Module) -> list[Tensor]:
    """What each cell multiplies its input and its hidden state by, one above the other."""
    parameters = dict(core.named_parameters())
    return [
        torch.cat([kernel, parameters[name.replace("input_kernel", "recurrent_kernel")]]).detach()
        for name, kernel in parameters.items()
        if name.endswith("input_kernel")
    ]


def _products_of_cells(size: Size, matrices: list[Tensor]) -> Step:
    """Nothing but the products of a network of cells, as large as the order of its steps lets them be."""
    steps = size.time * size.batch
    operands = [(torch.ones(steps, m.shape[0]), m, torch.ones(steps, m.shape[1])) for m in matrices]

    def step() -> None:
        for at in range(0, steps, size.batch):
            for rows, matrix, _ in operands:
                torch.mm(rows[at : at + size.batch], matrix)
        for at in range(0, steps, size.batch):
            for _, matrix, gradients in operands:
                torch.mm(gradients[at : at + size.batch], matrix.t())
        for rows, _, gradients in operands:
            torch.mm(rows.t(), gradients)

    return step


def _eunn_step(size: Size, form: str) -> Step:
    x = torch.randn(size.batch, size.time, size.inputs)
    eunn = EUNN(size.inputs, EUNNSettings(hidden_size=size.hidden))
    layer: Any = eunn.layers[0]
    zero = torch.zeros(size.batch, size.hidden)
    run = _UNITARY[form].eunn
    return partial(_gradients, eunn, lambda: run(x, zero, layer.weights(), layer.matrix.unitary))


def _eunn_flops(size: Size) -> float:
    """Two products of the input, whose gradient nothing asks for, and two layers with two gradients each."""
    return size.time * size.batch * (4.0 * size.inputs * size.hidden + 2 * 12 * size.hidden)


def _goru_step(size: Size, form: str) -> Step:
    x = torch.randn(size.batch, size.time, size.inputs)
    goru = GORU(size.inputs, GORUSettings(hidden_size=size.hidden))
    layer: Any = goru.layers[0]
    weights = layer.weights()
    if form == _PRODUCTS:
        return _products_of_a_cell(x, weights.input.detach(), weights.recurrent.detach())
    zero = torch.zeros(size.batch, size.hidden)
    run = _UNITARY[form].goru
    return partial(_gradients, goru, lambda: run(x, zero, layer.weights(), layer.options))


def _products_of_a_cell(x: Tensor, of_inputs: Tensor, of_states: Tensor) -> Step:
    """The matrix products of a step of training of a recurrence, and nothing else that it does.

    Those of the inputs and of the gradients of weights are taken of all time steps at once.
    """
    batch, time, width = x.shape
    size, gates = of_states.shape
    inputs = x.transpose(0, 1).reshape(-1, width)
    states, gradients = torch.randn(time, batch, size), torch.randn(time, batch, gates + size)
    of_gates = gradients[:, :, size:].contiguous()
    opened, before = torch.empty(batch, gates), torch.empty(batch, size)
    transposed = of_states.t()

    def step() -> None:
        torch.mm(inputs, of_inputs)
        for state in states.unbind():
            torch.mm(state, of_states, out=opened)
        for gradient in of_gates.unbind():
            torch.mm(gradient, transposed, out=before)
        torch.mm(states.flatten(0, 1).t(), of_gates.flatten(0, 1))
        torch.mm(inputs.t(), gradients.flatten(0, 1))

    return step


def _goru_flops(size: Size) -> float:
    """Two products of the state and three of the input, and their gradients but for those of the inputs."""
    n = size.hidden
    return size.time * size.batch * (12.0 * n * n + 12.0 * size.inputs * n)


def _gradients(module: nn.Module, outputs: Callable[[], Tensor]) -> None:
    module.zero_grad()
    outputs().sum().backward()  # type: ignore[no-untyped-call]


_HEAD_SIZE = 64


def _attention_step(size: Size, form: str) -> Step:
    """Relative attention of a segment to itself, in the order of time."""
    count = max(1, size.hidden // _HEAD_SIZE)
    table, head = (count, size.time + 1), size.hidden // count
    shapes = (size.batch, size.time, 3 * size.hidden), (*table, head), (count, head), table
    leaves = nn.ParameterList(torch.randn(shape) for shape in shapes)
    mask = masks.attention_mask(masks.Layout(size.time), masks.Rules())

    def attend() -> Tensor:
        projected, distances, content_bias, distance_bias = leaves
        positions = distances, content_bias, distance_bias, mask
        if form == "native":
            return native_attention.relative_attention(projected, None, *positions)
        queries, keys, values = heads.split(projected, count)
        return heads.merge(fast_attention.relative_attention(queries, keys, values, *positions))

    return partial(_gradients, leaves, attend)


def _attention_flops(size: Size) -> float:
    """Of the products with keys, distances and values, half of which the order of time hides."""
    return 3.0 * size.batch * size.time * size.hidden * 3 * size.time


_SEGMENT_LENGTH = 128
_SYMBOLS = 256


def _segments_step(core: dict[str, Any], size: Size, form: str) -> Step:
    """A language model over several segments, by a way of back-propagation."""
    model = _language_model(core, size)
    tokens = torch.randint(_SYMBOLS, (size.batch, size.time + 1))
    weight = torch.ones(size.batch, size.time)
    batch = Batch(tokens[:, :-1], tokens[:, 1:], weight, torch.ones(size.batch, dtype=torch.bool))
    backprop = build_backprop(BACKPROP.settings(form)(kind=form))

    def step() -> None:
        model.zero_grad()
        backprop.gradient(model, batch, None, "mean", TrainingStep(seed=1, step=0))

    return step


def _language_model(core: dict[str, Any], size: Size) -> Model:
    core = core | {"hidden_size": size.hidden, "segment_length": _SEGMENT_LENGTH}
    encoder = EmbeddingSettings(size=size.hidden)
    settings = ModelSettings.model_validate({"encoder": encoder, "core": core})
    model = build_model(settings, _SYMBOLS, _SYMBOLS)
    return model.train()


def _segments_flops(core: dict[str, Any], size: Size) -> float:
    """What torch counts in one step, whose segments are not computed twice."""
    with torch.device("cpu"):
        step = _segments_step(core, size, "full")
        step()  # native operations are known to the counter once they are loaded
        with FlopCounterMode(display=False) as counter:
            step()
    return float(counter.get_total_flops())


def _lstm_case(name: str, gate: str, size: Size, *, coupled: bool = True) -> Case:
    return Case(
        name,
        "gates",
        size,
        ("reference", "fast", "native", _TORCH),
        partial(_lstm_step, gate, coupled),
        partial(_lstm_flops, gate, coupled),
    )


def _rum_case(lambda_: int, size: Size) -> Case:
    return Case(
        f"rum-lambda{lambda_}-h{size.hidden}-b{size.batch}-t{size.time}",
        "rotation",
        size,
        ("reference", "fast", "native"),
        partial(_rum_step, lambda_),
        partial(_rum_flops, lambda_),
    )


def _fast_slow_case(size: Size) -> Case:
    name = f"fs_lstm_2-h{size.hidden}-b{size.batch}-t{size.time}"
    return Case(name, "", size, (_AS_IT_RUNS, _PRODUCTS), _fast_slow_step, _fast_slow_flops)


def _eunn_case(size: Size) -> Case:
    name = f"eunn-h{size.hidden}-b{size.batch}-t{size.time}"
    return Case(name, "unitary", size, ("reference", "fast", "native"), _eunn_step, _eunn_flops)


def _goru_case(size: Size) -> Case:
    name = f"goru-h{size.hidden}-b{size.batch}-t{size.time}"
    forms = ("reference", "fast", "native", _PRODUCTS)
    return Case(name, "unitary", size, forms, _goru_step, _goru_flops)


def _attention_case(size: Size) -> Case:
    name = f"attention-h{size.hidden}-b{size.batch}-t{size.time}"
    return Case(name, "attention", size, ("fast", "native"), _attention_step, _attention_flops)


def _segments_case(name: str, forms: tuple[str, ...], core: dict[str, Any]) -> Case:
    size = Size(256, 4, 8 * _SEGMENT_LENGTH)
    return Case(name, "", size, forms, partial(_segments_step, core), partial(_segments_flops, core))


_LSTM_SIZES = [Size(256, 10, 500), Size(256, 32, 1000), Size(1024, 16, 784)]
_RUM_SIZES = {
    0: [Size(100, 32, 500), Size(250, 32, 200)],
    1: [Size(50, 32, 53), Size(250, 32, 200), Size(250, 128, 53)],
}
_EUNN_SIZES = [Size(512, 32, 200), Size(100, 128, 220)]
_GORU_SIZES = [Size(100, 128, 220), Size(350, 32, 100, 50), Size(800, 128, 150, 700), Size(2048, 32, 50, 50)]
_ATTENTION_SIZES = [Size(256, 4, 128), Size(256, 4, 512)]
_TRANSFORMER = {"layers": 4, "heads": 8, "head_size": 32, "inner_size": 1024}

CASES: list[Case] = [
    *(_lstm_case(f"ur_lstm-h{s.hidden}-b{s.batch}-t{s.time}", "UR", s) for s in _LSTM_SIZES),
    *(_lstm_case(f"lstm-h{s.hidden}-b{s.batch}-t{s.time}", "-", s, coupled=False) for s in _LSTM_SIZES),
    *(_rum_case(lambda_, size) for lambda_, sizes in _RUM_SIZES.items() for size in sizes),
    _fast_slow_case(Size(700, 128, 150, inputs=128)),
    *map(_eunn_case, _EUNN_SIZES),
    *map(_goru_case, _GORU_SIZES),
    *map(_attention_case, _ATTENTION_SIZES),
    _segments_case(
        "transformer_xl", ("full",), {"kind": "transformer_xl", "cache_length": 128, **_TRANSFORMER}
    ),
    _segments_case("rmt", ("full", "replay"), {"kind": "rmt", "memory_tokens": 10, **_TRANSFORMER}),
    _segments_case(
        "prenorm_rmt", ("full", "replay"), {"kind": "prenorm_rmt", "memory_tokens": 10, **_TRANSFORMER}
    ),
]
# One of each family, whose slowest forms take seconds, too.
QUICK = (
    "ur_lstm-h256-b10-t500",
    "rum-lambda1-h50-b32-t53",
    "goru-h100-b128-t220",
    "attention-h256-b4-t128",
)
