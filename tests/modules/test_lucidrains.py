"""The arguments, the call and the results of recurrent-memory-transformer-pytorch, and its numbers."""

import copy
import inspect

import pytest
import torch
from package_vectors import FILES, assert_equal, of, read, untold
from torch.nn import functional

from rmem_cli import (
    RecurrentMemoryTransformer,
    RecurrentMemoryTransformerWrapper,
    convert_recurrent_memory_transformer,
)
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings
from rmem_cli.modules.recurrent_memory_transformer import LucidrainsTransformer
from rmem_cli.modules.wrapper import LucidrainsWrapper

BY_NAME = {path.stem.removeprefix("rmt_pytorch_"): path for path in FILES}
SIZES = {"num_tokens": 11, "dim": 12, "depth": 2, "num_memory_tokens": 3, "seq_len": 5, "heads": 2}


def make(**options):
    torch.manual_seed(0)
    return RecurrentMemoryTransformer(**{**SIZES, "dim_head": 4, **options}).double()


def converted(name):
    options, weights, golden = read(BY_NAME[name])
    return convert_recurrent_memory_transformer(weights, **untold(options)), golden


def tokens(time=17, rows=2):
    return torch.randint(11, (rows, time), generator=torch.Generator().manual_seed(1))


def test_the_names_of_the_arguments_say_which_call_is_meant():
    there = make()
    here = RecurrentMemoryTransformer(11, 12, memory_tokens=3, segment_length=5, layers=2)
    assert type(there) is LucidrainsTransformer
    assert type(here) is RecurrentMemoryTransformer
    assert type(RecurrentMemoryTransformer(12, **{k: v for k, v in SIZES.items() if k != "dim"})) is type(
        there
    )
    assert type(RecurrentMemoryTransformerWrapper(there)) is LucidrainsWrapper
    assert type(RecurrentMemoryTransformerWrapper(transformer=there)) is LucidrainsWrapper
    assert type(RecurrentMemoryTransformerWrapper(here)) is RecurrentMemoryTransformerWrapper
    assert type(copy.deepcopy(there)) is LucidrainsTransformer
    assert len(there(tokens(5))) == 3
    assert len(here(tokens(5))) == 2


def test_a_batch_without_rows_gives_logits_and_memories_without_rows():
    logits, memories = RecurrentMemoryTransformerWrapper(make())(tokens()[:0])
    assert (logits.shape, memories.shape) == ((0, 17, 11), (0, 3, 12))


def test_the_defaults_are_those_of_the_package():
    settings = make().core.settings
    assert settings.residual_streams == 4
    assert settings.cache_length == 5
    assert settings.inner_size == 32
    assert RecurrentMemoryTransformer(**SIZES).core.settings.head_size == 64


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_labels_give_the_loss_of_the_package(name):
    model, golden = converted(name)
    assert_equal(model(golden["tokens"][:, :6], labels=golden["labels"])[0], golden["labelled.loss"])


@pytest.mark.parametrize("name", ["plain", "both_ways"])
def test_a_mask_of_rows_that_are_filled_up_gives_its_numbers(name):
    model, golden = converted(name)
    memories = torch.full((2, 12), 0.3, dtype=torch.float64)
    logits, memories, _ = model(golden["tokens"][:, :6], memories, mask=golden["mask"])
    assert_equal(logits[golden["mask"]], golden["masked.logits"][golden["mask"]])
    assert_equal(memories, golden["masked.memories"])


def test_a_short_segment_leaves_caches_as_short_as_there():
    model, golden = converted("default")
    _, memories, caches = model(golden["tokens"][:, :2])
    for layer, cache in enumerate(caches):
        assert_equal(cache, golden[f"short.xl_memories.{layer}"])
    logits, _, _ = model(golden["tokens"][:, 2:8], memories, xl_memories=caches)
    assert_equal(logits, golden["short.next_logits"])


@pytest.mark.parametrize("name", ["plain", "both_ways"])
def test_the_wrapper_gives_the_logits_and_memories_of_the_package(name):
    model, golden = converted(name)
    logits, memories = RecurrentMemoryTransformerWrapper(model)(golden["tokens"])
    assert_equal(logits, golden["wrapper.logits"])
    assert_equal(memories, golden["wrapper.memories"])


@pytest.mark.parametrize("step", [None, 2])
def test_the_wrapper_replays_to_the_loss_and_the_gradients_of_the_package(step):
    model, golden = converted("plain")
    options = untold(read(BY_NAME["plain"])[0])
    wrapper = RecurrentMemoryTransformerWrapper(model)
    assert_equal(wrapper(golden["tokens"], return_loss=True)[0], golden["wrapper.loss"])
    loss = wrapper(golden["tokens"], memory_replay_backprop=True, mrbp_loss_weight=0.5, truncate_at_step=step)
    prefix = f"replay{step or ''}."
    assert float(loss) == pytest.approx(float(golden[f"{prefix}loss"]), abs=1e-10)
    # A model whose weights are the gradients: converting is linear.
    gradients = convert_recurrent_memory_transformer(of(golden, f"{prefix}grad."), **options)
    for parameter, gradient in zip(model.parameters(), gradients.parameters(), strict=True):
        assert_equal(parameter.grad, gradient.data)


@pytest.mark.parametrize("options", [{}, {"truncate_at_step": 2}], ids=str)
def test_replay_has_the_gradients_of_the_loss_that_is_returned_caches_included(options):
    found = []
    for replay in (True, False):
        model = make()
        wrapper = RecurrentMemoryTransformerWrapper(model, **options)
        if replay:
            loss = wrapper(tokens(), memory_replay_backprop=True)
        else:
            loss, _ = wrapper(tokens(), return_loss=True)
            loss.backward()
        found.append((float(loss.detach()), [parameter.grad for parameter in model.parameters()]))
    assert found[0][0] == pytest.approx(found[1][0])
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("ignore_index", [-1, 0])
def test_replay_and_return_loss_are_the_mean_over_the_labels_that_are_not_ignored(ignore_index):
    model = make(ignore_index=ignore_index)
    x = tokens() % 10 + 1  # no token is 0
    if ignore_index == 0:
        x[0, 6:] = 0  # two whole segments of a row, and more of one
        x[:, 11:] = 0  # a whole segment
    else:
        x[1, -1] = -1  # a label alone, which is never read
    logits, _ = RecurrentMemoryTransformerWrapper(model)(x[:, :-1])
    functional.cross_entropy(logits.mT, x[:, 1:], ignore_index=ignore_index).backward()
    expected = [each.grad.clone() for each in model.parameters()]
    loss = functional.cross_entropy(logits.mT, x[:, 1:], ignore_index=ignore_index)
    found = loss_and_gradients(model, x)
    torch.testing.assert_close(found[0], loss.detach())
    torch.testing.assert_close(found[2:], expected, rtol=0, atol=1e-9)
    model.zero_grad()
    replayed = RecurrentMemoryTransformerWrapper(model)(x, memory_replay_backprop=True, mrbp_loss_weight=0.5)
    torch.testing.assert_close(replayed, 0.5 * loss.detach())
    for one, other in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(one.grad, 0.5 * other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("call", [{"return_loss": True}, {"memory_replay_backprop": True}], ids=str)
def test_tokens_of_int32_are_learned_from_as_others_are(call):
    found = []
    for x in (tokens(), tokens().int()):
        loss = RecurrentMemoryTransformerWrapper(make())(x, **call)
        found.append(loss[0] if call.get("return_loss") else loss)
    assert torch.equal(*found)


@pytest.mark.parametrize("call", [{"return_loss": True}, {"memory_replay_backprop": True}], ids=str)
def test_a_loss_of_nothing_but_ignored_labels_is_a_sentence(call):
    x = torch.cat([tokens(1), torch.zeros(2, 6, dtype=torch.long)], dim=1)
    with pytest.raises(
        ValueError, match=r"^every label is ignore_index, 0; without another there is no loss$"
    ):
        RecurrentMemoryTransformerWrapper(make(ignore_index=0))(x, **call)


def loss_and_gradients(model, x, **call):
    model.zero_grad()
    loss, memories = RecurrentMemoryTransformerWrapper(model)(x, return_loss=True, **call)
    loss.backward()
    return [loss.detach(), memories, *(each.grad for each in model.parameters() if each.grad is not None)]


@pytest.mark.parametrize("causal", [True, False])
def test_a_loss_with_a_mask_is_the_mean_over_the_tokens_that_it_lets_through(causal):
    model = make(use_xl_memories=False, causal=causal)
    x, lengths = tokens(9), [9, 7]
    rows = [loss_and_gradients(model, x[row : row + 1, :n]) for row, n in enumerate(lengths)]
    found = loss_and_gradients(model, x, mask=torch.arange(9) < torch.tensor(lengths)[:, None])
    torch.testing.assert_close(found[1], torch.cat([rows[0][1], rows[1][1]]), rtol=0, atol=1e-9)
    for whole, long, short in zip(found[:1] + found[2:], *(row[:1] + row[2:] for row in rows), strict=True):
        torch.testing.assert_close(whole, (8 * long + 6 * short) / 14, rtol=0, atol=1e-9)


def test_a_mask_that_lets_all_through_changes_no_loss_and_no_logits():
    model = make(use_xl_memories=False)
    everything = torch.ones(2, 17, dtype=torch.bool)
    for masked, plain in zip(
        loss_and_gradients(model, tokens(), mask=everything), loss_and_gradients(model, tokens()), strict=True
    ):
        torch.testing.assert_close(masked, plain, rtol=0, atol=1e-12)
    wrapper = RecurrentMemoryTransformerWrapper(model)
    assert torch.equal(wrapper(tokens(), mask=everything)[0], wrapper(tokens())[0])


@pytest.mark.parametrize("name", ["default", "plain", "rotary"])
def test_generated_tokens_are_those_of_the_package(name):
    model, golden = converted(name)
    wrapper = RecurrentMemoryTransformerWrapper(model)
    prime = golden["tokens"][:, :8]
    assert torch.equal(wrapper.generate(prime, length=15, temperature=0.0), golden["generated"])
    _, memories, caches = model(prime[:, :6])
    later = wrapper.generate(prime[:, 6:], length=9, memories=memories, xl_memories=caches, temperature=0.0)
    assert torch.equal(later, golden["generated"])
    torch.manual_seed(0)
    drawn = wrapper.generate(prime, length=30, filter_thres=0.99)  # one token is left to draw from
    assert torch.equal(drawn[:, :7], golden["generated"])


@pytest.mark.parametrize("share", [1.0, 2.0, -0.1, float("nan")])
def test_a_share_of_tokens_that_leaves_none_or_is_none_is_a_sentence(share):
    wrapper = RecurrentMemoryTransformerWrapper(make())
    with pytest.raises(
        ValueError, match=f"filter_thres is {share}; it must be 0, for none, or a share below 1"
    ):
        wrapper.generate(tokens(4), length=6, filter_thres=share)
    assert wrapper.generate(tokens(4), length=6, filter_thres=0).shape == (2, 2)


def segment(**call):
    return lambda model: model(tokens(5), **call)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda model: model(tokens(6)), "seq_len is 5"),
        (lambda model: model(tokens(5)[0]), r"^the inputs are \[5\]; they must be \[batch, time\]$"),
        (lambda model: model(tokens(5) + 11), r"^tokens go from 1\d to \d\d; there are those from 0 to 10$"),
        (segment(labels=tokens(5) + 11), r"^tokens go from 1\d to \d\d; "),
        (
            lambda model: RecurrentMemoryTransformerWrapper(model)(tokens() + 6, memory_replay_backprop=True),
            "^tokens go from 6 to 16; ",
        ),
        (segment(mask_out_read_memories=True), "always_have_read_memories=False"),
        (segment(mask=torch.arange(5) > 1), "true for the first tokens"),
        (segment(mask=torch.zeros(2, 5, dtype=torch.bool)), "at least one"),
        (segment(mask=(torch.arange(5) < 3).expand(2, 5)), "use_xl_memories=False"),
        (segment(read_memories=torch.zeros(2, 4, 12).double()), r"must have memory \[2, 3, 12\]"),
        (segment(xl_memories=[torch.zeros(2, 2, 2, 5, 4).double()]), "1 layers of 5 places"),
        (segment(xl_memories=[torch.zeros(2, 2, 2, 6, 4).double()] * 2), "xl_mem_len is 5"),
        (lambda model: RecurrentMemoryTransformerWrapper(model)(tokens(), labels=tokens()), "next tokens"),
        (lambda model: RecurrentMemoryTransformerWrapper(model)(tokens(0)), "time above 0"),
        (lambda model: RecurrentMemoryTransformerWrapper(model)(tokens()[0]), "time above 0"),
        (lambda model: RecurrentMemoryTransformerWrapper(model)(tokens(1), return_loss=True), "time above 1"),
        (
            lambda model: RecurrentMemoryTransformerWrapper(model)(tokens(1), memory_replay_backprop=True),
            "time above 1",
        ),
        (
            lambda model: RecurrentMemoryTransformerWrapper(model)(tokens()[:0], return_loss=True),
            r"shape \[0, 17\]; without a row there is no loss",
        ),
        (
            lambda model: RecurrentMemoryTransformerWrapper(model)(tokens(), truncate_at_step=0),
            "truncate_at_step is 0; it must be 1 segment or more",
        ),
        (
            lambda model: RecurrentMemoryTransformerWrapper(model)(
                tokens(), truncate_at_step=1.5, memory_replay_backprop=True
            ),
            "truncate_at_step is 1.5; it must be 1 segment or more",
        ),
        (lambda model: RecurrentMemoryTransformerWrapper(model, truncate_at_step=-1), "step is -1; it must"),
        (
            lambda model: RecurrentMemoryTransformerWrapper(model)(
                tokens(), mask=tokens() > 0, memory_replay_backprop=True
            ),
            "no mask",
        ),
        (
            lambda model: RecurrentMemoryTransformerWrapper(model)(tokens(), mask=torch.ones(2, 16).bool()),
            r"mask is \[2, 16\]; it must be as x is, \[2, 17\]",
        ),
        (lambda model: RecurrentMemoryTransformerWrapper(model).generate(tokens(4), length=3), "below 0"),
    ],
)
def test_a_call_whose_behaviour_is_not_here_is_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(make())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"enhanced_xl_recurrence": True}, "cache_from_above"),
        ({"num_memory_tokens": 0}, "one or more"),
        ({"abs_pos_emb": False}, "rotary_pos_emb"),
        ({"xl_mem_len": 6}, "no more than seq_len"),
        ({"depth": 0}, "^depth must be greater than 0, not 0$"),
        ({"dim_head": 0}, "^dim_head must be greater than 0, not 0$"),
        ({"seq_len": 0}, "^seq_len must be greater than 0, not 0$"),
        ({"seq_len": None}, "^seq_len must be a whole number from 0 on, not null$"),
        ({"num_tokens": 20.0}, "^num_tokens must be a whole number from 1 on, not 20.0$"),
        (
            {"num_memory_tokens": "2"},
            "^num_memory_tokens must be a whole number from 0 on, not the text '2'$",
        ),
        ({"xl_mem_len": 2.5}, "^xl_mem_len must be a whole number from 0 on, not 2.5$"),
        ({"dim": 0}, "^dim must be greater than 0, not 0$"),
        ({"ff_mult": 0.0}, "^ff_mult is 0.0; 2/3 of it, times dim, must be 1 or more$"),
        ({"attn_dropout": 1.0}, "^attn_dropout must be less than 1, not 1$"),
        (
            {"rotary_pos_emb": True, "dim_head": 5},
            "^rotary_pos_emb turn pairs of units, and dim_head 5 is odd",
        ),
    ],
    ids=str,
)
def test_an_argument_whose_behaviour_is_not_here_is_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**options)


def test_a_first_segment_too_short_for_its_caches_is_a_sentence():
    model = make(always_have_read_memories=False, seq_len=9)
    with pytest.raises(ValueError, match="must have 6 or more"):
        model(tokens(5))
    model(tokens(6))


def test_options_of_ours_are_taken_beside_those_of_the_package_and_unknown_ones_named():
    assert make(cache_from_above=True).core.settings.cache_from_above
    with pytest.raises(TypeError, match="resi_dual"):
        make(resi_dual=True)
    with pytest.raises(TypeError, match=r"^xl_men_len unknown key; did you mean 'xl_mem_len'\?$"):
        make(xl_men_len=3)


OTHERS = {
    "tokens": "num_tokens",
    "inner_size": "ff_mult",
    "cache_memory": "use_xl_memories",
    "null_after_cache": "use_xl_memories",
    "causal_memory": "memory_not_causal",
    "next_write_gradient": "next_write_mem_stop_grad",
}


@pytest.mark.parametrize(("option", "told"), [*LucidrainsTransformer.argument_names.items(), *OTHERS.items()])
def test_an_option_that_an_argument_of_the_package_decides_is_told_with_that(option, told):
    with pytest.raises(TypeError, match=f"^{option} is what {told} says here; leave it out$"):
        make(**{option: 2})


def test_every_name_of_an_argument_is_one_of_the_package_and_stands_for_a_field():
    names = LucidrainsTransformer.argument_names
    assert set(names) <= set(PreNormRMTSettings.model_fields)
    assert set(names.values()) <= set(inspect.signature(LucidrainsTransformer.__init__).parameters)
