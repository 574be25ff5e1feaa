"""The learning curve of a run as TensorBoard shows it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmem_cli.errors import UsageError
from rmem_cli.records.curve import CurveFile
from rmem_cli.records.files import written


class TensorBoardCurveFile(CurveFile):
    """A learning curve whose values are events for TensorBoard, too, in the folder `tensorboard` beside it.

    Args:
        path: The CSV file.

    Raises:
        UsageError: TensorBoard is not installed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._events = path.parent / "tensorboard"
        self._writer: Any = None
        _summary_writer()

    def append(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """See `CurveFile.append`."""
        super().append(step, split, metrics)
        with written(self._events):
            for name, value in metrics.items():
                self._writer.add_scalar(f"{split}/{name}", value, step)
            self._writer.flush()

    def truncate_after(self, step: int) -> None:
        """See `CurveFile.truncate_after`; TensorBoard hides the events after the step."""
        super().truncate_after(step)
        with written(self._events):
            self._writer = _summary_writer()(str(self._events), purge_step=step + 1)


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "--tensorboard needs TensorBoard, which is not installed: pip install 'rmem[tensorboard]'"
        ) from error
    return SummaryWriter
