"""The Recurrent Memory Transformer as a language model of its own, for use outside of recipes."""

from typing import Any

from torch import Tensor

from rmem_cli.models.cores.prenorm_rmt import PreNormRMT
from rmem_cli.models.encoders import Embedding
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.models.state import State


class RecurrentMemoryTransformer(SequenceModel):
    """Tokens of a segment and the memory of the one before, to logits and the memory for the next.

    Args:
        tokens: How many different tokens there are.
        hidden_size: Width of the layers.
        memory_tokens: How many memory tokens.
        segment_length: Tokens of one segment.
        layers: Number of layers.
        heads: Attention heads.
        options: All others of `rmem_cli.models.cores.prenorm_rmt.PreNormRMT`, which explains them.

    Source: Bulatov et al. 2022, in the form of lucidrains/recurrent-memory-transformer-pytorch. There, caches
    and four residual streams are the default: `cache_length=segment_length, residual_streams=4`.

    Example:
        >>> model = RecurrentMemoryTransformer(256, 64, memory_tokens=8, segment_length=128, layers=2)
        >>> logits, state = model(torch.randint(256, (1, 128)))
        >>> logits, state = model(torch.randint(256, (1, 128)), state)
        >>> logits.shape, state["memory"].shape
        (torch.Size([1, 128, 256]), torch.Size([1, 8, 64]))
    """

    head: LinearHead

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
        core = PreNormRMT(
            hidden_size,
            hidden_size,
            memory_tokens=memory_tokens,
            segment_length=segment_length,
            layers=layers,
            heads=heads,
            **options,
        )
        super().__init__(Embedding(tokens, hidden_size), core, LinearHead(hidden_size, tokens))

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read one segment.

        Args:
            tokens: `[batch, time]`, no more than a segment.
            state: What the segment before returned; None starts afresh.

        Returns:
            Logits `[batch, time, tokens]`, and the state, whose `memory` is `[batch, memory_tokens, hidden]`.
        """
        y, state = self.core(self.encoder(tokens), state)
        return self.head.logits(y), state
