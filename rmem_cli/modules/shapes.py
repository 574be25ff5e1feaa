"""What modules that are called by others' programs say about the shapes that they get."""

from numbers import Integral

import torch
from torch import Tensor

from rmem_cli.recipe.messages import describe


def check_width(width: int) -> None:
    """Make sure that a module can be made for inputs of this width, its `input_size`.

    Raises:
        ValueError: It is no whole number from 0 on, for a module that reads nothing.
    """
    if not isinstance(width, Integral) or isinstance(width, bool) or width < 0:
        raise ValueError(f"input_size must be a whole number from 0 on, not {describe(width)}")


def check_inputs(x: Tensor, width: int | None, *forms: str) -> None:
    """Make sure that inputs have the shape that a module reads.

    Args:
        x: They.
        width: Their last size; None: any.
        forms: The shapes that there are, such as `[batch, time, {}]`, with braces for the width.

    Raises:
        ValueError: They have none of these, or there is no step.
    """
    sizes = {form.count(",") + 1 for form in forms}
    if x.dim() not in sizes or width not in (None, x.shape[-1]):
        shapes = " or ".join(form.format("input_size" if width is None else width) for form in forms)
        raise ValueError(f"the inputs are {list(x.shape)}; they must be {shapes}")
    form = next(form for form in forms if form.count(",") + 1 == x.dim())
    names = form[form.index("[") + 1 :].split(", ")
    if "time" in names and x.shape[names.index("time")] == 0:
        raise ValueError(f"the inputs are {list(x.shape)}; there must be a step at least")


def check_lengths(lengths: Tensor, rows: int, time: int) -> None:
    """Make sure that each row has a length that it can have.

    Values on a GPU, where a look at them would wait, and those of a captured graph are not looked at.

    Raises:
        ValueError: There is not one for each row, or one for all, of whole numbers from 0 to the time.
    """
    whole = not (lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool)
    if lengths.shape not in ((rows,), (1,)) or not whole:
        raise ValueError(
            f"lengths are {list(lengths.shape)} of {lengths.dtype}; they must be [{rows}], whole numbers"
        )
    if lengths.device.type != "cpu" or torch.compiler.is_compiling() or not len(lengths):
        return
    least, most = int(lengths.min()), int(lengths.max())
    if least < 0 or most > time:
        raise ValueError(f"lengths go from {least} to {most}; the inputs have from 0 to {time} steps")
