"""The rotational unit of memory as it runs: O(N) rotations, finite gradients everywhere.

The README beside this file derives the formulas; `reference.py` holds the equations that they equal.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rmem_cli.ops.rotation.options import ACTIVATIONS, RUMOptions, RUMResult, RUMWeights, layer_norm

# Associative memories kept for the backward pass above which most are computed again instead.
_KEPT_MEMORY_BYTES = 64 * 2**20


class _Rotation(NamedTuple):
    """`I + u p' + w q'`, a rotation of cosine `cosine [..., 1]`; the vectors are `[..., n]`."""

    u: Tensor
    w: Tensor
    p: Tensor
    q: Tensor
    cosine: Tensor

    def apply(self, h: Tensor) -> Tensor:
        return torch.addcmul(torch.addcmul(h, self.u, _dot(self.p, h)), self.w, _dot(self.q, h))


def rotate(x: Tensor, y: Tensor, h: Tensor, eps: float = 1e-12) -> Tensor:
    """Turn `h` by the rotation that takes the direction of `x` to that of `y`, in O(n).

    What is orthogonal to `x` and `y` stays as it is. Where `x` or `y` is no longer than `eps`, nothing is
    turned. Opposite vectors are joined by a half turn in a fixed plane through `x`. Gradients are finite
    everywhere.

    Args:
        x: `[..., n]`.
        y: `[..., n]`.
        h: `[..., n]`.
        eps: Length up to which a vector counts as zero.

    Source: Dangovski et al. 2019, section 3. The published code is undefined, or a projection, where the two
    vectors are parallel, opposite or zero.

    Example:
        >>> x, y = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
        >>> rotate(x, y, torch.tensor([3.0, 0.0, 5.0]))
        tensor([0., 3., 5.])
    """
    return _rotation(x, y, eps).apply(h)


def rotation_operator(x: Tensor, y: Tensor, eps: float = 1e-12) -> Tensor:
    """The matrix `[..., n, n]` of the rotation from `x` to `y`; see `rotate`."""
    rotation = _rotation(x, y, eps)
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    columns = torch.stack([rotation.u, rotation.w], dim=-1)
    rows = torch.stack([rotation.p, rotation.q], dim=-2)
    return identity + columns @ rows


def rotation_components(x: Tensor, y: Tensor, eps: float = 1e-12) -> tuple[Tensor, Tensor, Tensor]:
    """The plane of the rotation from `x` to `y` (`[..., n]` each), and the rotation in it.

    Returns:
        Orthonormal `u [..., n]`, the direction of `x`, and `v [..., n]`, on the side of `y`; and the matrix
        `[[cos, -sin], [sin, cos]]`, `[..., 2, 2]`. Where the two are parallel, `v` is a fixed direction
        orthogonal to `u`, without gradient; where one of them is zero, `u` and `v` are zero and the matrix
        is I.
    """
    u, y_unit, nonzero = _unit_pair(x, y, eps)
    cosine = _dot(u, y_unit)
    w = _orthogonal_part(y_unit, u, cosine)
    sine = torch.where(nonzero, _norm(w), 0.0)
    undefined = sine <= _negligible(w)
    safe_sine = torch.where(undefined, 1.0, sine)
    v = torch.where(nonzero, torch.where(undefined, _fixed_orthogonal(u), w / safe_sine), 0.0)
    cosine = torch.where(nonzero, cosine, 1.0)
    rows = torch.cat([cosine, -sine, sine, cosine], dim=-1)
    return u, v, rows.view(*rows.shape[:-1], 2, 2)


def rum(
    x: Tensor,
    hidden: Tensor,
    memory: Tensor | None,
    weights: RUMWeights,
    options: RUMOptions,
    keep: Tensor | None = None,
    active: Tensor | None = None,
) -> RUMResult:
    """One layer over a sequence; arguments and result are those of `reference.rum`."""
    projected, embedded = _project(x, weights)
    if active is not None:
        embedded = active * embedded  # the rotation from a zero vector is the identity
        keep = active if keep is None else active * keep
    step = _Step(weights, options)
    if memory is None:
        outputs, hidden, cosines = _without_memory(step, projected, embedded, keep, hidden)
    else:
        outputs, hidden, memory, cosines = _with_memory(step, projected, embedded, keep, hidden, memory)
    return RUMResult(torch.stack(outputs, dim=1), hidden, memory, torch.cat(cosines, dim=1))


def _project(x: Tensor, weights: RUMWeights) -> tuple[Tensor, Tensor]:
    """What the inputs contribute to targets and gates, and the embedded inputs: one product for all steps."""
    inputs = x.shape[-1]
    size = weights.target.kernel.shape[1]
    gate = [] if weights.gate is None else [weights.gate]
    maps = [weights.target, *gate, weights.embedding]
    kernel = torch.cat([each.kernel[:inputs] for each in maps], dim=1)
    bias = torch.cat([x.new_zeros(size) if each.bias is None else each.bias for each in maps])
    joined = x @ kernel + bias
    return joined[..., :-size], joined[..., -size:]


class _Step:
    """What every step of one sequence does around the rotation."""

    def __init__(self, weights: RUMWeights, options: RUMOptions) -> None:
        self.options = options
        self.size = weights.target.kernel.shape[1]
        self.layer_norm = weights.layer_norm
        self.activation = ACTIVATIONS[options.activation]
        self.gated = weights.gate is not None
        maps = [weights.target] if weights.gate is None else [weights.target, weights.gate]
        self.kernel = torch.cat([each.kernel[-self.size :] for each in maps], dim=1)

    def target_and_gate(self, projected: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        joined = torch.addmm(projected, hidden, self.kernel)
        target = joined[:, : self.size]
        if self.layer_norm is not None:
            target = layer_norm(target, self.layer_norm.target_gain, self.layer_norm.target_bias)
        return target, self._gate(joined[:, self.size :]) if self.gated else None

    def _gate(self, gate: Tensor) -> Tensor:
        if self.layer_norm is None:
            return torch.sigmoid(gate)
        gain, bias = self.layer_norm.gate_gain, self.layer_norm.gate_bias
        if self.options.layer_norm == "after_gate":
            return layer_norm(torch.sigmoid(gate), gain, bias)
        return torch.sigmoid(layer_norm(gate, gain, bias))

    def new_hidden(
        self, hidden: Tensor, embedded: Tensor, rotated: Tensor, gate: Tensor | None, keep: Tensor | None
    ) -> Tensor:
        candidate = embedded + rotated
        if self.layer_norm is not None:
            candidate = layer_norm(candidate, self.layer_norm.candidate_gain, self.layer_norm.candidate_bias)
        new = self.activation(candidate)
        if gate is not None:
            new = torch.lerp(new, hidden, gate)
        if self.options.eta is not None:
            new = self.options.eta * _unit(new, self.options.eps)
        return new if keep is None else torch.lerp(hidden, new, keep)


def _without_memory(
    step: _Step, projected: Tensor, embedded: Tensor, keep: Tensor | None, hidden: Tensor
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    outputs, cosines = [], []
    for projected_t, e, keep_t in _steps(projected, embedded, keep):
        target, gate = step.target_and_gate(projected_t, hidden)
        rotation = _rotation(e, target, step.options.eps)
        hidden = step.new_hidden(hidden, e, rotation.apply(hidden), gate, keep_t)
        outputs.append(hidden)
        cosines.append(rotation.cosine)
    return outputs, hidden, cosines


def _with_memory(
    step: _Step, projected: Tensor, embedded: Tensor, keep: Tensor | None, hidden: Tensor, memory: Tensor
) -> tuple[list[Tensor], Tensor, Tensor, list[Tensor]]:
    """Lambda 1, in pieces: of the memories inside a piece only the first outlives the forward pass."""
    outputs: list[Tensor] = []
    cosines: list[Tensor] = []
    time = embedded.shape[1]
    run = _recomputed if _is_large(memory, time) else _memory_steps
    piece = math.isqrt(time - 1) + 1 if run is _recomputed else time
    for start in range(0, time, piece):
        part = slice(start, start + piece)
        keep_part = None if keep is None else keep[:, part]
        new_outputs, hidden, memory, new_cosines = run(
            step, projected[:, part], embedded[:, part], keep_part, hidden, memory
        )
        outputs += new_outputs
        cosines += new_cosines
    return outputs, hidden, memory, cosines


def _is_large(memory: Tensor, time: int) -> bool:
    return torch.is_grad_enabled() and time * memory.numel() * memory.element_size() > _KEPT_MEMORY_BYTES


_MemorySteps = tuple[list[Tensor], Tensor, Tensor, list[Tensor]]


def _recomputed(
    step: _Step, projected: Tensor, embedded: Tensor, keep: Tensor | None, hidden: Tensor, memory: Tensor
) -> _MemorySteps:
    arguments = (step, projected, embedded, keep, hidden, memory)
    # Nothing is drawn at random inside, so there is no random state to restore.
    result: _MemorySteps = checkpoint(
        _memory_steps, *arguments, use_reentrant=False, preserve_rng_state=False
    )
    return result


def _memory_steps(
    step: _Step, projected: Tensor, embedded: Tensor, keep: Tensor | None, hidden: Tensor, memory: Tensor
) -> _MemorySteps:
    outputs, cosines = [], []
    for projected_t, e, keep_t in _steps(projected, embedded, keep):
        target, gate = step.target_and_gate(projected_t, hidden)
        rotation = _rotation(e, target, step.options.eps)
        columns = torch.stack([rotation.u, rotation.w, rotation.apply(hidden)], dim=-1)
        products = memory @ columns
        memory = torch.baddbmm(memory, products[..., :2], torch.stack([rotation.p, rotation.q], dim=-2))
        hidden = step.new_hidden(hidden, e, products[..., 2], gate, keep_t)
        outputs.append(hidden)
        cosines.append(rotation.cosine)
    return outputs, hidden, memory, cosines


def _steps(
    projected: Tensor, embedded: Tensor, keep: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    keeps = [None] * embedded.shape[1] if keep is None else keep.unbind(1)
    return zip(projected.unbind(1), embedded.unbind(1), keeps, strict=True)


def _rotation(x: Tensor, y: Tensor, eps: float) -> _Rotation:
    u, y_unit, _ = _unit_pair(x, y, eps)
    cosine = _dot(u, y_unit)
    w = _orthogonal_part(y_unit, u, cosine)
    acute = cosine >= 0
    opposite = ~acute & (_dot(w, w) <= _negligible(w) ** 2)
    w = torch.where(opposite, _negligible(w) * _fixed_orthogonal(u), w)
    k = torch.where(acute, -1.0, cosine - 1) / torch.where(acute, 1 + cosine, _dot(w, w))
    return _Rotation(u, w, (cosine - 1) * u - w, torch.addcmul(u, k, w), cosine)


def _unit_pair(x: Tensor, y: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Directions of both vectors, and whether they have one; both are zero unless both have."""
    x_norm = _norm(x)
    y_norm = _norm(y)
    nonzero = (x_norm > eps) & (y_norm > eps)
    return _divided(x, x_norm, nonzero), _divided(y, y_norm, nonzero), nonzero


def _unit(x: Tensor, eps: float) -> Tensor:
    norm = _norm(x)
    return _divided(x, norm, norm > eps)


def _divided(x: Tensor, norm: Tensor, nonzero: Tensor) -> Tensor:
    """`x / norm`, or zero with zero gradient."""
    return torch.where(nonzero, x / torch.where(nonzero, norm, 1.0), 0.0)


def _orthogonal_part(y: Tensor, u: Tensor, cosine: Tensor) -> Tensor:
    """`y` without its part along `u`; taken away twice, since once leaves rounding if little is left."""
    w = torch.addcmul(y, cosine, u, value=-1)
    return torch.addcmul(w, _dot(w, u), u, value=-1)


def _negligible(w: Tensor) -> float:
    """Length at which the part of one unit vector orthogonal to another is rounding, without a direction."""
    return 16 * torch.finfo(w.dtype).eps


@torch.no_grad()
def _fixed_orthogonal(u: Tensor) -> Tensor:
    """A unit vector orthogonal to `u`: from the axis that `u` is least aligned with."""
    axis = u.abs().argmin(dim=-1, keepdim=True)
    along = u.gather(-1, axis)
    v = torch.zeros_like(u).scatter(-1, axis, 1.0) - along * u
    return v / _norm(v).clamp_min(torch.finfo(u.dtype).tiny)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    dot: Tensor = torch.linalg.vecdot(a, b)
    return dot.unsqueeze(-1)


def _norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm
