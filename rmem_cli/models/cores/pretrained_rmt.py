"""The Recurrent Memory Transformer on a pretrained encoder from Hugging Face."""

from typing import Any

import torch
from torch import Tensor, nn

from rmem_cli.data.pretrained import open_pretrained, open_tokenizer
from rmem_cli.errors import UsageError
from rmem_cli.models.config import PretrainedEmbeddingSettings
from rmem_cli.models.cores import memory_layout
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.transformer_config import PretrainedRMTSettings
from rmem_cli.models.state import MEMORY, State


def open_backbone(name: str) -> Any:
    """A pretrained encoder; of a model with a decoder the encoder alone.

    Args:
        name: Such as `bert-base-cased`, or a folder.

    Raises:
        DataError: It is not on this machine.
    """
    model = open_pretrained(name, "AutoModel")
    return model.get_encoder() if model.config.is_encoder_decoder else model


class PretrainedRMT(Core):
    """A bidirectional encoder that reads `[start, memory, separator, segment, separator]`.

    What its last layer makes of the memory is the memory of the next segment. A segment and what stands
    around it must fit into the positions that the backbone knows: of 512, with 10 memory tokens, 499 remain.

    Args:
        input_size: Width of the inputs: of the encoder's vectors, for its table of symbols is not used.
        settings: All options.

    Raises:
        DataError: The backbone is not on this machine.
        UsageError: It is not as wide as its inputs.

    Source: Bulatov et al. 2022, section 4, and booydar/recurrent-memory-transformer, whose released code for
    classification reads the memory back one place too early.
    """

    causal = False
    stepwise = False

    def __init__(self, input_size: int, settings: PretrainedRMTSettings) -> None:
        super().__init__()
        backbone, tokenizer = open_backbone(settings.backbone), open_tokenizer(settings.backbone)
        table: Tensor = backbone.get_input_embeddings().weight  # [symbols, hidden]
        if not table.shape[1] == input_size == settings.hidden_size:
            raise UsageError(
                f"{settings.backbone} has vectors of {table.shape[1]}; model.core.hidden_size is "
                f"{settings.hidden_size}, and the encoder's vectors have {input_size}"
            )
        marks = table[[tokenizer.start, tokenizer.end]]  # [2, hidden], vectors of start and separator
        backbone.set_input_embeddings(nn.Embedding(1, input_size))
        self.input_size = self.output_size = input_size
        self.segment_length = settings.segment_length
        self.backbone = backbone
        self.marks = nn.Parameter(marks.detach().clone())
        self.memory = nn.Parameter(marks.std() * torch.randn(settings.memory_tokens, input_size))

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """`memory`, the learned first memory."""
        device, dtype = self.parameter_options(device, dtype)
        return {MEMORY: self.memory.to(device, dtype).expand(batch, -1, -1)}

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read one segment; see `Core.forward`."""
        rows, time, _ = x.shape
        if state is not None:
            self.check_state(state, rows)
        memory = self.memory.expand(rows, -1, -1) if state is None else state[MEMORY]
        start, separator = self.marks.expand(rows, -1, -1).chunk(2, dim=1)
        sequence = torch.cat([start, memory, separator, x, separator], dim=1)
        first = memory.shape[1] + 2
        # The second separator stands after the whole segment, whatever counts of it: each row sees it.
        seen = torch.ones(rows, sequence.shape[1], dtype=torch.long, device=x.device)
        if lengths is not None:
            places = torch.arange(time, device=x.device)
            seen[:, first : first + time] = places < lengths.to(x.device)[:, None]
        hidden: Tensor = self.backbone(inputs_embeds=sequence, attention_mask=seen).last_hidden_state
        written = memory_layout.kept_without_tokens(hidden[:, 1 : first - 1], memory, lengths)
        return hidden[:, first : first + time], {MEMORY: written}


class PretrainedEmbedding(nn.Module):
    """The table of symbols of a pretrained model.

    Args:
        symbols: How many symbols the task has.
        settings: Names the model.

    Raises:
        DataError: The model is not on this machine.
        UsageError: The task has symbols that it does not know.
    """

    def __init__(self, symbols: int, settings: PretrainedEmbeddingSettings) -> None:
        super().__init__()
        table: Tensor = open_backbone(settings.backbone).get_input_embeddings().weight
        if symbols > len(table):
            raise UsageError(
                f"{settings.backbone} knows {len(table):,} symbols, and the task has {symbols:,}"
            )
        self.output_size = table.shape[1]
        self.table = nn.Embedding(*table.shape)
        self.table.load_state_dict({"weight": table})

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time]` whole numbers to `[batch, time, size]`."""
        vectors: Tensor = self.table(inputs)
        return vectors
