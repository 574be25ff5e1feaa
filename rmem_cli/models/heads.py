"""From the outputs of a core to losses and predictions."""

from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.config import LinearHeadSettings


class LinearHead(nn.Module):
    """A linear map to one logit for each class.

    Args:
        input_size: Width of the core's outputs.
        classes: How many classes there are.
        initializer: Of the kernel: `uniform` (torch's own), `xavier` or `orthogonal`.
        bias_initial: First value of the biases; None keeps torch's own initialisation.
    """

    def __init__(
        self,
        input_size: int,
        classes: int,
        initializer: str = "uniform",
        bias_initial: float | None = None,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, classes)
        if initializer == "xavier":
            nn.init.xavier_uniform_(self.linear.weight)
        elif initializer == "orthogonal":
            nn.init.orthogonal_(self.linear.weight)
        if bias_initial is not None:
            nn.init.constant_(self.linear.bias, bias_initial)

    @classmethod
    def from_settings(cls, settings: LinearHeadSettings, input_size: int, classes: int) -> "LinearHead":
        """The head that a recipe describes."""
        return cls(input_size, classes, settings.initializer, settings.bias_initial)

    def logits(self, y: Tensor) -> Tensor:
        """`[..., input_size]` to `[..., classes]`."""
        logits: Tensor = self.linear(y)
        return logits

    def nll(self, y: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood in nats: `[..., input_size]` and targets `[...]` to `[...]`."""
        logits = self.logits(y)
        losses = functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
        return losses.view(targets.shape)
