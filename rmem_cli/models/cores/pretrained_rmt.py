"""The Recurrent Memory Transformer on a pretrained model from Hugging Face."""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from rmem_cli.data.pretrained import open_model, open_tokenizer
from rmem_cli.errors import DataError, UsageError
from rmem_cli.models.config import PretrainedEmbeddingSettings
from rmem_cli.models.cores import memory_layout
from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.memory_layout import Parts
from rmem_cli.models.cores.transformer_config import PretrainedRMTSettings
from rmem_cli.models.state import MEMORY, State
from rmem_cli.ops.attention.masks import Layout

_ENCODER_MARKS = 3  # start and two separators


def open_backbone(name: str) -> Any:
    """A pretrained model that reads symbols; of one with encoder and decoder the encoder alone.

    Args:
        name: Such as `bert-base-cased`, or a folder.

    Raises:
        DataError: It is not on this machine, or reads no symbols.
    """
    model = open_model(name)
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    if not isinstance(_table(model), nn.Embedding):
        raise DataError(
            f"The pretrained model {name} is a {type(model).__name__}, which reads no symbols of a text: "
            "name a language model, such as bert-base-cased or gpt2."
        )
    return model


def _table(model: Any) -> Any:
    """The vectors of a model's symbols; None if there are none that one could replace."""
    try:
        return model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return None


class PretrainedRMT(Core):
    """A pretrained model that reads memory with each segment, and writes that of the next.

    An encoder reads `[start, memory, separator, segment, separator]`, the second separator right behind what
    counts of the segment, and what its last layer makes of the memory is the memory of the next segment. A
    decoder reads `[memory, segment, memory]`, and what it makes of the memory behind the segment is the next;
    no place sees a later one, memory tokens among themselves neither. All that is read must fit into the
    positions that the backbone knows: of an encoder's 512, with 10 memory tokens, 499 remain.

    Args:
        input_size: Width of the inputs: of the encoder's vectors, for its table of symbols is not used.
        settings: All options.

    Raises:
        DataError: The backbone is not on this machine, or reads no symbols; or the library peft is missing.
        UsageError: It is not as wide as its inputs, knows fewer positions than are read, is no encoder, or
            no decoder, or its tokenizer has symbols that it does not know.

    Source: Bulatov et al. 2022, section 4, and booydar/recurrent-memory-transformer, whose released code for
    classification reads the memory back one place too early; for decoders, its `language_modeling`.
    """

    stepwise = False

    def __init__(self, input_size: int, settings: PretrainedRMTSettings) -> None:
        super().__init__()
        backbone = open_backbone(settings.backbone)
        table: Tensor = backbone.get_input_embeddings().weight  # [symbols, hidden]
        if not table.shape[1] == input_size == settings.hidden_size:
            raise UsageError(
                f"{settings.backbone} has vectors of {table.shape[1]}; model.core.hidden_size is "
                f"{settings.hidden_size}, and the encoder's vectors have {input_size}"
            )
        self.causal = settings.decoder
        self.input_size = self.output_size = input_size
        self.segment_length = settings.segment_length
        _check_positions(backbone, settings)
        spread = table.std()
        if not settings.decoder:
            marks = _marks(settings.backbone, table)
            self.marks = nn.Parameter(marks.detach().clone())
            spread = marks.std()
        backbone.set_input_embeddings(nn.Embedding(1, input_size))
        _check_direction(backbone, settings)
        self.backbone = backbone if settings.lora_rank is None else _with_lora(backbone, settings)
        self.memory = nn.Parameter(spread.detach() * torch.randn(settings.memory_tokens, input_size))

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
        rows = x.shape[0]
        if state is not None:
            self.check_state(state, rows)
        if lengths is not None:
            lengths = lengths.to(x.device)
        memory = self.memory.expand(rows, -1, -1) if state is None else state[MEMORY]
        read = self._decode if self.causal else self._encode
        y, written = read(x, memory, lengths)
        return y, {MEMORY: memory_layout.kept_without_tokens(written, memory, lengths)}

    def _encode(self, x: Tensor, memory: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Outputs of a segment, and what becomes of the memory; what does not count comes last, unseen."""
        rows, time, _ = x.shape
        start, separator = self.marks.expand(rows, -1, -1).chunk(2, dim=1)
        in_front = torch.cat([start, memory, separator], dim=1)
        layout = Layout(time, read=in_front.shape[1], write=1)
        sequence = memory_layout.join(Parts(in_front, x, separator), layout, lengths)
        seen = None
        if lengths is not None and x.device.type != "meta":  # the library asks whether all is seen
            places = torch.arange(layout.queries, device=x.device)
            seen = (places <= layout.read + lengths[:, None]).long()  # the second separator is the last
        after = memory_layout.take_apart(self._hidden(sequence, seen), layout, lengths)
        return after.segment, after.read[:, 1:-1]

    def _decode(self, x: Tensor, memory: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same; what does not count of a segment comes last, where nothing sees it."""
        layout = Layout(x.shape[1], memory.shape[1], memory.shape[1])
        sequence = memory_layout.join(Parts(memory, x, memory), layout, lengths)
        hidden = self._hidden(sequence, None)
        after = memory_layout.take_apart(hidden, layout, lengths)
        return after.segment, after.write

    def _hidden(self, sequence: Tensor, seen: Tensor | None) -> Tensor:
        """What the last layer makes of `[rows, places, hidden]`, of which others see what is 1 in `seen`."""
        hidden: Tensor = self.backbone(inputs_embeds=sequence, attention_mask=seen).last_hidden_state
        return hidden


def _marks(name: str, table: Tensor) -> Tensor:
    """The vectors of start and separator, `[2, hidden]`."""
    tokenizer = open_tokenizer(name)
    _check_symbols(name, table, max(tokenizer.start, tokenizer.end) + 1)
    return table[[tokenizer.start, tokenizer.end]]


def _check_symbols(name: str, table: Tensor, symbols: int) -> None:
    if symbols > len(table):
        raise UsageError(f"{name} knows {len(table):,} symbols, and the task has {symbols:,}")


def _check_positions(backbone: Any, settings: PretrainedRMTSettings) -> None:
    around = 2 * settings.memory_tokens if settings.decoder else settings.memory_tokens + _ENCODER_MARKS
    known = _known_positions(backbone)
    if known is not None and settings.segment_length + around > known:
        raise UsageError(
            f"{settings.backbone} knows {known} positions, and a segment of {settings.segment_length} with "
            f"{around} places around it takes {settings.segment_length + around}; set "
            f"model.core.segment_length to {known - around} or less, or lower model.core.memory_tokens"
        )


def _known_positions(backbone: Any) -> int | None:
    """How many places a model can read; None: any number.

    Those like RoBERTa count from behind the position that is kept for what fills rows up.
    """
    known: int | None = getattr(backbone.config, "max_position_embeddings", None)
    if known is None:
        return None
    kept = [
        table.padding_idx + 1
        for name, table in backbone.named_modules()
        if name.endswith("position_embeddings") and getattr(table, "padding_idx", None) is not None
    ]
    return known - max(kept, default=0)


@torch.no_grad()
def _check_direction(backbone: Any, settings: PretrainedRMTSettings) -> None:
    """Whether a place sees later ones, found out by trying: no configuration says it of all models."""
    x = torch.zeros(2, 2, settings.hidden_size)
    x[1, 1] = torch.linspace(-1, 1, settings.hidden_size)
    first, other = backbone.eval()(inputs_embeds=x).last_hidden_state[:, 0]
    if torch.equal(first, other) != settings.decoder:
        is_now, should = ("an encoder", "false") if settings.decoder else ("a decoder", "true")
        raise UsageError(f"{settings.backbone} is {is_now}; set model.core.decoder to {should}")


def _with_lora(backbone: Any, settings: PretrainedRMTSettings) -> Any:
    try:
        peft = import_module("peft")
    except ImportError as error:
        raise DataError(
            "model.core.lora_rank needs the library peft: `pip install 'rmem[pretrained]'`, or leave it out."
        ) from error
    lora = peft.LoraConfig(r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules="all-linear")
    return peft.get_peft_model(backbone, lora)


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
        _check_symbols(settings.backbone, table, symbols)
        self.output_size = table.shape[1]
        self.table = nn.Embedding(*table.shape)
        self.table.load_state_dict({"weight": table})

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time]` whole numbers to `[batch, time, size]`."""
        vectors: Tensor = self.table(inputs)
        return vectors
