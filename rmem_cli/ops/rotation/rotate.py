"""Rotations in O(n), with finite gradients everywhere.

The README beside this file derives the formulas; `reference.py` holds the equations that they equal.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from rmem_cli.ops import autocast
from rmem_cli.ops.differentiation import recorded_gradients


class Direction(NamedTuple):
    """Where the vectors of a rotation's first argument point.

    Attributes:
        unit: `[..., n]`, of length one; zero where the vector is zero.
        nonzero: `[..., 1]`, whether the vector has a direction.
        fixed: `[..., n]`, some unit vector orthogonal to `unit`, without gradient.
    """

    unit: Tensor
    nonzero: Tensor
    fixed: Tensor


class Rotation(NamedTuple):
    """`I + u p' + w q'` with `p = versine u - w` and `q = u + k w`; vectors `[..., n]`, numbers `[..., 1]`.

    Attributes:
        u: Direction turned away from.
        w: Part of the other direction that is orthogonal to it.
        versine: Cosine of the angle, minus one.
        k: `-1 / (1 + cosine)`.
    """

    u: Tensor
    w: Tensor
    versine: Tensor
    k: Tensor

    def factors(self) -> tuple[Tensor, Tensor]:
        """Columns `[..., n, 2]` and rows `[..., 2, n]` of the matrix of rank two that is added to I."""
        p = torch.addcmul(-self.w, self.versine, self.u)
        q = torch.addcmul(self.u, self.k, self.w)
        return torch.stack([self.u, self.w], dim=-1), torch.stack([p, q], dim=-2)


@autocast.in_single_precision
def rotate(x: Tensor, y: Tensor, h: Tensor, eps: float = 1e-12) -> Tensor:
    """Turn `h` by the rotation that takes the direction of `x` to that of `y`, in O(n).

    What is orthogonal to `x` and `y` stays as it is. Where `x` or `y` is no longer than `eps`, nothing is
    turned. Opposite vectors are joined by a half turn in a fixed plane through `x`. Gradients are finite
    everywhere.

    Args:
        x: `[..., n]`, or a shape that broadcasts with the others.
        y: Likewise.
        h: Likewise.
        eps: Length up to which a vector counts as zero; in float16, 2 ** -16 where that is more.

    Source: Dangovski et al. 2019, section 3. The published code is undefined, or a projection, where the two
    vectors are parallel, opposite or zero.

    Example:
        >>> x, y = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
        >>> rotate(x, y, torch.tensor([3.0, 0.0, 5.0]))
        tensor([0., 3., 5.])
    """
    x, y, h = torch.broadcast_tensors(x, y, h)  # type: ignore[no-untyped-call]
    rotated: Tensor = Rotate.apply(*direction_of(x, eps), y, h, eps)[0]  # type: ignore[no-untyped-call]
    return rotated


@autocast.in_single_precision
def rotation_operator(x: Tensor, y: Tensor, eps: float = 1e-12) -> Tensor:
    """The matrix `[..., n, n]` of the rotation from `x` to `y`; see `rotate`."""
    x, y = torch.broadcast_tensors(x, y)  # type: ignore[no-untyped-call]
    columns, rows = rotation_of(direction_of(x, eps), y, eps).factors()
    return torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) + columns @ rows


@autocast.in_single_precision
def rotation_components(x: Tensor, y: Tensor, eps: float = 1e-12) -> tuple[Tensor, Tensor, Tensor]:
    """The plane of the rotation from `x` to `y` (`[..., n]` each), and the rotation in it.

    Returns:
        Orthonormal `u [..., n]`, the direction of `x`, and `v [..., n]`, on the side of `y`; and the matrix
        `[[cos, -sin], [sin, cos]]`, `[..., 2, 2]`. Where the two are parallel, `v` is a fixed direction
        orthogonal to `u`, without gradient (zero if n is 1); where one of them is zero, `u` and `v` are zero
        and the matrix is I.
    """
    x, y = torch.broadcast_tensors(x, y)  # type: ignore[no-untyped-call]
    direction = direction_of(x, eps)
    u, w, versine, _ = rotation_of(direction, y, eps)
    length = _norm(w.detach())
    undefined = length <= _negligible(w)
    # A norm of zero has no second derivative, even where nothing is made of it.
    sine = _norm(torch.where(undefined, 1.0, w))
    v = torch.where(undefined, direction.fixed, w / sine)
    sine = torch.where(undefined, length, sine)
    nonzero = direction.nonzero & (_norm(y) > _zero_length(y, eps))
    cosine = versine + 1
    plane = torch.cat([cosine, -sine, sine, cosine], dim=-1)
    # plane as [..., 2, 2]
    return torch.where(nonzero, u, 0.0), torch.where(nonzero, v, 0.0), plane.view(*plane.shape[:-1], 2, 2)


def direction_of(x: Tensor, eps: float) -> Direction:
    """Where the vectors `x [..., n]` point."""
    unit: Tensor = Unit.apply(x, eps)  # type: ignore[no-untyped-call]
    return Direction(unit, _norm(x.detach()) > _zero_length(x, eps), _fixed_orthogonal(unit))


def rotation_of(direction: Direction, y: Tensor, eps: float) -> Rotation:
    """The rotation from a direction to that of `y [..., n]`."""
    w, versine, k = _Plane.apply(*direction, y, eps)  # type: ignore[no-untyped-call]
    return Rotation(direction.unit, w, versine, k)


def normalized(x: Tensor, eps: float) -> Tensor:
    """`x [..., n]` over its length, or over `eps` where that is more, as in the published cell.

    A vector of zeros has no gradient. That of the published cell is 1 / `eps` there, and overflows where a
    state stays zero for a few steps, as it does at the blank beginning of an image.
    """
    length = _norm(x.detach())
    short = length < eps
    # Half of eps: a vector as long as eps has a direction here.
    unit: Tensor = Unit.apply(x, eps / 2)  # type: ignore[no-untyped-call]
    # An eps of zero is more than no length.
    return torch.where(length == 0, 0.0, torch.where(short, x / (eps or 1.0), unit))


class _PlaneParts(NamedTuple):
    """What the gradient of a rotation needs to know about it; see `_plane_backward`."""

    u: Tensor
    y: Tensor
    cosine: Tensor
    k: Tensor
    scale: Tensor
    zero: Tensor
    opposite: Tensor


def _plane(
    u: Tensor, u_nonzero: Tensor, fixed: Tensor, y: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, _PlaneParts]:
    """`w`, `versine` and `k` of the rotation from `u` to `y`."""
    norm = _norm(y)
    zero = ~u_nonzero | (norm <= _zero_length(y, eps))
    scale = norm.reciprocal_().masked_fill_(zero, 0.0)
    w, versine, k, cosine, opposite = _plane_of_units(u, y * scale, fixed, zero)
    return w, versine, k, _PlaneParts(u, y, cosine, k, scale, zero, opposite)


def _plane_of_units(
    u: Tensor, y_unit: Tensor, fixed: Tensor, zero: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`w`, `versine` and `k`, the cosine, and whether the two are opposite; `y_unit` is 0 where `zero`.

    Torch can differentiate it: no branch that is not taken divides by zero.
    """
    cosine = _dot(u, y_unit)
    # Taken away twice: once leaves rounding along u where little else is left.
    w = torch.addcmul(y_unit, cosine, u, value=-1)
    w = torch.addcmul(w, _dot(w, u), u, value=-1)
    square = _dot(w, w)
    obtuse = cosine < 0
    opposite = obtuse & (square <= _negligible(w) ** 2)
    w = torch.where(opposite, _negligible(w) * fixed, w)
    square = square.masked_fill(opposite, _negligible(w) ** 2)
    versine = (cosine - 1).masked_fill(zero, 0.0)
    k = torch.where(obtuse, versine, 1.0) / torch.where(obtuse, square, -1 - cosine)
    return w, versine, k, cosine, opposite


def _plane_recorded(u: Tensor, y: Tensor, zero: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """`w`, `versine` and `k` as torch can differentiate them."""
    y_unit = _unit_recorded(y, eps).masked_fill(zero, 0.0)
    return _plane_of_units(u, y_unit, _fixed_orthogonal(u), zero)[:3]


def _plane_backward(
    parts: _PlaneParts, w_gradient: Tensor, versine_gradient: Tensor, k_gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of `u` and `y` from those of `w` (overwritten), `versine` and `k`, without a division."""
    u, y, cosine, k, scale, zero, opposite = parts
    y_unit = y * scale
    # Where the vectors are opposite, w and k are constants.
    w_gradient = w_gradient.masked_fill_(opposite, 0.0)
    cosine_gradient = versine_gradient.masked_fill(zero, 0.0) - _dot(u, w_gradient)
    cosine_gradient.addcmul_(k_gradient.masked_fill(opposite, 0.0), k * k)
    u_gradient = torch.addcmul(cosine_gradient * y_unit, cosine, w_gradient, value=-1)
    y_unit_gradient = torch.addcmul(w_gradient, cosine_gradient, u)
    return u_gradient, _unit_backward(y_unit_gradient, y_unit, scale)


class _Plane(Function):
    """`w`, `versine` and `k` of a rotation."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, u_nonzero: Tensor, fixed: Tensor, y: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        w, versine, k, parts = _plane(u, u_nonzero, fixed, y, eps)
        ctx.save_for_backward(*parts)
        ctx.eps = eps
        return w, versine, k

    @staticmethod
    @autocast.as_it_is
    def backward(
        ctx: Any, w_gradient: Tensor, versine_gradient: Tensor, k_gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        parts = _PlaneParts(*ctx.saved_tensors)
        if torch.is_grad_enabled():
            form = partial(_plane_recorded, zero=parts.zero, eps=ctx.eps)
            of_u, of_y = recorded_gradients(
                form, (parts.u, parts.y), (w_gradient, versine_gradient, k_gradient)
            )
            return of_u, None, None, of_y, None
        u_gradient, y_gradient = _plane_backward(parts, w_gradient.clone(), versine_gradient, k_gradient)
        return u_gradient, None, None, y_gradient, None


class Rotate(Function):
    """A vector `h` turned by a rotation, and the rotation's `versine`: `h + u along_u + w along_w`."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, u_nonzero: Tensor, fixed: Tensor, y: Tensor, h: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """Apply to `u`, its `nonzero` and `fixed` of a `Direction`, and to `y` and `h`, `[..., n]`."""
        w, versine, k, parts = _plane(u, u_nonzero, fixed, y, eps)
        rotated, *along = _turned(u, w, versine, k, h)
        ctx.save_for_backward(*parts, w, versine, h, *along)
        ctx.eps = eps
        return rotated, versine

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, gradient: Tensor, versine_gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of `u`, `y` and `h`."""
        *kept, w, versine, h, uh, wh, along_u, along_w = ctx.saved_tensors
        parts = _PlaneParts(*kept)
        if torch.is_grad_enabled():
            form = partial(_rotated_recorded, zero=parts.zero, eps=ctx.eps)
            of_u, of_y, of_h = recorded_gradients(form, (parts.u, parts.y, h), (gradient, versine_gradient))
            return of_u, None, None, of_y, of_h, None
        u, k = parts.u, parts.k
        to_along_u, to_along_w = _dot(u, gradient), _dot(w, gradient)
        to_uh = torch.addcmul(to_along_w, versine, to_along_u)
        to_wh = torch.addcmul(-to_along_u, k, to_along_w)
        h_gradient = torch.addcmul(torch.addcmul(gradient, u, to_uh), w, to_wh)
        w_gradient = torch.addcmul(along_w * gradient, h, to_wh)
        u_direct = torch.addcmul(along_u * gradient, h, to_uh)
        versine_gradient = torch.addcmul(versine_gradient, uh, to_along_u)
        u_gradient, y_gradient = _plane_backward(parts, w_gradient, versine_gradient, wh * to_along_w)
        return u_gradient.add_(u_direct), None, None, y_gradient, h_gradient, None


def _turned(
    u: Tensor, w: Tensor, versine: Tensor, k: Tensor, h: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`h` turned, and what lies of it along `u` and `w`, before and as it is added."""
    uh, wh = _dot(u, h), _dot(w, h)
    along_u = torch.addcmul(-wh, versine, uh)
    along_w = torch.addcmul(uh, k, wh)
    return torch.addcmul(torch.addcmul(h, u, along_u), w, along_w), uh, wh, along_u, along_w


def _rotated_recorded(u: Tensor, y: Tensor, h: Tensor, zero: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """What `Rotate` gives, as torch can differentiate it."""
    w, versine, k = _plane_recorded(u, y, zero, eps)
    return _turned(u, w, versine, k, h)[0], versine


class Unit(Function):
    """A vector scaled to length one; zero, with zero gradient, where it is no longer than `eps`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        """Apply to `x [..., n]`."""
        norm = _norm(x)
        zero = norm <= _zero_length(x, eps)
        scale = norm.reciprocal_().masked_fill_(zero, 0.0)
        ctx.save_for_backward(x, scale)
        ctx.eps = eps
        return x * scale

    @staticmethod
    @autocast.as_it_is
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        """Gradient of `x`."""
        x, scale = ctx.saved_tensors
        if torch.is_grad_enabled():
            (of_x,) = recorded_gradients(lambda x: (_unit_recorded(x, ctx.eps),), (x,), (gradient,))
            return of_x, None
        return _unit_backward(gradient, x * scale, scale), None


def _unit_recorded(x: Tensor, eps: float) -> Tensor:
    """What `Unit` gives, as torch can differentiate it."""
    zero = _norm(x) <= _zero_length(x, eps)
    # A norm of zero has no second derivative, even where nothing is made of it.
    safe = torch.where(zero, 1.0, x)
    return (safe / _norm(safe)).masked_fill(zero, 0.0)


def _unit_backward(gradient: Tensor, unit: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(gradient, _dot(unit, gradient), unit, value=-1).mul_(scale)


def _zero_length(x: Tensor, eps: float) -> float:
    """Length up to which a vector counts as zero: `eps`, or, in float16, what has no finite reciprocal."""
    return max(eps, 1 / torch.finfo(x.dtype).max)


def _negligible(w: Tensor) -> float:
    """Length at which the part of one unit vector orthogonal to another is rounding, without a direction."""
    return 16 * torch.finfo(w.dtype).eps


@torch.no_grad()
def _fixed_orthogonal(u: Tensor) -> Tensor:
    """A unit vector orthogonal to `u`, from the axis it is least aligned with; zero if it has but one."""
    axis = u.abs().argmin(dim=-1, keepdim=True)
    along = u.gather(-1, axis)
    v = torch.zeros_like(u).scatter(-1, axis, 1.0) - along * u
    norm = _norm(v)
    return (v / norm).masked_fill_(norm <= _negligible(v), 0.0)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    dot: Tensor = torch.linalg.vecdot(a, b)
    return dot.unsqueeze(-1)


def _norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm
