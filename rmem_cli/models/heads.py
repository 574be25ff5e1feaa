"""From the outputs of a core to losses and predictions."""

from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.config import LinearHeadSettings, RegressionSettings
from rmem_cli.models.initializers import orthogonal_
from rmem_cli.ops.product.dispatch import Linear


class LinearHead(nn.Module):
    """A linear map to one logit for each class, with or without a hidden layer before it.

    Args:
        input_size: Width of the core's outputs.
        classes: How many classes there are.
        hidden_size: Units of a layer of rectified linear units before the logits; None: no such layer.
        initializer: Of the kernel: `uniform` (torch's own), `xavier` or `orthogonal`.
        bias_initial: First value of the biases; None keeps torch's own initialisation.
        dropout: Probability of dropping a unit of the hidden layer, in training.
    """

    predicts: ClassVar[Literal["classes", "numbers"]] = "classes"

    def __init__(
        self,
        input_size: int,
        classes: int,
        initializer: str = "uniform",
        bias_initial: float | None = None,
        *,
        hidden_size: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.hidden = None if hidden_size is None else Linear(input_size, hidden_size)
        self.linear = Linear(hidden_size or input_size, classes)
        if initializer == "xavier":
            nn.init.xavier_uniform_(self.linear.weight)
        elif initializer == "orthogonal":
            orthogonal_(self.linear.weight)
        if bias_initial is not None:
            nn.init.constant_(self.linear.bias, bias_initial)

    @classmethod
    def from_settings(
        cls, settings: LinearHeadSettings, input_size: int, classes: int, encoder: nn.Module
    ) -> "LinearHead":
        """The head that a recipe describes."""
        del encoder  # it shares nothing with it
        return cls(
            input_size,
            classes,
            settings.initializer,
            settings.bias_initial,
            hidden_size=settings.hidden_size,
            dropout=settings.dropout,
        )

    def logits(self, y: Tensor) -> Tensor:
        """`[..., input_size]` to `[..., classes]`."""
        if self.hidden is not None:
            y = functional.dropout(functional.relu(self.hidden(y)), self.dropout, self.training)
        logits: Tensor = self.linear(y)
        return logits

    def nll(self, y: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood in nats: `[..., input_size]` and targets `[...]` to `[...]`."""
        logits = self.logits(y)
        losses = functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
        return losses.view(targets.shape)


class Regression(nn.Module):
    """A linear map to one number.

    Args:
        input_size: Width of the core's outputs.
    """

    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.linear = Linear(input_size, 1)

    @classmethod
    def from_settings(
        cls, settings: RegressionSettings, input_size: int, classes: int, encoder: nn.Module
    ) -> "Regression":
        """The head that a recipe describes."""
        del settings, classes, encoder  # there is one number, and nothing to choose
        return cls(input_size)

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
