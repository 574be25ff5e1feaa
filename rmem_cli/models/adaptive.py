"""Adaptive input and softmax: frequent symbols get wide vectors, rare ones narrow vectors or later turns."""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.errors import UsageError
from rmem_cli.models.config import AdaptiveEmbeddingSettings, AdaptiveSoftmaxSettings, check_clusters
from rmem_cli.ops.product.dispatch import linear, product


class ClusterTables(nn.Module):
    """A vector for each symbol, the symbols sorted into clusters by their numbers.

    With `divisor` 1 all vectors are rows of one table; otherwise cluster i has a table of its own, whose
    vectors are `divisor^i` times narrower.

    Args:
        symbols: How many symbols there are, the most frequent first.
        size: Width of the vectors of the first cluster.
        settings: Cutoffs, divisor and first values.
        where: What the recipe calls the cutoffs.

    Raises:
        UsageError: The last cluster has no symbol, or vectors of no width.
    """

    def __init__(
        self,
        symbols: int,
        size: int,
        settings: AdaptiveEmbeddingSettings | AdaptiveSoftmaxSettings,
        where: str,
    ) -> None:
        super().__init__()
        cutoffs, divisor = settings.cutoffs, settings.divisor
        if cutoffs and cutoffs[-1] >= symbols:
            raise UsageError(
                f"{where} are {list(cutoffs)}, and there are {symbols:,} symbols; the last must be below that"
            )
        try:
            check_clusters(cutoffs, divisor, size)
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
        self.ends = (0, *cutoffs, symbols)
        self.divisor = divisor
        self.widths = [size // divisor**cluster for cluster in range(self.clusters)]
        shapes = [(symbols, size)]
        if divisor > 1:
            shapes = [
                (end - start, width) for (start, end), width in zip(self.spans(), self.widths, strict=True)
            ]
        self.tables = nn.ParameterList(
            torch.empty(shape).normal_(std=settings.initial_std) for shape in shapes
        )

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return len(self.ends) - 1

    def spans(self) -> list[tuple[int, int]]:
        """First symbol of each cluster, and the first after it."""
        return list(pairwise(self.ends))

    def vectors(self, cluster: int) -> Tensor:
        """`[symbols of the cluster, width]`."""
        start, end = self.spans()[cluster] if self.divisor == 1 else (None, None)
        vectors: Tensor = self.tables[cluster if self.divisor > 1 else 0][start:end]
        return vectors


class AdaptiveEmbedding(nn.Module):
    """A learned vector for each symbol; rare symbols may have narrower ones that a linear map widens.

    Args:
        symbols: How many symbols there are, the most frequent first.
        settings: All options.

    Raises:
        UsageError: The last cluster has no symbol, or vectors of no width.

    Source: Baevski and Auli 2019; options and initialisation of the code of Dai et al. 2019. There, the
    vectors are also multiplied by the root of `size`: here the core does that, to whatever encoder.
    """

    def __init__(self, symbols: int, settings: AdaptiveEmbeddingSettings) -> None:
        super().__init__()
        self.output_size = size = settings.size
        width = settings.width_of_table
        self.tables = ClusterTables(symbols, width, settings, "model.encoder.cutoffs")
        widths = self.tables.widths if settings.divisor > 1 else [width] * (width != size)
        self.projections = nn.ParameterList(
            torch.empty(size, width).normal_(std=settings.projection_std) for width in widths
        )

    def projection(self, cluster: int) -> Tensor | None:
        """The map `[size, width]` of a cluster; None if its vectors are as wide as they should be."""
        projections: list[Tensor] = list(self.projections)
        if not projections:
            return None
        return projections[cluster if self.tables.divisor > 1 else 0]

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, time]` whole numbers to `[batch, time, size]`."""
        if self.tables.divisor == 1:
            return _widened(functional.embedding(inputs, self.tables.tables[0]), self.projection(0))
        symbols = inputs.flatten()  # [batch * time]
        embedded: Tensor = self.tables.tables[0].new_zeros(len(symbols), self.output_size)
        for cluster, (start, end) in enumerate(self.tables.spans()):
            rows = _rows_between(symbols, start, end)
            vectors = functional.embedding(symbols[rows] - start, self.tables.tables[cluster])
            embedded = embedded.index_copy(0, rows, _widened(vectors, self.projection(cluster)))
        return embedded.view(*inputs.shape, -1)  # [batch, time, size]


class AdaptiveSoftmax(nn.Module):
    """A softmax over the most frequent classes and the other clusters, and one within each cluster.

    The probability of a class in a cluster is that of the cluster times that of the class in it, which is
    computed only for the rows whose target lies there. Without cutoffs it is the ordinary softmax.

    Args:
        input_size: Width of the core's outputs.
        classes: How many classes there are, the most frequent first.
        settings: All options.
        encoder: The model's; where the settings tie the head to it, tables, cutoffs and divisor are shared.

    Raises:
        UsageError: The last cluster has no class; or the head is tied to an encoder that is not adaptive, or
            has not as many symbols as there are classes.

    Source: Grave et al. 2017; options and initialisation of the code of Dai et al. 2019, which counts the
    clusters' own logits backwards (cluster i has the i-th from the end) and returns losses out of order.
    """

    predicts: ClassVar[Literal["classes", "numbers"]] = "classes"

    def __init__(
        self,
        input_size: int,
        classes: int,
        settings: AdaptiveSoftmaxSettings,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.own = None
        # In a tuple, so that the encoder's weights are registered once, with the encoder.
        self._encoder: tuple[AdaptiveEmbedding, ...] = ()
        if settings.tied:
            self._encoder = (_tied_to(encoder, classes),)
        else:
            size = settings.size or input_size
            self.own = ClusterTables(classes, size, settings, "model.head.cutoffs")
        tables = self.tables
        self._tied = [*settings.tie_projections, *[False] * tables.clusters][: tables.clusters]
        self.projections = nn.ParameterDict()
        for cluster, width in enumerate(tables.widths):
            needed = tables.divisor > 1 or width != input_size
            if needed and not (self._encoder and self._tied[cluster]):
                first = torch.empty(input_size, width).normal_(std=settings.projection_std)
                self.projections[str(cluster)] = nn.Parameter(first)
        self.bias = nn.Parameter(torch.zeros(classes))
        self.cluster_weight = nn.Parameter(torch.empty(tables.clusters - 1, tables.widths[0]))
        nn.init.normal_(self.cluster_weight, std=settings.initial_std)
        self.cluster_bias = nn.Parameter(torch.zeros(tables.clusters - 1))

    @property
    def tables(self) -> ClusterTables:
        """The vectors of the classes, its own or the encoder's."""
        return self._encoder[0].tables if self.own is None else self.own

    def logits(self, y: Tensor) -> Tensor:
        """`[..., input_size]` to logarithms of probabilities `[..., classes]`."""
        first, others = self._first(y)
        parts = [first]
        for cluster in range(1, self.tables.clusters):
            among = self._scores(y, cluster).log_softmax(-1)
            parts.append(others[..., cluster - 1, None] + among)
        return torch.cat(parts, dim=-1)

    def nll(self, y: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood in nats: `[..., input_size]` and targets `[...]` to `[...]`."""
        rows, classes = y.flatten(0, -2), targets.flatten()  # [positions, input_size] and [positions]
        if self.tables.clusters == 1:
            # [...], as the targets
            return functional.cross_entropy(self._scores(rows, 0), classes, reduction="none").view(
                targets.shape
            )
        first, others = self._first(rows)
        size = first.shape[-1]
        losses = -first.gather(-1, classes.clamp(max=size - 1)[:, None]).squeeze(-1)
        for cluster, (start, end) in enumerate(self.tables.spans()[1:], start=1):
            here = _rows_between(classes, start, end)
            scores = self._scores(rows[here], cluster)
            within = functional.cross_entropy(scores, classes[here] - start, reduction="none")
            losses = losses.index_copy(0, here, within - others[here, cluster - 1])
        return losses.view(targets.shape)  # [...]

    def _first(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of the probabilities of the first cluster's classes, and of the other clusters."""
        y = self._projected(y, 0)
        end = self.tables.ends[1]
        weight = torch.cat([self.tables.vectors(0), self.cluster_weight])
        scores = linear(y, weight, torch.cat([self.bias[:end], self.cluster_bias])).log_softmax(-1)
        return scores[..., :end], scores[..., end:]

    def _scores(self, y: Tensor, cluster: int) -> Tensor:
        start, end = self.tables.spans()[cluster]
        y = self._projected(y, cluster)
        return linear(y, self.tables.vectors(cluster), self.bias[start:end])

    def _projected(self, y: Tensor, cluster: int) -> Tensor:
        if self._encoder and self._tied[cluster]:
            projection = self._encoder[0].projection(cluster)
        else:
            projection = self.projections.get(str(cluster))
        return y if projection is None else product(y, projection)


def _tied_to(encoder: nn.Module | None, classes: int) -> AdaptiveEmbedding:
    """The encoder that a head shares its tables with."""
    if not isinstance(encoder, AdaptiveEmbedding):
        raise UsageError("a tied adaptive head needs an adaptive encoder; set model.encoder.kind to adaptive")
    symbols = encoder.tables.ends[-1]
    if symbols != classes:
        raise UsageError(
            f"a tied adaptive head shares the vectors of {symbols:,} symbols with the encoder, and the task "
            f"has {classes:,} classes; set model.head.tied to false, or leave model.head out"
        )
    return encoder


def _rows_between(symbols: Tensor, start: int, end: int) -> Tensor:
    return ((symbols >= start) & (symbols < end)).nonzero().squeeze(-1)


def _widened(vectors: Tensor, projection: Tensor | None) -> Tensor:
    return vectors if projection is None else linear(vectors, projection)
