"""What modules that are called by others' programs say about the shapes that they get."""

from numbers import Integral

from torch import Tensor

from rmem_cli.recipe.messages import describe


def check_width(width: int) -> None:
    """Make sure that a module can be made for inputs of this width, its `input_size`.

    Raises:
        ValueError: It is no whole number above 0.
    """
    if not isinstance(width, Integral) or isinstance(width, bool) or width < 1:
        raise ValueError(f"input_size must be a whole number above 0, not {describe(width)}")


def check_inputs(x: Tensor, width: int | None, *forms: str) -> None:
    """Make sure that inputs have the shape that a module reads.

    Args:
        x: They.
        width: Their last size; None: any.
        forms: The shapes that there are, such as `[batch, time, {}]`, with braces for the width.

    Raises:
        ValueError: They have none of these.
    """
    sizes = {form.count(",") + 1 for form in forms}
    if x.dim() not in sizes or width not in (None, x.shape[-1]):
        shapes = " or ".join(form.format("input_size" if width is None else width) for form in forms)
        raise ValueError(f"the inputs are {list(x.shape)}; they must be {shapes}")
