"""The published summarisation code: its weights give its attention, distributions, losses and gradients."""

import pytest
import torch
from tf_vectors import GOLDEN, RUM, read

from rmem_cli.models.attention_decoder import AttentionDecoder
from rmem_cli.models.batch import SourceBatch
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.registry import CORES, build
from rmem_cli.recipe.schema import ModelSettings


def same(found, expected, name):
    """To 1e-10 of the largest entry."""
    found = torch.zeros_like(expected) if found is None else found
    atol = 1e-10 * max(expected.abs().max().item(), 1e-6)
    torch.testing.assert_close(
        found.detach(), expected, rtol=0, atol=atol, msg=lambda text: f"{name}: {text}"
    )


def with_prefix(golden, prefix):
    return {key.removeprefix(prefix): value for key, value in golden.items() if key.startswith(prefix)}


def core_settings(kind, about):
    options = {"kind": kind, "hidden_size": about["H"]}
    if kind == "rum":
        options |= {"input_bias": False, "lambda": about["lambda_"]}
    return options


def core_of(kind, about, input_size):
    return build(CORES.settings(kind).model_validate(core_settings(kind, about)), input_size)


def core_weights(kind, values, prefix):
    """Published values of a core by our names; the forget bias of 1 is added by the published cell."""
    if kind == "rum":
        return {f"layers.0.{ours}": values[f"{prefix}rum_cell/{theirs}"] for ours, theirs in RUM.items()}
    kernel, bias = values[f"{prefix}lstm_cell/kernel"], values[f"{prefix}lstm_cell/bias"]
    size = len(bias) // 4
    kernel, bias = (
        torch.cat(
            [t[..., :size], t[..., 2 * size : 3 * size], t[..., size : 2 * size], t[..., 3 * size :]], -1
        )
        for t in (kernel, bias)
    )
    inputs = len(kernel) - size
    return {
        "module.weight_ih_l0": kernel[:inputs].mT,
        "module.weight_hh_l0": kernel[inputs:].mT,
        "module.bias_ih_l0": bias,
    }


def state_order(about, kind, before=0):
    """Rows of a published matrix over a decoder's state, in our order: the rotation comes first there."""
    size, rotation = about["H"], about["H"] ** 2 if kind == "rum" and about["lambda_"] else 0
    width = 2 * size if kind == "lstm" else size
    hidden = [before + rotation + n for n in range(width)]
    return hidden + [before + n for n in range(rotation)]


def decoder_weights(kind, about, values, prefix):
    found = {f"core.{name}": value for name, value in core_weights(kind, values, prefix).items()}
    attended = values[f"{prefix}W_h"][0, 0]
    query = values[f"{prefix}Attention/Linear/Matrix"]
    found |= {
        "key.weight": attended.mT,
        "score.weight": values[f"{prefix}v"][None],
        "query.weight": query[state_order(about, kind)].mT,
        "query.bias": values[f"{prefix}Attention/Linear/Bias"],
        "input.weight": values[f"{prefix}Linear/Matrix"].mT,
        "input.bias": values[f"{prefix}Linear/Bias"],
        "output.weight": values[f"{prefix}AttnOutputProjection/Linear/Matrix"].mT,
        "output.bias": values[f"{prefix}AttnOutputProjection/Linear/Bias"],
    }
    if about.get("pointer_gen", True):
        pointer, context = values[f"{prefix}calculate_pgen/Linear/Matrix"], len(attended)
        order = [
            *range(context),
            *state_order(about, kind, context),
            *range(context + len(query), len(pointer)),
        ]
        found["pointer.weight"] = pointer[order].mT
        found["pointer.bias"] = values[f"{prefix}calculate_pgen/Linear/Bias"]
    if about["coverage"]:
        found["coverage.weight"] = values[f"{prefix}coverage/w_c"][0, 0].mT
    return found


def load(module, weights):
    """The published weights; what torch's LSTM has a second bias for is the constant 1 of the forget gate."""
    state = dict(weights)
    for name, value in module.state_dict().items():
        if name.endswith("bias_hh_l0"):
            state[name] = torch.zeros_like(value)
            state[name][len(value) // 4 : len(value) // 2] = 1
    module.load_state_dict(state)


def same_gradients(module, expected):
    for name, gradient in expected.items():
        same(module.get_parameter(name).grad, gradient, f"gradient of {name}")


def decoder_state(kind, golden):
    """The states before the first step, by our names, and the tensors in it."""
    given = {name: golden[name].clone().requires_grad_() for name in ("h0", "c0") if name in golden}
    if kind == "lstm":
        return given, {"hidden": given["h0"][:, None], "cell": given["c0"][:, None]}
    return given, {"hidden.0": given["h0"]}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("attdec_*.npz")), ids=lambda path: path.stem)
def test_the_published_attention_decoder_gives_its_numbers(path):
    about, golden = read(path)
    kind = about["cell"]
    decoder = AttentionDecoder(
        about["E"],
        about["attn_size"],
        core_of(kind, about, about["E"]),
        pointer=True,
        coverage=about["coverage"],
    ).double()
    load(decoder, decoder_weights(kind, about, with_prefix(golden, "param."), "attention_decoder/"))
    given, state = decoder_state(kind, golden)
    if about["lambda_"]:
        state["memory.0"] = torch.eye(about["H"]).double().expand(about["B"], -1, -1)
    names = ["enc_states", "dec_inputs", *(["prev_coverage"] if about["prev_coverage"] else [])]
    given |= {name: golden[name].clone().requires_grad_() for name in names}
    source = decoder.read(given["enc_states"], golden["enc_padding_mask"] > 0)
    if about["initial_state_attention"]:  # one step from where a search has kept but the core's state
        before = given.get("prev_coverage", torch.zeros_like(golden["enc_padding_mask"]))
        attention, context = decoder.attend(state, source, before)
        reached = decoder.start(source, state)._replace(context=context, coverage=before + attention)
        said, after = decoder.step(given["dec_inputs"][:, 0], source, reached)
        said = type(said)(*(value[:, None] for value in said))
        coverage = reached.coverage
    else:
        said, after = decoder(given["dec_inputs"], source, decoder.start(source, state))
        coverage = after.coverage
    found = {
        "outputs": said.outputs,
        "attn_dists": said.attention,
        "p_gens": said.pointing.sigmoid(),
    }
    if kind == "lstm":
        found |= {"state.c": after.core["cell"][:, 0], "state.h": after.core["hidden"][:, 0]}
    else:
        memory = [after.core["memory.0"].flatten(1)] if about["lambda_"] else []
        found["state"] = torch.cat([*memory, after.core["hidden.0"]], -1)
    if about["coverage"]:
        found["coverage"] = coverage
    for name, value in found.items():
        same(value, golden[name], name)
    loss = sum((value * golden[f"g_{name}"]).sum() for name, value in found.items())
    same(loss, golden["L"], "L")
    loss.backward()
    gradients = with_prefix(golden, "grad.")
    same_gradients(decoder, decoder_weights(kind, about, gradients, "attention_decoder/"))
    for name, value in given.items():
        same(value.grad, gradients[name], f"gradient of {name}")


def kinds(about):
    reader = "rum" if about["rum"] in ("enc", "all") else "lstm"
    return reader, "rum" if about["rum"] in ("dec", "all") else "lstm"


def model_of(about):
    reader, decoder = kinds(about)
    own = {"size": about["E"], "pointer": about.get("pointer_gen", True), "coverage": about["coverage"]}
    if about["coverage"]:
        own["coverage_loss"] = about["cov_loss_wt"]
    settings = {
        "architecture": "pointer_generator",
        "core": core_settings(decoder, about),
        "source_core": core_settings(reader, about),
        "pointer_generator": own,
    }
    return build_model(ModelSettings.model_validate(settings), about["V"], about["V"]).double().eval()


def bridge_weights(about, values):
    names = {  # stages of ours, entries of a state in the order of their names
        "none": {"make": [("w_reduce_c", "bias_reduce_c"), ("w_reduce_h", "bias_reduce_h")]},
        "enc": {"make": [("w_lift_h_to_c", "bias_lift_h_to_c"), ("w_reduce_h", "bias_reduce_h")]},
        "dec": {
            "narrow": [("w_reduce_c", "bias_reduce_c"), ("w_reduce_h", "bias_reduce_h")],
            "make": [("final_reduce_h", "bias_final_reduce")],
        },
        "all": {"make": [("w_reduce_h", "bias_reduce_h")]},
    }[about["rum"]]
    found = {}
    for stage, maps in names.items():
        for number, (kernel, bias) in enumerate(maps):
            found[f"{stage}.{number}.weight"] = values[f"seq2seq/reduce_final_st/{kernel}"].mT
            found[f"{stage}.{number}.bias"] = values[f"seq2seq/reduce_final_st/{bias}"]
    return found


def model_weights(about, values):
    reader, decoder = kinds(about)
    parts = {
        "reader.forwards": core_weights(reader, values, "seq2seq/encoder/bidirectional_rnn/fw/"),
        "reader.backwards": core_weights(reader, values, "seq2seq/encoder/bidirectional_rnn/bw/"),
        "bridge": bridge_weights(about, values),
        "decoder": decoder_weights(decoder, about, values, "seq2seq/decoder/attention_decoder/"),
        "vectors": {"weight": values["seq2seq/embedding/embedding"]},
        "vocabulary": {
            "weight": values["seq2seq/output_projection/w"].mT,
            "bias": values["seq2seq/output_projection/v"],
        },
    }
    return {f"{part}.{name}": value for part, weights in parts.items() for name, value in weights.items()}


def batch_of(golden):
    """Each position weighs so much that losses are averaged over each example first, as published."""
    mask = golden["dec_padding_mask"]
    return SourceBatch(
        golden["dec_batch"].long(),
        golden["target_batch"].long(),
        mask / mask.sum(1, keepdim=True) / len(mask),
        torch.ones(len(mask), dtype=torch.bool),
        source=golden["enc_batch"].long(),
        source_words=golden.get("enc_batch_extend_vocab", golden["enc_batch"]).long(),
        source_lengths=golden["enc_lens"].long(),
    )


def losses_of(model, batch):
    """The loss, that of coverage and their sum; without a pointer, the first is of all words alike."""
    result = model.step(batch, None)
    nll, coverage = result.nll_sum, result.auxiliary.get("coverage", torch.zeros(()).double())
    if not model.settings.pointer:
        said = batch.weight > 0
        nll = (result.losses[said] / batch.weight[said]).mean()
    else:
        torch.testing.assert_close(nll + coverage, result.loss)
    return nll, coverage, nll + coverage


def parts_of(kind, state, golden, prefix):
    """Pairs of a state of ours and the published one."""
    if kind == "rum":
        return [(state["hidden.0"], golden[prefix], prefix)]
    return [
        (state[ours][:, 0], golden[f"{prefix}.{theirs}"], f"{prefix}.{theirs}")
        for ours, theirs in {"hidden": "h", "cell": "c"}.items()
    ]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("pg_*.npz")), ids=lambda path: path.stem)
def test_the_published_model_gives_its_distributions_losses_and_gradients(path):
    about, golden = read(path)
    model, batch = model_of(about), batch_of(golden)
    load(model, model_weights(about, with_prefix(golden, "param.")))
    (said, _), result = model.say(batch), model.step(batch, None)
    same(said.attention, golden["attn_dists"], "attention")
    same(said.outputs, golden["dec_outputs"], "outputs")
    if model.settings.pointer:
        same(said.pointing.sigmoid(), golden["p_gens"], "p_gen")
        final, named = model.logits(result.outputs).exp(), golden["final_dists"]
        same(final[..., : named.shape[-1]], named, "final distribution")
        assert final[..., named.shape[-1] :].max() < 1e-300
        same(model.vocabulary(said.outputs).softmax(-1), golden["vocab_dists"], "vocabulary")
    else:
        same(model.vocabulary(said.outputs), golden["vocab_scores"], "vocabulary")
    loss, coverage, total = losses_of(model, batch)
    same(loss, golden["loss"], "loss")
    if about["coverage"]:
        same(coverage, golden["coverage_loss"] * about["cov_loss_wt"], "coverage loss")
        same(said.attention.sum(1), golden["coverage"], "coverage")
    same(total, golden.get("total_loss", golden["loss"]), "total loss")
    total.backward()
    same_gradients(model, model_weights(about, with_prefix(golden, "grad.")))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("pg_*.npz")), ids=lambda path: path.stem)
def test_the_published_reader_and_bridge_give_the_states_between_them_and_their_gradients(path):
    about, golden = read(path)
    (reader, decoder), model, batch = kinds(about), model_of(about), batch_of(golden)
    load(model, model_weights(about, with_prefix(golden, "param.")))
    kept = {}
    model.reader.register_forward_hook(lambda _, __, given: kept.update(read=given))
    model.bridge.register_forward_hook(lambda _, __, given: kept.update(made=given))
    *_, loss = losses_of(model, batch)
    read_, forwards, backwards = kept["read"]
    same(read_, golden["enc_states"], "enc_states")
    pairs = [
        *parts_of(reader, forwards, golden, "fw_st"),
        *parts_of(reader, backwards, golden, "bw_st"),
        *parts_of(decoder, kept["made"], golden, "dec_in_state"),
    ]
    for found, expected, name in pairs:
        same(found, expected, name)
    made = list(kept["made"].values())
    gradients = torch.autograd.grad(loss, [read_, *made], retain_graph=True)
    same(gradients[0], golden["grad.enc_states"], "gradient of enc_states")
    by_name = dict(zip(kept["made"], gradients[1:], strict=True))
    for found, expected, name in parts_of(decoder, by_name, with_prefix(golden, "grad."), "dec_in_state"):
        same(found, expected, f"gradient of {name}")
    for state, prefix in ((forwards, "fw_st"), (backwards, "bw_st")):
        through = torch.autograd.grad(made, list(state.values()), gradients[1:], retain_graph=True)
        named = dict(zip(state, through, strict=True))
        for found, expected, name in parts_of(reader, named, with_prefix(golden, "grad."), prefix):
            same(found, expected, f"gradient of {name}")
