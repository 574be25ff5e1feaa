"""The cores give the numbers of the published TensorFlow code: outputs, states and gradients."""

import pytest
import torch
from tf_vectors import GOLDEN, read

from rmem_cli import rotate, rotation_components, rotation_operator
from rmem_cli.ops.native import build as native_build
from rmem_cli.recipe.registry import CORES, build

# RMEM_GOLDEN names another folder of vectors of the same kind.
CLOSE = 1e-10  # of an array's largest entry
# Our blocks of the layer-norm LSTM from the published ones, which stand in the order i, j, f, o.
BLOCKS = (0, 2, 3, 1)


def assert_close(ours, theirs, what):
    ours = torch.zeros_like(theirs) if ours is None else ours.detach()
    assert ours.shape == theirs.shape, what
    assert (ours - theirs).abs().max() <= CLOSE * theirs.abs().max(), what


@pytest.fixture(params=["native", "fast"])
def form(request, monkeypatch):
    """The form of the operations; a test that uses it holds for both."""
    if request.param == "fast":
        monkeypatch.setattr(native_build, "available", lambda family: False)


def in_our_order(joined):
    blocks = joined.chunk(4, dim=-1)
    return torch.cat([blocks[index] for index in BLOCKS], dim=-1)


def layer_norm_lstm_weights(prefix):
    """Ours, to what of the published variables each is."""
    cell = f"{prefix}ln_lstm_cell/LN_LSTMCell/"
    return {
        "input_kernel": lambda of: in_our_order(of[f"{cell}W_xh"]),
        "recurrent_kernel": lambda of: in_our_order(of[f"{cell}W_hh"]),
        "bias": lambda of: in_our_order(of[f"{cell}bias"]),
        "gate_gain": lambda of: in_our_order(of[f"{cell}ln/layer_norm_alpha"]),
        "gate_shift": lambda of: in_our_order(of[f"{cell}ln/layer_norm_bias"]),
        "cell_gain": lambda of: of[f"{cell}ln_c/alpha"],
        "cell_shift": lambda of: of[f"{cell}ln_c/bias"],
    }


def rum_weights(prefix, meta, size):
    """Likewise; the older code has the kernels of target and gate beside each other."""
    old, gated = "RUM-Tensorflow" in meta["source"], meta.get("update_gate", True)
    cell = f"{prefix}{'arum' if 'ARUMCell' in meta['source'] else 'rum'}_cell/"
    first, second = f"{cell}gates/fully_connected", f"{cell}gates/fully_connected_1"
    if meta.get("visualization"):
        target = {"kernel": "temp_target", "bias": "temp_target_bias"}
        gate = {"kernel": f"{first}/weights", "bias": f"{first}/biases"}
    else:
        target = {"kernel": f"{first}/weights", "bias": f"{first}/biases"}
        gate = {"kernel": f"{second}/weights", "bias": f"{second}/biases"}
    found = {}
    for name in ("kernel", "bias"):
        if old:
            found[f"target_{name}"] = lambda of, at=target[name]: of[at][..., :size]
            found[f"gate_{name}"] = lambda of, at=target[name]: of[at][..., size:]
            continue
        found[f"target_{name}"] = lambda of, at=target[name]: of[at]
        if gated:
            found[f"gate_{name}"] = lambda of, at=gate[name]: of[at]
    embedded = "temp_embed" if meta.get("visualization") else f"{cell}candidate/fully_connected/weights"
    found["input_kernel"] = lambda of: of[embedded]
    if meta.get("use_layer_norm"):
        joint = ("LN_r_u" if old else "ln_r_u") if gated else "ln_r"
        candidate = "LN_c" if old else "ln_c"
        for ours, theirs in (("gain", "alpha"), ("bias", "bias")):
            for part, name in enumerate(("target", "gate") if gated else ("target",)):
                found[f"norms.{name}_{ours}"] = lambda of, part=part, theirs=theirs: part_of(
                    of, f"{cell}gates/{joint}/layer_norm_{theirs}", part, size
                )
            found[f"norms.candidate_{ours}"] = lambda of, theirs=theirs: of[
                f"{cell}candidate/{candidate}/{theirs}"
            ]
    return found


def part_of(of, name, part, size):
    alone = name.replace("layer_norm_", "")
    return of[name if name in of else alone][part * size : (part + 1) * size]


def rum_settings(meta, size):
    eta = meta.get("eta_", meta.get("T_norm"))
    return {
        "kind": "rum",
        "hidden_size": size,
        "lambda": int(meta.get("lambda_", "ARUMCell" in meta["source"])),
        "eta": eta,
        "update_gate": meta.get("update_gate", True),
        "activation": meta.get("activation", "relu"),
        "layer_norm": "after_gate" if meta.get("use_layer_norm") else "none",
        "zoneout": 0.1 if meta.get("use_zoneout") else 0.0,
        "track_angle": meta.get("track_angle", False),
        "input_bias": False,
    }


def lstm_settings(size, zoneout):
    shares = {"hidden_zoneout": 0.1, "cell_zoneout": 0.5} if zoneout else {}
    return {"kind": "layer_norm_lstm", "hidden_size": size, **shares}


def made(settings, inputs):
    found = CORES.settings(settings["kind"]).model_validate(settings, by_alias=True, by_name=False)
    return build(found, inputs).double().eval()


def assert_equals(core, golden, states, weights):
    """Outputs, states and gradients of a core that has the published weights.

    Args:
        core: Ours, in evaluation.
        golden: The published arrays.
        states: Our name of each part of the state to theirs.
        weights: Our name of each weight to what it is of theirs.
    """
    given, grads = (
        {key.removeprefix(kind): value for key, value in golden.items() if key.startswith(kind)}
        for kind in ("param.", "grad.")
    )
    given |= {key: value for key, value in golden.items() if key.startswith("temp_")}
    assert weights.keys() == dict(core.named_parameters()).keys()
    with torch.no_grad():
        for name, theirs in weights.items():
            core.get_parameter(name).copy_(theirs(given))
    x = golden["x"].requires_grad_()
    before = {ours: golden[f"{theirs}0"].requires_grad_() for ours, theirs in states.items()}
    y, after = core(x, before)
    assert_close(y, golden["y"], "y")
    steps, state = [], before
    for x_t in x.unbind(1):
        _, state = core.step(x_t, state)
        steps.append(state)
    for ours, theirs in states.items():
        assert_close(after[ours], golden[f"{theirs}T"], theirs)
        assert_close(torch.stack([each[ours] for each in steps], 1), golden[f"{theirs}_all"], theirs)
    loss = (y * golden["g_y"]).sum()
    loss = loss + sum((after[ours] * golden[f"g_{theirs}T"]).sum() for ours, theirs in states.items())
    assert_close(loss, golden["L"], "L")
    loss.backward()
    assert_close(x.grad, grads["x"], "x")
    for ours, theirs in states.items():
        assert_close(before[ours].grad, grads[f"{theirs}0"], theirs)
    for name, theirs in weights.items():
        assert_close(core.get_parameter(name).grad, theirs(grads), name)
    y, after = core(golden["x"])
    assert_close(y, golden["y_nostate"], "y_nostate")
    for ours, theirs in states.items():
        assert_close(after[ours], golden[f"{theirs}T_nostate"], theirs)


def prefixed(prefix, weights):
    return {f"{prefix}{name}": theirs for name, theirs in weights.items()}


RUMS = sorted(
    path for kind in ("rum", "rumold") for path in GOLDEN.glob(f"{kind}_*.npz") if "rotation" not in path.stem
)


@pytest.mark.parametrize("path", RUMS, ids=lambda path: path.stem)
def test_rum_gives_the_published_numbers(path, form):
    meta, golden = read(path)
    inputs, size = golden["x"].shape[-1], golden["h0"].shape[-1]
    core = made(rum_settings(meta, size), inputs)
    states = {"hidden.0": "h"} | ({"memory.0": "R"} if "R0" in golden else {})
    assert_equals(core, golden, states, prefixed("layers.0.", rum_weights("", meta, size)))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("lnlstm*.npz")), ids=lambda path: path.stem)
def test_the_layer_norm_lstm_gives_the_published_numbers(path):
    meta, golden = read(path)
    core = made(lstm_settings(golden["h0"].shape[-1], meta.get("use_zoneout")), golden["x"].shape[-1])
    weights = prefixed("layers.0.", layer_norm_lstm_weights(""))
    assert_equals(core, golden, {"hidden.0": "h", "cell.0": "c"}, weights)


def goru_weights(prefix):
    cell = f"{prefix}goru_cell/"
    return {
        "input_kernel": lambda of: of[f"{cell}U"],
        "recurrent_kernel": lambda of: torch.cat([of[f"{cell}W_r"], of[f"{cell}W_g"]], 1),
        "gate_bias": lambda of: torch.cat([of[f"{cell}bias_r"], of[f"{cell}bias_g"]]),
        "bias": lambda of: of[f"{cell}bias_c"],
        "matrix.angles": lambda of: torch.cat([of["theta_0"][0], of["theta_1"][0]]),
    }


def slow_settings(meta):
    size = meta["slow_size"]
    if meta["slow"] == "lstm":
        return lstm_settings(size, meta["fast_zoneout"])
    if meta["slow"] == "goru":
        return {"kind": "goru", "hidden_size": size, "published_last_unit": size % 2 == 0}
    return rum_settings(meta, size)


def slow_weights(meta):
    prefix = "fsrnn_cell/FSRNNCell/Slow/"
    if meta["slow"] == "lstm":
        return layer_norm_lstm_weights(prefix)
    if meta["slow"] == "goru":
        return goru_weights(prefix)
    return rum_weights(prefix, meta, meta["slow_size"])


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("fsrnn*.npz")), ids=lambda path: path.stem)
def test_fast_slow_networks_give_the_published_numbers(path, form):
    meta, golden = read(path)
    settings = {
        "kind": "fast_slow",
        "fast_cells": meta["n_fast"],
        "fast": lstm_settings(golden["fast_h0"].shape[-1], meta["fast_zoneout"]),
        "slow": slow_settings(meta),
    }
    core = made(settings, golden["x"].shape[-1])
    weights = prefixed("slow.layers.0.", slow_weights(meta))
    for number in range(meta["n_fast"]):
        own = layer_norm_lstm_weights(f"fsrnn_cell/FSRNNCell/Fast_{number}/")
        weights |= prefixed(f"fast.{number}.layers.0.", own)
    states = {"fast.hidden.0": "fast_h", "fast.cell.0": "fast_c", "slow.hidden.0": "slow_h"}
    states |= {"slow.cell.0": "slow_c"} if "slow_c0" in golden else {}
    assert_equals(core, golden, states, weights)


@pytest.mark.parametrize("turned", ["rotate", "operator"])
def test_a_rotation_is_the_published_one(turned):
    _, golden = read(GOLDEN / "rum_rotation_tf.npz")
    v1, v2, v = (golden[name].requires_grad_() for name in ("v1", "v2", "v"))
    u, w, plane = rotation_components(v1, v2)
    for ours, theirs in ((u, "comp_u"), (w, "comp_v"), (plane, "comp_Rth"), (plane[:, 0, 0], "costh")):
        assert_close(ours, golden[theirs], theirs)
    ours = rotate(v1, v2, v) if turned == "rotate" else rotation_operator(v1, v2)
    assert_close(ours, golden[turned], turned)
    weight = golden["g" if turned == "rotate" else "G_op"]
    ((ours * weight).sum() + (plane[:, 0, 0] * golden["g_cos"]).sum()).backward()
    for name, leaf in (("v1", v1), ("v2", v2), ("v", v)):
        if f"{turned}.grad.{name}" in golden:
            assert_close(leaf.grad, golden[f"{turned}.grad.{name}"], name)
