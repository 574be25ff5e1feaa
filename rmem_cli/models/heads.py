"""From the outputs of a core to losses and predictions."""

from typing import ClassVar, Literal, Protocol

from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.config import LinearHeadSettings, RegressionSettings
from rmem_cli.models.initializers import orthogonal_
from rmem_cli.ops.product.dispatch import Linear


class Head(Protocol):
    """Outputs of a read-out to losses and predictions; `predicts` says of what."""

    predicts: ClassVar[Literal["classes", "numbers"]]

    def nll(self, y: Tensor, targets: Tensor, /) -> Tensor:
        """Loss of each position: `[..., input_size]` and targets `[...]` to `[...]`."""
        ...

    def logits(self, y: Tensor, /) -> Tensor:
        """`[..., input_size]` to `[..., classes]`; a `TypeError` where numbers are predicted."""
        ...


class LinearHead(nn.Module):
    """A linear map to one logit for each class, with or without a hidden layer before it.

    Args:
        input_size: Width of the core's outputs.
        classes: How many classes there are.
        settings: All options.
        encoder: Of the model; it shares nothing with it.
    """

    predicts: ClassVar[Literal["classes", "numbers"]] = "classes"

    def __init__(
        self, input_size: int, classes: int, settings: LinearHeadSettings, encoder: nn.Module | None = None
    ) -> None:
        super().__init__()
        del encoder
        hidden_size = settings.hidden_size
        self.dropout = settings.dropout
        self.hidden = None if hidden_size is None else Linear(input_size, hidden_size)
        self.linear = Linear(hidden_size or input_size, classes)
        if settings.initializer == "xavier":
            nn.init.xavier_uniform_(self.linear.weight)
        elif settings.initializer == "orthogonal":
            orthogonal_(self.linear.weight)
        if settings.bias_initial is not None:
            nn.init.constant_(self.linear.bias, settings.bias_initial)

    def logits(self, y: Tensor) -> Tensor:
        """`[..., input_size]` to `[..., classes]`."""
        if self.hidden is not None:
            y = functional.dropout(functional.relu(self.hidden(y)), self.dropout, self.training)
        logits: Tensor = self.linear(y)
        return logits

    def nll(self, y: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood in nats: `[..., input_size]` and targets `[...]` to `[...]`."""
        logits = self.logits(y)
        # [positions]
        losses = functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
        return losses.view(targets.shape)  # [...]


class Regression(nn.Module):
    """A linear map to one number.

    Args:
        input_size: Width of the core's outputs.
        classes: 1, for there is one number.
        settings: Nothing but the kind.
        encoder: Of the model; it shares nothing with it.
    """

    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"

    def __init__(
        self, input_size: int, classes: int, settings: RegressionSettings, encoder: nn.Module | None = None
    ) -> None:
        super().__init__()
        del classes, settings, encoder
        self.linear = Linear(input_size, 1)

    def prediction(self, y: Tensor) -> Tensor:
        """`[..., input_size]` to `[...]`."""
        prediction: Tensor = self.linear(y).squeeze(-1)
        return prediction

    def logits(self, y: Tensor) -> Tensor:  # noqa: ARG002 - nothing to compute
        """There are none.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a head that predicts numbers has no logits")

    def nll(self, y: Tensor, targets: Tensor) -> Tensor:
        """Squared error in place of a negative log-likelihood: `[..., input_size]`, `[...]` to `[...]`."""
        return (self.prediction(y) - targets).square()
