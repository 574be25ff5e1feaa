"""The sentence model of the published question answering code: its weights give its numbers."""

import pytest
import torch
from tf_vectors import GOLDEN, RUM, read

from rmem_cli.models.batch import Batch
from rmem_cli.models.config import AttentionSettings
from rmem_cli.models.readouts import Attention
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.schema import ModelSettings

EXACT = {"rtol": 0, "atol": 1e-10}


def symbols_of(bags):
    """`[batch, time, symbols]`, -1 where a step has fewer, of counts `[batch, time, vocabulary]`."""
    steps = [torch.arange(bags.shape[2]).repeat_interleave(bag.long()) for bag in bags.flatten(0, 1)]
    return torch.nn.utils.rnn.pad_sequence(steps, True, -1).unflatten(0, bags.shape[:2])


def batch_of(golden):
    symbols = symbols_of(torch.cat([golden["story"], golden["question"]], dim=1))
    rows, time = symbols.shape[:2]
    last = torch.zeros(rows, time, dtype=torch.long)
    last[:, -1] = 1
    return Batch(
        symbols,
        last * golden["answer"][:, None],
        last.double(),
        torch.ones(rows, dtype=torch.bool),
        question=torch.full((rows,), time - 1),
    )


def model_of(about):
    core = {"kind": about["cell"], "hidden_size": about["H"]}
    if about["cell"] == "rum":
        core |= {"input_bias": False, "eta": about.get("eta_")}
    readout = {"kind": "attention", "rotation": "published" if about["attn_rum"] else "none"}
    settings = ModelSettings.model_validate(
        {
            "core": core,
            "encoder": {"kind": "embedding", "size": about["E"]},
            "readout": readout if about["attention"] else None,
        }
    )
    return build_model(settings, about["V"], about["V"]).double()


def lstm(tensor, *, joined):
    """Columns i, j, f, o of TensorFlow in the order of torch, transposed where it is the joined kernel."""
    i, j, f, o = tensor.chunk(4, dim=-1)
    ordered = torch.cat([i, f, j, o], dim=-1)
    return ordered.mT if joined else ordered


def published_names(about, values):
    """Published values by our names of the weights; the forget bias of 1 is added by the cell."""
    found = {
        "encoder.table.weight": values["embedding/embed"],
        "head.linear.weight": values["V_weights"].mT,
        "head.linear.bias": values["V_bias"],
    }
    if about["attn_rum"]:
        found["readout.question_kernel"] = values["attention/embed_q"]
    if about["cell"] == "rum":
        return found | {
            f"core.layers.0.{ours}": values[f"rnn/rum_cell/{theirs}"] for ours, theirs in RUM.items()
        }
    kernel = lstm(values["rnn/basic_lstm_cell/kernel"], joined=True)
    return found | {
        "core.module.weight_ih_l0": kernel[:, : about["E"]],
        "core.module.weight_hh_l0": kernel[:, about["E"] :],
        "core.module.bias_ih_l0": lstm(values["rnn/basic_lstm_cell/bias"], joined=False),
    }


def with_prefix(golden, prefix):
    return {key.removeprefix(prefix): value for key, value in golden.items() if key.startswith(prefix)}


def load(model, about, values):
    weights = published_names(about, values)
    if about["cell"] == "lstm":
        size = about["H"]
        forget = torch.zeros(4 * size).double()
        forget[size : 2 * size] = 1
        weights["core.module.bias_hh_l0"] = forget
    model.load_state_dict(weights)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("babi_*attn*.npz")), ids=lambda path: path.stem)
def test_the_published_sentence_model_gives_its_logits_loss_and_gradients(path):
    about, golden = read(path)
    model, batch = model_of(about), batch_of(golden)
    load(model, about, with_prefix(golden, "param."))
    result = model.step(batch, None)
    torch.testing.assert_close(model.logits(result.outputs)[:, -1], golden["logits"], **EXACT)
    if about["attention"]:
        torch.testing.assert_close(result.outputs[:, -1], golden["final_h"], **EXACT)
    loss = result.nll_sum / len(golden["answer"])
    torch.testing.assert_close(loss, golden["cost"], **EXACT)
    loss.backward()
    expected = published_names(about, with_prefix(golden, "grad."))
    for name, gradient in expected.items():
        found = model.get_parameter(name).grad
        found = torch.zeros_like(gradient) if found is None else found
        torch.testing.assert_close(found, gradient, **EXACT, msg=lambda text, name=name: f"{name}: {text}")


def test_the_published_attention_by_itself_gives_its_numbers():
    _, golden = read(GOLDEN / "babi_attention.npz")
    y = golden["rnn_outputs"].requires_grad_()
    rows, time, size = y.shape
    encoder = torch.nn.Identity()
    encoder.output_size = size
    symbols, weight = torch.zeros(rows, time, dtype=torch.long), torch.zeros(rows, time).double()
    weight[:, -1] = 1
    batch = Batch(symbols, symbols, weight, weight[:, -1] > 0, question=torch.full((rows,), time - 1))
    final = Attention(size, encoder, AttentionSettings())(y, batch, slice(None))[:, -1]
    torch.testing.assert_close(final, golden["final_h"], **EXACT)
    (final * golden["g_final"]).sum().backward()
    torch.testing.assert_close(y.grad, golden["grad.rnn_outputs"], **EXACT)
