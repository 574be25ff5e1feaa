"""What modules that are called by others' programs say about the shapes that they get."""

from torch import Tensor


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
