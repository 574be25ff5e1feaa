"""The Recurrent Memory Transformer as a language model of its own, for use outside of recipes."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from rmem_cli.models.config import EmbeddingSettings, LinearHeadSettings
from rmem_cli.models.cores.prenorm_rmt import WRITTEN, PreNormRMT
from rmem_cli.models.cores.segment_cache import COUNT
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings
from rmem_cli.models.encoders import Embedding
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.models.shapes import check_count, check_inputs, check_symbols
from rmem_cli.models.state import MEMORY, State
from rmem_cli.recipe.options import settings_from

_SAID_BY = {  # beside `LucidrainsTransformer.argument_names`, what decides other arguments
    "tokens": "num_tokens",
    "inner_size": "ff_mult",
    "cache_memory": "use_xl_memories",
    "null_after_cache": "use_xl_memories",
    "causal_memory": "memory_not_causal",
    "next_write_gradient": "next_write_mem_stop_grad",
}


class RecurrentMemoryTransformer(SequenceModel):
    """Tokens of a segment and the memory of the one before, to logits and the memory for the next.

    Args:
        tokens: How many different tokens there are.
        hidden_size: Width of the layers.
        memory_tokens: How many memory tokens.
        segment_length: Tokens of one segment.
        layers: Number of layers.
        heads: Attention heads.
        options: All others of `rmem_cli.models.cores.transformer_config.PreNormRMTSettings`, which explains
            them.

    Raises:
        TypeError: There is no such option.
        ValueError: An option has no such value.

    Source: Bulatov et al. 2022, in the form of lucidrains/recurrent-memory-transformer-pytorch. There, caches
    and four residual streams are the default: `cache_length=segment_length, residual_streams=4`. With that
    package's own arguments (`num_tokens`, `dim`, ...), what is made is a `LucidrainsTransformer`, which is
    called as there.

    Example:
        >>> model = RecurrentMemoryTransformer(256, 64, memory_tokens=8, segment_length=128, layers=2)
        >>> logits, state = model(torch.randint(256, (1, 128)))
        >>> logits, state = model(torch.randint(256, (1, 128)), state)
        >>> logits.shape, state["memory"].shape
        (torch.Size([1, 128, 256]), torch.Size([1, 8, 64]))
    """

    encoder: Embedding
    core: PreNormRMT
    head: LinearHead
    argument_names: ClassVar[Mapping[str, str]] = {}  # of fields of the settings that are called otherwise

    def __new__(cls, *_: Any, **options: Any) -> "RecurrentMemoryTransformer":
        """One that is called as its arguments are named."""
        named_as_there = cls is RecurrentMemoryTransformer and "num_tokens" in options
        return super().__new__(LucidrainsTransformer if named_as_there else cls)

    def __init__(
        self,
        tokens: int,
        hidden_size: int,
        *,
        memory_tokens: int,
        segment_length: int,
        layers: int,
        heads: int = 8,
        **options: Any,
    ) -> None:
        check_count("tokens", tokens, least=1)
        settings = settings_from(
            PreNormRMTSettings,
            self.argument_names,
            hidden_size=hidden_size,
            memory_tokens=memory_tokens,
            segment_length=segment_length,
            layers=layers,
            heads=heads,
            **options,
        )
        embedding = Embedding(tokens, EmbeddingSettings(size=hidden_size))
        core = PreNormRMT(hidden_size, settings)
        super().__init__(embedding, core, LinearHead(hidden_size, tokens, LinearHeadSettings()))

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read one segment.

        Args:
            tokens: `[batch, time]`, no more than a segment.
            state: What the segment before returned; None starts afresh.

        Returns:
            Logits `[batch, time, tokens]`, and the state, whose `memory` is `[batch, memory_tokens, hidden]`.

        Raises:
            ValueError: The tokens have another shape, are too many or unknown, or the state is that of
                another model, or of other rows.
        """
        self._check_segment(tokens)
        y, state = self.core(self.encoder(tokens), state)
        return self.head.logits(y), state

    def check_tokens(self, tokens: Tensor) -> None:
        """Make sure that the model knows all tokens, of whatever shape.

        Raises:
            ValueError: It does not, or they are no whole numbers.
        """
        check_symbols(tokens, self.encoder.table.num_embeddings, name="tokens")

    def _check_segment(self, tokens: Tensor) -> None:
        check_inputs(tokens, None, "[batch, time]")
        longest = self.segment_length
        if longest is not None and tokens.shape[1] > longest:
            name = self.argument_names.get("segment_length", "segment_length")
            raise ValueError(f"a segment of {tokens.shape[1]} tokens; {name} is {longest}")
        self.check_tokens(tokens)


class LucidrainsTransformer(RecurrentMemoryTransformer):
    """The same model with the arguments, the call and the results of recurrent-memory-transformer-pytorch.

    What it is besides, a `Model`, is as of any other: it trains, evaluates and samples likewise.

    Args:
        dim: Width of the layers.
        num_tokens: How many different tokens there are.
        depth: Number of layers.
        num_memory_tokens: How many memory tokens, at least one.
        seq_len: Tokens of one segment.
        causal: Whether no output depends on later inputs.
        dim_head: Width of each attention head.
        heads: Attention heads.
        ff_mult: Width of the gated feed-forward part, in units of 2/3 of `dim`.
        attn_dropout: Probability of dropping an attention probability, in training.
        ff_dropout: Probability of dropping a unit inside of a feed-forward part, in training.
        use_flash_attn: Either way attention runs in its fastest form.
        ignore_index: Label of the tokens that no loss counts.
        abs_pos_emb: Whether a learned vector for each place of a segment is added.
        rotary_pos_emb: Whether queries and keys are turned by their positions.
        use_xl_memories: Whether keys and values of the last segment are handed on.
        xl_mem_len: How many of them, no more than `seq_len`; None: `seq_len`.
        enhanced_xl_recurrence: False; there, it has no effect.
        emb_gradient_frac: Share of the gradient that the embeddings get.
        memory_not_causal: Whether memory tokens see each other both ways. (There, False fails.)
        add_write_to_next_write_mem: Whether the memory is also added to what the next is written into.
        next_write_mem_stop_grad: Whether no gradient goes back through this sum.
        always_have_read_memories: Whether the first segment reads memory as well.
        num_residual_streams: How many there are; 1: an ordinary residual.
        options: Others of `rmem_cli.models.cores.transformer_config.PreNormRMTSettings`, by their names.

    Raises:
        TypeError: There is no such option.
        ValueError: An option has no such value, or its behaviour is not here.

    Source: lucidrains/recurrent-memory-transformer-pytorch 0.7.0.

    Example:
        >>> model = RecurrentMemoryTransformer(
        ...     num_tokens=256, dim=64, depth=2, num_memory_tokens=8, seq_len=128
        ... )
        >>> logits, memories, xl_memories = model(torch.randint(256, (1, 128)))
        >>> logits, memories, xl_memories = model(
        ...     torch.randint(256, (1, 128)), memories, xl_memories=xl_memories
        ... )
        >>> logits.shape, memories.shape, xl_memories[0].shape
        (torch.Size([1, 128, 256]), torch.Size([1, 8, 64]), torch.Size([2, 1, 8, 128, 64]))
    """

    argument_names: ClassVar[Mapping[str, str]] = {
        "hidden_size": "dim",
        "layers": "depth",
        "memory_tokens": "num_memory_tokens",
        "segment_length": "seq_len",
        "head_size": "dim_head",
        "attention_dropout": "attn_dropout",
        "dropout": "ff_dropout",
        "absolute_positions": "abs_pos_emb",
        "rotary_positions": "rotary_pos_emb",
        "cache_length": "xl_mem_len",
        "embedding_gradient": "emb_gradient_frac",
        "write_to_next_write": "add_write_to_next_write_mem",
        "read_first_memory": "always_have_read_memories",
        "residual_streams": "num_residual_streams",
    }

    def __init__(
        self,
        dim: int,
        *,
        num_tokens: int,
        depth: int,
        num_memory_tokens: int,
        seq_len: int,
        causal: bool = True,
        dim_head: int = 64,
        heads: int = 8,
        ff_mult: float = 4,
        attn_dropout: float = 0.0,
        ff_dropout: float = 0.0,
        use_flash_attn: bool = False,
        ignore_index: int = -1,
        abs_pos_emb: bool = True,
        rotary_pos_emb: bool = False,
        use_xl_memories: bool = True,
        xl_mem_len: int | None = None,
        enhanced_xl_recurrence: bool = False,
        emb_gradient_frac: float = 0.1,
        memory_not_causal: bool = True,
        add_write_to_next_write_mem: bool = False,
        next_write_mem_stop_grad: bool = True,
        always_have_read_memories: bool = True,
        num_residual_streams: int = 4,
        **options: Any,
    ) -> None:
        del use_flash_attn
        if enhanced_xl_recurrence:
            raise ValueError(
                "enhanced_xl_recurrence has no effect in the package; leave it out for its numbers, or take "
                "cache_from_above=True for what it was meant to do"
            )
        check_count("num_tokens", num_tokens, least=1)
        sizes = {"dim": dim, "num_memory_tokens": num_memory_tokens, "seq_len": seq_len}
        for name, size in (sizes if xl_mem_len is None else sizes | {"xl_mem_len": xl_mem_len}).items():
            check_count(name, size)
        if num_memory_tokens < 1:
            raise ValueError(f"num_memory_tokens is {num_memory_tokens}; there must be one or more")
        if not (abs_pos_emb or rotary_pos_emb):
            raise ValueError("neither abs_pos_emb nor rotary_pos_emb is on; one of them must be")
        if dim > 0 and int(dim * ff_mult * 2 / 3) < 1:
            raise ValueError(f"ff_mult is {ff_mult}; 2/3 of it, times dim, must be 1 or more")
        cache_length = seq_len if xl_mem_len is None else xl_mem_len
        if cache_length > seq_len:
            raise ValueError(f"xl_mem_len is {cache_length}; it can be no more than seq_len, {seq_len}")
        given: dict[str, Any] = {
            "memory_tokens": num_memory_tokens,
            "segment_length": seq_len,
            "layers": depth,
            "causal": causal,
            "head_size": dim_head,
            "heads": heads,
            "inner_size": int(dim * ff_mult * 2 / 3) if dim > 0 else None,
            "attention_dropout": attn_dropout,
            "dropout": ff_dropout,
            "absolute_positions": abs_pos_emb,
            "rotary_positions": rotary_pos_emb,
            "cache_length": cache_length if use_xl_memories else 0,
            "cache_memory": True,
            "null_after_cache": True,
            "embedding_gradient": emb_gradient_frac,
            "causal_memory": causal and not memory_not_causal,
            "write_to_next_write": add_write_to_next_write_mem,
            "next_write_gradient": not next_write_mem_stop_grad,
            "read_first_memory": always_have_read_memories,
            "residual_streams": num_residual_streams,
        }
        for name in options:
            if name in given or name in ("tokens", "hidden_size"):
                decided = {**self.argument_names, **_SAID_BY}[name]
                raise TypeError(f"{name} is what {decided} says here; leave it out")
        super().__init__(num_tokens, dim, **given, **options)
        self.seq_len = seq_len
        self.ignore_index = ignore_index

    def forward(  # type: ignore[override]  # called as the package's, which is what the class is for
        self,
        x: Tensor,
        read_memories: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        labels: Tensor | None = None,
        xl_memories: list[Tensor] | None = None,
        mask_out_read_memories: bool = False,
    ) -> tuple[Tensor, Tensor, list[Tensor] | None]:
        """Read one segment.

        Args:
            x: Tokens `[batch, time]`, no more than `seq_len`.
            read_memories: What the segment before returned, `[batch, memories, dim]`, or for all rows
                `[memories, dim]`; None starts afresh.
            mask: `[batch, time]`, true for the tokens that count: the first of each row, at least one.
            labels: `[batch, time]`, what is to be predicted at each token.
            xl_memories: What the segment before returned.
            mask_out_read_memories: False; see `always_have_read_memories`.

        Returns:
            Logits `[batch, time, num_tokens]`, or with labels the mean loss; the memories for the next
            segment; and of each layer keys and values `[2, batch, heads, places, dim_head]`, without
            gradient, or None without `use_xl_memories`.

        Raises:
            ValueError: The tokens have another shape or are too many, one or a label is unknown, memories are
                not those of this model and these rows, or the mask leaves out others than the last tokens of
                a row.
        """
        if mask_out_read_memories:
            raise ValueError(
                "mask_out_read_memories is not here; make the model with always_have_read_memories=False, "
                "which keeps the first segment from reading memory"
            )
        self._check_segment(x)
        if labels is not None:
            self.check_tokens(labels.where(labels != self.ignore_index, 0))
        state = self.state(len(x), read_memories, xl_memories)
        y, state = self.core(self.encoder(x), state, self._lengths(mask, x))
        logits = self.head.logits(y)
        caches = self._caches(state, x.shape[1], first=read_memories is None)
        if labels is None:
            return logits, state[MEMORY], caches
        # [batch, num_tokens, time]
        loss = functional.cross_entropy(logits.mT, labels.long(), ignore_index=self.ignore_index)
        return loss, state[MEMORY], caches

    def state(
        self, rows: int, read_memories: Tensor | None = None, xl_memories: list[Tensor] | None = None
    ) -> State | None:
        """The state of which `read_memories` and `xl_memories` are the parts; see `forward`.

        Args:
            rows: Of the batch.
            read_memories: Memories, if a segment was read before.
            xl_memories: Keys and values of each layer, likewise.

        Raises:
            ValueError: They are not those of this model and so many rows.
        """
        given = [*([] if read_memories is None else [read_memories]), *(xl_memories or [])]
        if not given:
            return None
        state = self.initial_state(rows, device=given[0].device, dtype=given[0].dtype)
        if read_memories is not None:
            shared = read_memories.dim() == 2  # [memories, dim], by all rows
            state[MEMORY] = read_memories.expand(rows, -1, -1) if shared else read_memories
            if WRITTEN in state:
                state[WRITTEN] = torch.ones_like(state[WRITTEN])
        if xl_memories:
            state |= self._cache(xl_memories)
        self.core.check_state(state, rows)
        return state

    def _cache(self, xl_memories: list[Tensor]) -> State:
        """Keys and values of each layer, `[2, batch, heads, places, dim_head]`, as entries of a state."""
        cache, places = self.core.cache, xl_memories[0].shape[-2]
        if len(xl_memories) != len(cache.names) or places > cache.length:
            raise ValueError(
                f"xl_memories have {len(xl_memories)} layers of {places} places; this model has "
                f"{len(cache.names)} layers, and xl_mem_len is {cache.length}"
            )
        # [batch, places, 2, heads, dim_head], then the last of as many places as a state has
        layers = [each.permute(1, 3, 0, 2, 4) for each in xl_memories]
        missing = (0, 0, 0, 0, 0, 0, cache.length - places, 0)
        state = {name: functional.pad(each, missing) for name, each in zip(cache.names, layers, strict=True)}
        count = torch.full((len(layers[0]),), places, device=layers[0].device)
        return {**state, COUNT: count}

    def _caches(self, state: State, time: int, first: bool) -> list[Tensor] | None:
        """What a segment leaves for `xl_memories`: of its own places alone, null key and memory included."""
        cache, memories = self.core.cache, self.core.memory_tokens
        if cache.length == 0:
            return None
        if first and WRITTEN in state and cache.length > time + memories:
            raise ValueError(
                f"the first segment has {time} tokens; with always_have_read_memories=False it must have "
                f"{cache.length - memories} or more, for xl_mem_len is {cache.length}"
            )
        places = min(cache.length, 1 + 2 * memories + time)
        # [2, batch, heads, places, dim_head]
        return [state[name][:, -places:].permute(2, 0, 3, 1, 4) for name in cache.names]

    def _lengths(self, mask: Tensor | None, x: Tensor) -> Tensor | None:
        """How many tokens of each row a mask lets through, `[batch]`; None: all of all."""
        if mask is None or (mask.shape == x.shape and bool(mask.all())):
            return None
        lengths = mask.sum(dim=-1, keepdim=True)
        first_ones = torch.arange(x.shape[1], device=x.device) < lengths
        if mask.shape != x.shape or not torch.equal(mask, first_ones) or not bool(lengths.all()):
            raise ValueError(
                "the mask must be [batch, time], true for the first tokens of each row, at least one, and "
                "false for the others: it can leave out nothing but what fills rows up at their end"
            )
        if self.core.cache.length:
            raise ValueError(
                "with a mask, xl_memories would hold what fills rows up; make the model with "
                "use_xl_memories=False"
            )
        return lengths.squeeze(1)
