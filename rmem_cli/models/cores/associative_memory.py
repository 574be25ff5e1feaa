"""The memory of the Associative Recurrent Memory Transformer: a matrix for each layer."""

import torch
from torch import Tensor, nn

from rmem_cli.models.cores import memory_layout
from rmem_cli.models.cores.transformer_config import RMTSettings
from rmem_cli.models.state import State
from rmem_cli.ops.associative_memory import fast
from rmem_cli.ops.attention.masks import Layout
from rmem_cli.ops.product.dispatch import Linear


class AssociativeMemory(nn.Module):
    """What the layers' memory tokens leave for all positions of later segments to read.

    Args:
        settings: Of the core; `associative_size` and `associative_order` are those of the feature map.

    Source: Rodkin et al. 2024; `rmem_cli/ops/associative_memory/README.md` has the equations.
    """

    def __init__(self, settings: RMTSettings) -> None:
        super().__init__()
        self.settings = settings
        self.layers = nn.ModuleList(_LayerMaps(settings) for _ in range(settings.layers))

    def initial(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        """Empty: `associative.<layer>` and `normalizer.<layer>`."""
        rows = 2 * self.settings.associative_size * self.settings.associative_order
        memory = torch.zeros(batch, rows, self.settings.hidden_size, device=device, dtype=dtype)
        normalizer = torch.zeros(batch, rows, device=device, dtype=dtype)
        count = self.settings.layers
        return {
            **{f"associative.{layer}": memory for layer in range(count)},
            **{f"normalizer.{layer}": normalizer for layer in range(count)},
        }

    def read(self, layer: int, hidden: Tensor, state: State) -> Tensor:
        """`hidden [batch, places, hidden]` with what the layer's memory holds for each place."""
        maps = self.layers[layer]
        queries = self._features(maps.get_submodule("queries")(hidden))
        return hidden + fast.read(state[f"associative.{layer}"], state[f"normalizer.{layer}"], queries)

    def write(self, layer: int, tokens: Tensor, state: State) -> State:
        """The layer's part of the state after its memory tokens `[batch, tokens, hidden]`."""
        maps = self.layers[layer]
        keys = self._features(maps.get_submodule("keys")(tokens))
        strengths = maps.get_submodule("strengths")(tokens).sigmoid().squeeze(-1)
        memory, normalizer = f"associative.{layer}", f"normalizer.{layer}"
        new = fast.write(
            state[memory],
            state[normalizer],
            keys,
            maps.get_submodule("values")(tokens),
            strengths,
            self.settings.associative_correction,
        )
        return {memory: new[0], normalizer: new[1]}

    def _features(self, x: Tensor) -> Tensor:
        """Of keys or queries `[batch, places, associative_size]`."""
        return fast.features(x, self.settings.associative_order, self.settings.associative_normalized)


class _LayerMaps(nn.Module):
    def __init__(self, settings: RMTSettings) -> None:
        super().__init__()
        size, key_size = settings.hidden_size, settings.associative_size
        self.queries = Linear(size, key_size, bias=False)
        self.keys = Linear(size, key_size, bias=False)
        self.values = Linear(size, size, bias=False)
        self.strengths = Linear(size, 1)
        nn.init.zeros_(self.values.weight)  # at first, the memory holds nothing


class OpenMemory:
    """The associative memory while a segment goes through the layers.

    Args:
        memory: The core's.
        state: Before the segment.
        layout: Of the segment.
        lengths: `[batch]`, tokens of each row that count; None for all.
    """

    def __init__(
        self, memory: AssociativeMemory, state: State, layout: Layout, lengths: Tensor | None
    ) -> None:
        self.memory = memory
        self.before = state
        self.layout = layout
        self.lengths = lengths
        self.after: State = {}

    def read(self, layer: int, hidden: Tensor) -> Tensor:
        """What the layer reads in place of `hidden`."""
        return self.memory.read(layer, hidden, self.before)

    def write(self, layer: int, hidden: Tensor) -> None:
        """Store what the layer made of the memory tokens."""
        tokens = memory_layout.take_apart(hidden, self.layout, self.lengths).write
        for name, value in self.memory.write(layer, tokens, self.before).items():
            self.after[name] = memory_layout.kept_without_tokens(value, self.before[name], self.lengths)
