"""Weights that were trained with the published code, as models of this one."""

import re
from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from rmem_cli.errors import DataError
from rmem_cli.models.adaptive import AdaptiveEmbedding, AdaptiveSoftmax
from rmem_cli.models.config import AdaptiveEmbeddingSettings, AdaptiveSoftmaxSettings
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.transformer_config import RMTSettings
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.modules.recurrent_memory_transformer import LucidrainsTransformer
from rmem_cli.recipe.options import settings_from

Weights = Mapping[str, Tensor]
AnyModel = TypeVar("AnyModel", bound=nn.Module)

# What our names are made of, to what the published code calls it; replaced in this order.
_LM_RMT = {
    "core.stack.positions.content_bias": "r_w_bias",
    "core.stack.positions.position_bias": "r_r_bias",
    "core.stack.layers.": "layers.",
    "core.memory": "mem_tokens",
    ".queries_keys_values.": ".dec_attn.qkv_net.",
    ".attention_output.": ".dec_attn.o_net.",
    ".attention_norm.": ".dec_attn.layer_norm.",
    ".inner.": ".pos_ff.CoreNet.0.",
    ".outer.": ".pos_ff.CoreNet.3.",
    ".feed_forward_norm.": ".pos_ff.layer_norm.",
    "encoder.projections.": "word_emb.emb_projs.",
    "head.projections.": "crit.out_projs.",
    "head.cluster_": "crit.cluster_",
}
_PACKAGE = {
    "core.read_vectors": "read_memory_emb",
    "core.write_vectors": "memory_tokens",
    "core.positions": "pos_emb.weight",
    "encoder.table.": "token_emb.",
    "head.linear.": "to_logits.",
    "core.stack.norm.": "norm.",
    "core.stack.layers.": "layers.",
    ".attention.null": ".0.branch.null_kv",
    ".attention.norm.": ".0.branch.norm.",
    ".attention.output.": ".0.branch.to_out.",
    ".attention.mixing.": ".0.branch.learned_value_residual_mix.0.",
    ".feed_forward.norm.": ".1.branch.0.",
    ".feed_forward.inner.": ".1.branch.1.",
    ".feed_forward.outer.": ".1.branch.4.",
    ".residuals.": ".",
    ".gain": ".norm.gamma",
    ".mixture_map": ".dynamic_alpha_fn",
    ".mixture_scale": ".dynamic_alpha_scale",
    ".mixture": ".static_alpha",
    ".share_map": ".dynamic_beta_fn",
    ".share_scale": ".dynamic_beta_scale",
    ".share": ".static_beta",
}
_FREQUENCIES = "pos_emb.inv_freq"  # of sinusoids, which are no weights; the package has "rotary_" in front
_AROUND = ("module.", "transformer.")  # in front of all names where another module held the model
_OTHER_ATTENTION = re.compile(r"\.(q_net|kv_net)\.|^(r_emb|r_bias)$")
_MOST_NAMED = 10


class _Source(NamedTuple):
    """What a weight is made of: published tensors one after the other, and what is then done with them."""

    names: tuple[str, ...]
    change: Callable[[Tensor], Tensor] = Tensor.detach


def convert_recurrent_memory_transformer(
    weights: str | Path | Weights, **options: Any
) -> LucidrainsTransformer:
    """A model of recurrent-memory-transformer-pytorch with its trained weights: the same logits.

    Args:
        weights: A state dict, or the file of one: safetensors, or what `torch.save` wrote, of which nothing
            but tensors is loaded.
        options: Arguments that it was made with. Sizes can be left out, as the weights have them; and so can
            `abs_pos_emb` and `rotary_pos_emb`. `seq_len` is needed where there are no absolute positions.

    Returns:
        The model, in evaluation mode, in the type of the weights.

    Raises:
        DataError: The file cannot be read, or weights are missing, left over or of another shape; all of them
            are named.
        TypeError: An option is missing, or there is no such option.
        ValueError: An option has no such value, or its behaviour is not here.
    """
    given = _read(weights)
    model = LucidrainsTransformer(**{**_package_options(given), **options})
    given.pop(f"rotary_{_FREQUENCIES}", None)
    return _filled(model, given, _package_source)


def convert_lm_rmt(
    weights: str | Path | Weights,
    *,
    tgt_len: int | None = None,
    mem_len: int = 0,
    mem_at_end: bool = True,
    read_mem_from_cache: bool = False,
    pre_lnorm: bool = False,
    same_length: bool = False,
    clamp_len: int = -1,
    cutoffs: tuple[int, ...] = (),
    dropout: float = 0.0,
    dropatt: float = 0.0,
) -> SequenceModel:
    """A model of LM-RMT (its `MemTransformerLM`) with its trained weights: the same losses.

    All sizes are those of the weights; tables and linear maps of the softmax that equal those of the
    embedding are shared with it. A `RecurrentMemoryTransformerWrapper` reads tokens with it.

    Args:
        weights: A state dict, or the file of one: safetensors, or what `torch.save` wrote, of which nothing
            but tensors is loaded.
        tgt_len: Tokens of one segment; None takes any number.
        mem_len: Positions that are cached.
        mem_at_end: Whether memory is written behind the segment.
        read_mem_from_cache: Whether memory tokens see the cache.
        pre_lnorm: Whether layer norm comes first.
        same_length: Whether each token sees equally many; only without memory tokens, whose rules it switches
            off there.
        clamp_len: Distances beyond this one count as this one; 0 or less: no bound.
        cutoffs: First word of each cluster but the first, where the weights do not tell (`div_val` 1).
        dropout: Of further training.
        dropatt: Likewise, of attention probabilities.

    Returns:
        The model, in evaluation mode, in the type of the weights.

    Raises:
        DataError: The file cannot be read, or weights are missing, left over, of another shape or of another
            kind of attention (`attn_type`); all of them are named.
        ValueError: An option has no such value, or its behaviour is not here.
    """
    given = _read(weights)
    given.pop(_FREQUENCIES, None)
    _refuse(
        "are of another attention than attn_type 0, which alone is converted",
        [name for name in given if _OTHER_ATTENTION.search(name)],
    )
    _needed(given, "r_w_bias", "layers.0.dec_attn.qkv_net.weight", "layers.0.pos_ff.CoreNet.0.weight")
    memories = given.get("mem_tokens", torch.empty(0, 1, 0))
    if same_length and len(memories):
        raise ValueError("same_length switches off all rules about memory in LM-RMT, and does not here")
    inner_size, size = given["layers.0.pos_ff.CoreNet.0.weight"].shape
    heads, head_size = given["r_w_bias"].shape
    settings = settings_from(
        RMTSettings,
        hidden_size=size,
        layers=_count(given, r"^layers\.(\d+)\."),
        heads=heads,
        head_size=head_size,
        inner_size=inner_size,
        memory_tokens=len(memories),
        memory_at_end=mem_at_end,
        read_memory_from_cache=read_mem_from_cache,
        segment_length=tgt_len,
        cache_length=mem_len,
        cache_memory=True,
        published_shift=True,
        pre_norm=pre_lnorm,
        same_length=same_length,
        clamp_length=clamp_len if clamp_len > 0 else None,
        dropout=dropout,
        attention_dropout=dropatt,
    )
    encoder, head = _adaptive(given, size, cutoffs)
    model = SequenceModel(encoder, RMT(size, settings), head)
    tables = len(encoder.tables.tables)
    return _filled(model, given, lambda name: _lm_rmt_source(name, tables))


def _package_options(given: Weights) -> dict[str, Any]:
    """What the weights of the package's model tell of how it was made."""
    first = "layers.0.0.branch.null_kv", "layers.0.1.branch.4.weight"
    _needed(given, "token_emb.weight", "memory_tokens", *first)
    tokens, size = given["token_emb.weight"].shape
    _, heads, head_size = given[first[0]].shape
    shares = given.get("layers.0.0.static_beta")
    options = {
        "num_tokens": tokens,
        "dim": size,
        "depth": _count(given, r"^layers\.(\d+)\."),
        "num_memory_tokens": len(given["memory_tokens"]),
        "heads": heads,
        "dim_head": head_size,
        # of which dim * ff_mult * 2 / 3, rounded down, is the width that the weights have
        "ff_mult": (given[first[1]].shape[1] + 0.5) * 3 / (2 * size),
        "num_residual_streams": 1 if shares is None else len(shares),
        "abs_pos_emb": "pos_emb.weight" in given,
        "rotary_pos_emb": f"rotary_{_FREQUENCIES}" in given,
    }
    return options | ({"seq_len": len(given["pos_emb.weight"])} if options["abs_pos_emb"] else {})


def _package_source(name: str) -> _Source:
    published = _renamed(name, _PACKAGE)
    if ".queries_keys_values." not in name:
        return _Source((published,))
    parts = (".0.branch.to_q.", ".0.branch.to_kv.")
    return _Source(tuple(published.replace(".attention.queries_keys_values.", part) for part in parts))


def _lm_rmt_source(name: str, tables: int) -> _Source:
    published = _renamed(name, _LM_RMT)
    if name == "core.memory":
        return _Source((published,), lambda memory: memory.squeeze(1))
    if name.startswith("head.cluster_"):
        return _Source((published,), lambda clusters: clusters.flip(0))  # which are counted backwards there
    if name == "head.bias":
        return _Source(tuple(f"crit.out_layers.{table}.bias" for table in range(tables)))
    for ours, of in (
        ("core.stack.positions.maps.", "layers.{}.dec_attn.r_net.weight"),
        ("encoder.tables.tables.", "word_emb.emb_layers.{}.weight"),
        ("head.own.tables.", "crit.out_layers.{}.weight"),
    ):
        if name.startswith(ours):
            return _Source((of.format(name.removeprefix(ours).removesuffix(".weight")),))
    return _Source((published,))


def _adaptive(
    given: dict[str, Tensor], size: int, cutoffs: tuple[int, ...]
) -> tuple[AdaptiveEmbedding, AdaptiveSoftmax]:
    """Encoder and head; of `given`, tensors that stand there twice because they are shared are taken out."""
    tables = [
        given[f"word_emb.emb_layers.{table}.weight"]
        for table in range(_count(given, r"^word_emb\.emb_layers\.(\d+)\."))
    ]
    _needed(given, *["word_emb.emb_layers.0.weight"] * (not tables))
    symbols, width, divisor = sum(map(len, tables)), tables[0].shape[1], 1
    if len(tables) > 1:
        cutoffs = tuple(accumulate(len(table) for table in tables[:-1]))
        divisor = width // tables[1].shape[1]
    clusters = len(given.get("crit.cluster_bias", ()))
    if len(cutoffs) != clusters:
        raise DataError(
            f"crit.cluster_bias tells of {clusters} clusters behind the first; give as many cutoffs as the "
            f"model had, not {len(cutoffs)}"
        )
    common: dict[str, Any] = {"cutoffs": list(cutoffs), "divisor": divisor}
    encoder = AdaptiveEmbedding(symbols, AdaptiveEmbeddingSettings(size=size, embedding_size=width, **common))
    shared = [f"crit.out_layers.{table}.weight" for table in range(len(tables))]
    if not all(_same(given, name, table) for name, table in zip(shared, tables, strict=True)):
        settings = AdaptiveSoftmaxSettings(tied=False, size=width, **common)
        return encoder, AdaptiveSoftmax(size, symbols, settings)
    projections = [given.get(f"word_emb.emb_projs.{table}") for table in range(len(tables))]
    ties = []
    for cluster in range(clusters + 1):
        name = f"crit.out_projs.{cluster}"
        projection = projections[cluster if len(tables) > 1 else 0]
        ties.append(projection is not None and _same(given, name, projection))
        shared += [name] * ties[-1]
    for name in shared:
        given.pop(name, None)
    return encoder, AdaptiveSoftmax(size, symbols, AdaptiveSoftmaxSettings(tie_projections=ties), encoder)


def _same(given: Weights, name: str, value: Tensor) -> bool:
    """Whether a tensor is that of another module, which a state dict names a second time, or not at all."""
    return name not in given or torch.equal(given[name], value)


def _filled(model: AnyModel, given: Weights, source: Callable[[str], _Source]) -> AnyModel:
    """The model with these weights, in their type."""
    known = model.state_dict()
    sources = {name: source(name) for name, value in known.items() if value.numel()}
    used = {name: None for names, _ in sources.values() for name in names}
    _refuse("are missing", [name for name in used if name not in given])
    _refuse("have no place in this model", [name for name in given if name not in used])
    made = {name: _made([given[each] for each in names], change) for name, (names, change) in sources.items()}
    unlike = [
        f"{' and '.join(sources[name].names)} (here {list(known[name].shape)})"
        for name, value in made.items()
        if value is None or value.shape != known[name].shape
    ]
    _refuse("are of another shape", unlike)
    first = next(iter(given.values()))
    model = model.to(first.device, first.dtype)
    model.load_state_dict({**model.state_dict(), **made})
    return model.eval()


def _made(parts: list[Tensor], change: Callable[[Tensor], Tensor]) -> Tensor | None:
    """One weight; None where the parts cannot stand one after the other."""
    if len({part.shape[1:] for part in parts}) > 1:
        return None
    return change(torch.cat(parts) if len(parts) > 1 else parts[0])


def _needed(given: Weights, *names: str) -> None:
    _refuse("are missing", [name for name in names if name not in given])


def _refuse(what: str, names: list[str]) -> None:
    if names:
        others = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        raise DataError(f"of the weights, {', '.join(names[:_MOST_NAMED])}{others} {what}")


def _renamed(name: str, published: Mapping[str, str]) -> str:
    for ours, theirs in published.items():
        name = name.replace(ours, theirs)
    return name


def _count(given: Weights, pattern: str) -> int:
    """How many numbers there are in names, from 0 on."""
    found = [int(match[1]) for name in given if (match := re.search(pattern, name))]
    return max(found, default=-1) + 1


def _read(weights: str | Path | Weights) -> dict[str, Tensor]:
    """Tensors by name, without what stands in front of all names."""
    given = dict(weights) if isinstance(weights, Mapping) else _of_file(Path(weights))
    if not given or not all(isinstance(value, Tensor) for value in given.values()):
        raise DataError(
            f"{'what is given' if isinstance(weights, Mapping) else weights} is no state dict of tensors; "
            "save `model.state_dict()` where the model is"
        )
    for around in _AROUND:
        if all(name.startswith(around) for name in given):
            given = {name.removeprefix(around): value for name, value in given.items()}
    return given


def _of_file(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.load(path.read_bytes()))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # whoever wrote it may have written anything
        raise DataError(
            f"{path} is no file of tensors alone, and nothing else is loaded; save `model.state_dict()` with "
            "torch.save where the model is, or as safetensors"
        ) from error
    return loaded if isinstance(loaded, dict) else {}
