"""What models that are called by others' programs say about what they get: shapes, lengths and symbols."""

from numbers import Integral

import torch
from torch import Tensor

from rmem_cli.ops import autocast
from rmem_cli.recipe.messages import describe


def check_width(width: int) -> None:
    """Make sure that a module can be made for inputs of this width, its `input_size`.

    Raises:
        ValueError: It is no whole number from 0 on, for a module that reads nothing.
    """
    check_count("input_size", width)


def check_count(name: str, count: int, least: int = 0) -> None:
    """Make sure that an argument is a number of things.

    Raises:
        ValueError: It is no whole number, or less than it can be.
    """
    if not isinstance(count, Integral) or isinstance(count, bool) or count < least:
        raise ValueError(f"{name} must be a whole number from {least} on, not {describe(count)}")


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
    names = form[form.index("[") + 1 : -1].split(", ")
    if "time" in names and x.shape[names.index("time")] == 0:
        raise ValueError(f"the inputs are {list(x.shape)}; there must be a step at least")


def check_type(x: Tensor, weight: Tensor, name: str) -> None:
    """Make sure that what a module reads has the type of its weights; autocast takes care of that itself.

    Raises:
        ValueError: It has another; the sentence begins with the name, such as `the inputs are`.
    """
    if x.dtype != weight.dtype and not autocast.enabled(x.device.type):
        raise ValueError(f"{name} of {x.dtype}, and the weights of {weight.dtype}; convert one of them")


def check_lengths(lengths: Tensor, rows: int, time: int) -> None:
    """Make sure that each row has a length that it can have.

    Values on a GPU, where a look at them would wait, and those of a captured graph are not looked at.

    Raises:
        TypeError: They are no tensor.
        ValueError: There is not one for each row, or one for all, of whole numbers from 0 to the time.
    """
    if not isinstance(lengths, Tensor):
        raise TypeError(f"lengths are of type {type(lengths).__name__}; they must be a tensor [{rows}]")
    if lengths.shape not in ((rows,), (1,)) or not _is_whole(lengths):
        raise ValueError(
            f"lengths are {list(lengths.shape)} of {lengths.dtype}; they must be [{rows}], whole numbers"
        )
    least, most = _bounds(lengths) or (0, time)
    if least < 0 or most > time:
        raise ValueError(f"lengths go from {least} to {most}; the inputs have from 0 to {time} steps")


def check_symbols(symbols: Tensor, count: int, least: int = 0, name: str = "symbols") -> None:
    """Make sure that a model knows all symbols that it is given.

    Values on a GPU, where a look at them would wait, and those of a captured graph are not looked at.

    Args:
        symbols: They, in any shape.
        count: How many it knows, from 0 on.
        least: -1 where this stands for no symbol.
        name: What they are called.

    Raises:
        ValueError: It does not, or they are no whole numbers.
    """
    if not _is_whole(symbols):
        raise ValueError(f"{name} are of {symbols.dtype}; they must be whole numbers")
    lowest, highest = _bounds(symbols) or (least, least)
    if lowest < least or highest >= count:
        raise ValueError(f"{name} go from {lowest} to {highest}; there are those from {least} to {count - 1}")


def _is_whole(numbers: Tensor) -> bool:
    return not (numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool)


def _bounds(numbers: Tensor) -> tuple[int, int] | None:
    """The least and the largest of whole numbers, if there are some that may be looked at."""
    if numbers.device.type != "cpu" or torch.compiler.is_compiling() or not numbers.numel():
        return None
    return int(numbers.min()), int(numbers.max())
