"""What every core promises, and what RUM adds."""

import re

import pytest
import torch
from small_cores import ALL, small_core
from torch.utils.checkpoint import checkpoint

from rmem_cli import RUM
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.fast_slow import FastSlow
from rmem_cli.models.cores.gated_lstm import GatedGRU, GatedLSTM
from rmem_cli.models.cores.layer_norm_lstm import LayerNormLSTM
from rmem_cli.models.cores.prenorm_rmt import PreNormRMT
from rmem_cli.models.cores.recurrent_config import (
    FastSlowSettings,
    GatedGRUSettings,
    GatedLSTMSettings,
    GRUSettings,
    LayerNormLSTMSettings,
    LSTMSettings,
    RNNSettings,
)
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.torch_rnn import GRU, LSTM, RNN
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings, RMTSettings, TransformerXLSettings
from rmem_cli.models.cores.transformer_xl import TransformerXL
from rmem_cli.models.sequence import build_model
from rmem_cli.models.state import detach, reset, select
from rmem_cli.ops.native import build as native_build
from rmem_cli.recipe.schema import ModelSettings


def fast_slow(slow, fast=None, **options):
    fast = fast or {"kind": "layer_norm_lstm", "hidden_size": 5, "hidden_zoneout": 0.1, "cell_zoneout": 0.5}
    return FastSlow(3, FastSlowSettings(fast=fast, slow=slow, **options))


CORES = {
    "rnn": lambda: RNN(3, RNNSettings(hidden_size=5, layers=2)),
    "lstm": lambda: LSTM(3, LSTMSettings(hidden_size=5, layers=2)),
    "gru": lambda: GRU(3, GRUSettings(hidden_size=5)),
    "rum lambda 0": lambda: RUM(3, 5, layers=2, eta=1.0),
    "rum lambda 1": lambda: RUM(3, 5, layers=2, lambda_=1),
    "rum with everything": lambda: RUM(
        3, 5, lambda_=1, layer_norm="before_gate", zoneout=0.3, track_angle=True, input_bias=False
    ),
    "UR-LSTM": lambda: GatedLSTM(3, GatedLSTMSettings(hidden_size=5, layers=2, gate="UR")),
    "OM-LSTM with everything": lambda: GatedLSTM(
        3, GatedLSTMSettings(hidden_size=5, layers=2, gate="OM", coupled_input_gate=False, layer_norm=True)
    ),
    "OM-LSTM with zoneout": lambda: GatedLSTM(
        3,
        GatedLSTMSettings(
            hidden_size=6, layers=2, gate="OM", master_downsize=3, hidden_zoneout=0.1, cell_zoneout=0.4
        ),
    ),
    "UR-GRU": lambda: GatedGRU(3, GatedGRUSettings(hidden_size=5, layers=2, gate="UR")),
    "layer-norm LSTM": lambda: LayerNormLSTM(3, LayerNormLSTMSettings(hidden_size=5, layers=2)),
    "layer-norm LSTM with zoneout": lambda: LayerNormLSTM(
        3, LayerNormLSTMSettings(hidden_size=5, layers=2, hidden_zoneout=0.1, cell_zoneout=0.5)
    ),
    "Fast-Slow LSTM": lambda: fast_slow({"kind": "layer_norm_lstm", "hidden_size": 4}, dropout=0.3),
    "Fast-Slow RUM": lambda: fast_slow({"kind": "rum", "hidden_size": 4, "lambda": 1}),
    "Fast-Slow GORU": lambda: fast_slow({"kind": "goru", "hidden_size": 4}),
    "Fast-Slow EUNN": lambda: fast_slow({"kind": "eunn", "hidden_size": 4, "complex": True}),
    "Fast-Slow LSTM of torch, of two layers": lambda: fast_slow(
        {"kind": "lstm", "hidden_size": 4, "layers": 2}, fast={"kind": "lstm", "hidden_size": 5, "layers": 2}
    ),
    "Fast-Slow network in a Fast-Slow network": lambda: fast_slow(
        {
            "kind": "fast_slow",
            "fast": {"kind": "gru", "hidden_size": 4},
            "slow": {"kind": "gated_gru", "hidden_size": 3},
        }
    ),
    "UM-GRU with zoneout": lambda: GatedGRU(
        3, GatedGRUSettings(hidden_size=6, layers=2, gate="UM", master_downsize=2, zoneout=0.2)
    ),
}
EVERY_CORE = pytest.mark.parametrize("name", CORES)


def make(name):
    torch.manual_seed(0)
    return CORES[name]().double()


def inputs(batch=4, time=7):
    return torch.randn(batch, time, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@EVERY_CORE
def test_outputs_have_the_declared_shape_and_states_are_batch_first(name):
    core = make(name)
    y, state = core(inputs())
    assert y.shape == (4, 7, core.output_size)
    assert all(value.shape[0] == 4 for value in state.values())
    initial = core.initial_state(4)
    assert {key: value.shape for key, value in initial.items()} == {
        key: value.shape for key, value in state.items()
    }


@EVERY_CORE
def test_two_segments_with_the_state_carried_equal_one(name):
    core = make(name).eval()
    x = inputs()
    whole, end = core(x)
    first, state = core(x[:, :3])
    second, state = core(x[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    for key in end:
        torch.testing.assert_close(state[key], end[key])


@EVERY_CORE
def test_steps_taken_one_by_one_are_those_of_a_segment(name):
    core = make(name).eval()
    x = inputs()
    whole, end = core(x)
    steps, state = [], None
    for step in x.unbind(1):
        y, state = core.step(step, state)
        steps.append(y)
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    assert state.keys() == end.keys()
    for key in end:
        torch.testing.assert_close(state[key], end[key])


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_of_core_either_takes_single_steps_or_says_that_it_cannot(kind):
    settings = small_core(kind, segment_length=4)
    core = build_model(ModelSettings(core=settings), symbols=3, classes=3).core.eval()
    assert core.stepwise == settings.stepwise
    if core.stepwise:
        y, _ = core.step(torch.randn(2, 3))
        assert y.shape == (2, core.output_size)
    else:
        with pytest.raises(TypeError, match="as a whole"):
            core.step(torch.randn(2, 3))


@pytest.mark.parametrize("kind", ALL)
def test_a_batch_without_rows_is_read_like_any_other(kind):
    model = build_model(ModelSettings(core=small_core(kind, segment_length=6)), 16, 10)
    x = model.encoder(torch.zeros(0, 6, dtype=torch.long))
    _, state = model.core(x)
    y, after = model.core(x, state)
    assert y.shape == (0, 6, model.core.output_size)
    assert {name: value.shape for name, value in after.items()} == {
        name: value.shape for name, value in model.core.initial_state(0).items()
    }
    y.sum().backward()


@pytest.mark.parametrize("missing", ["initial_state", "forward"])
def test_a_core_that_lacks_something_cannot_be_made(missing):
    methods = {name: getattr(GRU, name) for name in ("initial_state", "forward") if name != missing}
    with pytest.raises(TypeError, match=missing):
        type("Unfinished", (Core,), methods)()


@EVERY_CORE
def test_the_state_of_a_row_stays_after_its_end(name):
    core = make(name).eval()
    x, lengths = inputs(), torch.tensor([7, 1, 4, 2])
    y, state = core(x, None, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, alone_state = core(x[row : row + 1, :length])
        torch.testing.assert_close(y[row : row + 1, :length], alone)
        for key in state:
            torch.testing.assert_close(state[key][row : row + 1], alone_state[key])


@EVERY_CORE
def test_what_is_behind_the_end_of_a_row_may_be_no_number(name):
    core = make(name).eval()
    lengths = torch.tensor([7, 1, 4, 2])
    counts = (torch.arange(7) < lengths[:, None]).unsqueeze(-1)
    found = []
    for padding in (0.0, float("nan")):
        y, state = core(torch.where(counts, inputs(), padding), None, lengths)
        y = torch.where(counts, y, 0.0)
        total = y.square().sum() + sum(each.sum() for each in state.values())
        found.append(
            [y, *state.values(), *torch.autograd.grad(total, list(core.parameters()), allow_unused=True)]
        )
    for zeros, nan in zip(*found, strict=True):
        torch.testing.assert_close(zeros, nan)


@EVERY_CORE
def test_no_output_depends_on_later_inputs(name):
    core = make(name).eval()
    x = inputs()
    changed = x.clone()
    changed[:, 4:] += 1
    assert torch.equal(core(x)[0][:, :4], core(changed)[0][:, :4])
    assert not torch.equal(core(x)[0][:, 4], core(changed)[0][:, 4])


@EVERY_CORE
def test_a_step_on_the_meta_device_needs_no_other(name):
    core = CORES[name]().to("meta")
    y, _ = core(torch.empty(2, 4, 3, device="meta"))
    y.sum().backward()
    assert y.device.type == "meta"


@EVERY_CORE
def test_gradients_of_outputs_and_states_reach_every_weight(name):
    core = make(name)
    y, state = core(inputs())
    (y.sum() + sum(value.square().sum() for value in state.values())).backward()
    for parameter_name, parameter in core.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0 or "bias" in parameter_name, parameter_name


@pytest.mark.parametrize("native", [True, False], ids=["native", "fast"])
@pytest.mark.parametrize("name", CORES)
def test_a_checkpoint_around_a_core_changes_no_gradient(monkeypatch, name, native):
    if not native:
        monkeypatch.setattr(native_build, "usable", lambda *_: False)
    core, x = make(name), inputs()

    def gradients(y):
        torch.manual_seed(0)  # zoneout and dropout draw the same
        return torch.autograd.grad(y(x)[0].square().sum(), list(core.parameters()), allow_unused=True)

    found = gradients(lambda x: checkpoint(core, x, use_reentrant=False))
    torch.testing.assert_close(found, gradients(core), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ALL)
def test_a_weight_that_alone_is_trained_has_the_gradient_that_it_has_among_all(kind):
    settings = small_core(kind, segment_length=7)
    core = build_model(ModelSettings(core=settings), symbols=3, classes=3).core.double().eval()
    for weight in core.parameters():
        weight.data += torch.randn_like(weight).abs() / 10  # nothing is zero, as biases are at first
    leaves = {"inputs": inputs(), **dict(core.named_parameters())}

    def gradients(names):
        for name, leaf in leaves.items():
            leaf.requires_grad_(name in names)
        y, _ = core(leaves["inputs"])
        return torch.autograd.grad(y.square().sum(), [leaves[name] for name in names], allow_unused=True)

    for name, among_all in zip(leaves, gradients(list(leaves)), strict=True):
        if among_all is not None:  # an output does not depend on what only a later segment reads
            torch.testing.assert_close(gradients([name])[0], among_all, msg=name)


def test_states_are_cut_selected_and_reset_by_row():
    core = make("rum lambda 1")
    _, state = core(inputs())
    assert not any(value.requires_grad for value in detach(state).values())
    picked = select(state, torch.tensor([2, 0, 2]))
    assert torch.equal(picked["hidden.0"][1], state["hidden.0"][0])
    again = reset(state, core.initial_state(4), torch.tensor([True, False, False, True]))
    assert torch.equal(again["memory.1"][0], torch.eye(5).double())
    assert torch.equal(again["memory.1"][1], state["memory.1"][1])


def test_lstm_equals_torch():
    core = make("lstm")
    y, state = core(inputs())
    expected, (hidden, cell) = core.module(inputs())
    assert torch.equal(y, expected)
    assert torch.equal(state["hidden"], hidden.transpose(0, 1))
    assert torch.equal(state["cell"], cell.transpose(0, 1))


def test_the_forget_bias_of_an_lstm_is_what_was_asked_for():
    core = LSTM(3, LSTMSettings(hidden_size=5, layers=2, forget_bias=1.5))
    for layer in range(2):
        both = getattr(core.module, f"bias_ih_l{layer}") + getattr(core.module, f"bias_hh_l{layer}")
        torch.testing.assert_close(both[5:10], torch.full((5,), 1.5))


def test_first_weights_of_an_lstm_are_within_the_bound_asked_for_and_biases_zero():
    core = LSTM(3, LSTMSettings(hidden_size=50, layers=2, initial_bound=0.02, forget_bias=1.0))
    for name, parameter in core.module.named_parameters():
        if name.startswith("weight"):
            assert parameter.abs().max() <= 0.02
            assert 0.01 < parameter.std() < 0.013  # 0.02 / sqrt(3)
        else:
            forget = torch.arange(200) // 50 == 1
            expected = torch.where(forget & torch.tensor(name.startswith("bias_ih")), 1.0, 0.0)
            assert torch.equal(parameter, expected)


def test_eta_is_the_norm_of_every_hidden_state():
    core = RUM(3, 5, eta=0.7, activation="tanh")
    y, _ = core(inputs().float())
    torch.testing.assert_close(y.norm(dim=-1), torch.full((4, 7), 0.7))


def test_zoneout_keeps_units_in_training_and_mixes_them_in_evaluation():
    torch.manual_seed(0)
    core = RUM(3, 400, zoneout=0.3, activation="tanh")
    state = {"hidden.0": torch.randn(1, 400)}
    x = inputs(1, 1).float()
    trained, _ = core(x, state)
    kept = (trained[0, 0] == state["hidden.0"][0]).float().mean()
    assert 0.2 < kept < 0.4
    evaluated, _ = core.eval()(x, state)
    averaged = torch.stack([core.train()(x, state)[0] for _ in range(3000)]).mean(0)
    torch.testing.assert_close(averaged, evaluated, rtol=0, atol=0.06)


def test_a_frozen_rotation_has_no_gradient_and_the_rest_has():
    core = RUM(3, 5, trainable_rotation=False)
    trainable = {name for name, parameter in core.named_parameters() if parameter.requires_grad}
    assert trainable == {"layers.0.input_kernel", "layers.0.input_bias"}


def test_the_tracked_angle_is_the_cosine_between_embedded_input_and_target():
    core = make("rum with everything").eval()
    x = inputs(2, 1)
    y, _ = core(x)
    weights = core.layers[0].weights()
    target = torch.nn.functional.layer_norm(
        torch.cat([x[:, 0], torch.zeros(2, 5).double()], 1) @ weights.target.kernel + weights.target.bias,
        (5,),
        eps=1e-3,
    )
    expected = torch.cosine_similarity(x[:, 0] @ weights.embedding.kernel, target)
    torch.testing.assert_close(y[:, 0, 0], expected)


@pytest.mark.parametrize("initializer", ["orthogonal", "two_half_orthogonal", "xavier"])
def test_kernels_start_as_asked_for(initializer):
    torch.manual_seed(0)
    layer = RUM(3, 5, kernel_initializer=initializer, bias_initial=0.5).layers[0]
    gram = layer.target_kernel.T @ layer.target_kernel
    if initializer == "orthogonal":
        torch.testing.assert_close(gram, torch.eye(5), rtol=0, atol=1e-5)
    if initializer == "two_half_orthogonal":
        torch.testing.assert_close(gram[:2, :2], torch.eye(2), rtol=0, atol=1e-5)
        torch.testing.assert_close(gram[2:, 2:], torch.eye(3), rtol=0, atol=1e-5)
        assert gram[:2, 2:].abs().max() > 1e-3
    if initializer == "xavier":
        assert layer.target_kernel.abs().max() <= (6 / (8 + 5)) ** 0.5
    assert torch.equal(layer.target_bias, torch.full((5,), 0.5))
    assert torch.equal(layer.gate_bias, torch.full((5,), 0.5))
    assert torch.equal(layer.input_bias, torch.zeros(5))


def test_a_wrong_option_of_rum_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^activation must be 'relu', .*, not the text 'gelu'"):
        RUM(3, 5, activation="gelu")


@EVERY_CORE
def test_a_row_without_steps_keeps_its_state_and_leaves_the_others_alone(name):
    core = make(name).eval()
    x, lengths = inputs(), torch.tensor([7, 0, 4, 0])
    _, before = core(inputs().flip(0))
    y, state = core(x, before, lengths)
    assert y.isfinite().all()
    for row, length in enumerate(lengths.tolist()):
        of_row = {key: value[row : row + 1] for key, value in before.items()}
        if length:
            alone, of_row = core(x[row : row + 1, :length], of_row)
            torch.testing.assert_close(y[row : row + 1, :length], alone)
        for key in state:
            torch.testing.assert_close(state[key][row : row + 1], of_row[key])
    _, state = core(x, before, torch.zeros(4, dtype=torch.long))
    for key in state:
        torch.testing.assert_close(state[key], before[key])


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_a_row_without_steps_has_zeros_for_outputs_and_the_gradient_of_its_state(name):
    core = make(name)
    before = {key: value.requires_grad_() for key, value in core.initial_state(4).items()}
    y, state = core(inputs(), before, torch.tensor([7, 0, 4, 0]))
    assert torch.equal(y[[1, 3]], torch.zeros(2, 7, 5).double())
    sum(value.sum() for value in state.values()).backward()
    for value in before.values():
        assert torch.equal(value.grad[[1, 3]], torch.ones_like(value[[1, 3]]))


ALL_CORES = {
    **CORES,
    "transformer-xl": lambda: TransformerXL(3, TransformerXLSettings(hidden_size=8, cache_length=4)),
    "rmt": lambda: RMT(3, RMTSettings(hidden_size=8, memory_tokens=2)),
    "associative rmt": lambda: RMT(3, RMTSettings(hidden_size=8, memory_tokens=2, memory_kind="associative")),
    "pre-norm rmt": lambda: PreNormRMT(
        3, PreNormRMTSettings(hidden_size=8, memory_tokens=2, segment_length=7, cache_length=4)
    ),
}


@pytest.mark.parametrize("name", ALL_CORES)
def test_a_state_of_another_model_or_of_other_rows_is_refused_in_a_sentence(name):
    core = ALL_CORES[name]()
    x = inputs().float()
    own = core.initial_state(4)
    core(x, own)
    wrong = [core.initial_state(3), {}, {**own, "more": torch.zeros(4)}]
    wrong += [{key: value for key, value in own.items() if key != missing} for missing in own]
    wrong += [{**own, key: value.unsqueeze(-1)} for key, value in own.items()]
    for each in wrong:
        with pytest.raises(ValueError, match=r"and 4 rows: it has .*; it must have "):
            core(x, each)


def test_a_rum_takes_the_names_of_torch_s_recurrent_modules():
    torch.manual_seed(0)
    ours = RUM(3, 5, layers=2, dtype=torch.float64)
    torch.manual_seed(0)
    theirs = RUM(3, 5, num_layers=2, batch_first=False, device="cpu", dtype=torch.float64)
    x, lengths = inputs(), torch.tensor([7, 0, 3, 5])
    y, state = ours(x, ours.initial_state(4), lengths)
    y_time_first, state_time_first = theirs(x.transpose(0, 1), theirs.initial_state(4), lengths)
    assert torch.equal(y_time_first.transpose(0, 1), y)
    assert state.keys() == state_time_first.keys()
    assert all(torch.equal(state[key], state_time_first[key]) for key in state)
    torch.testing.assert_close(theirs.step(x[:, 0])[0], ours(x)[0][:, 0], rtol=0, atol=1e-12)
    assert next(RUM(3, 5, device="meta").parameters()).is_meta
    with pytest.raises(ValueError, match="layers is 2 and num_layers, another name of it, is 3"):
        RUM(3, 5, layers=2, num_layers=3)
    with pytest.raises(ValueError, match="layers is 1 and num_layers, another name of it, is 2"):
        RUM(3, 5, layers=1, num_layers=2)
    with pytest.raises(ValueError, match=r"^num_layers must be greater than 0, not 0$"):
        RUM(3, 5, num_layers=0)
    with pytest.raises(TypeError, match=r"^lamda unknown key; did you mean 'lambda_'\?$"):
        RUM(3, 5, lamda=1)


@pytest.mark.parametrize("shape", [(4, 7, 2), (7, 3), (3,)], ids=str)
@pytest.mark.parametrize("batch_first", [True, False])
def test_inputs_of_another_shape_are_told_of_a_rum(shape, batch_first):
    form = "batch, time, 3" if batch_first else "time, batch, 3"
    with pytest.raises(ValueError, match=rf"^the inputs are {re.escape(str(list(shape)))}; .* \[{form}\]$"):
        RUM(3, 5, batch_first=batch_first)(torch.zeros(shape))
