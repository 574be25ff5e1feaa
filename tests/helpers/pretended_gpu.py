"""A GPU that is none: its tensors lie in the CPU's memory, where what is asked of them is computed.

It refuses what GPUs refuse, an operation on tensors of which some are on the CPU, and, as Apple's do, numbers
in double precision. It notes what makes a program wait for a GPU: a number that is read from it, a result
whose size depends on its numbers, and a copy from memory that is not pinned. What its own kernels give, how
fast they are and whether its memory is enough it cannot tell.

Tensors without values (`tests/training/test_no_hidden_reads.py`) show less, of more: that no number is read,
of each core by each form of back-propagation. No copy shows on them, and a cache is taken to be full.

As it registers a kind of device, it is meant for a process of its own: `python pretended_gpu.py` tells, as
JSON, how training and evaluation by recipes fare on it beside the CPU.
"""

import json
import sys
from collections import Counter
from contextlib import contextmanager
from itertools import islice
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

aten = torch.ops.aten
NAME = "pretended"
_WAITS = {
    aten._local_scalar_dense.default,
    aten._unique2.default,
    aten.bincount.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten.unique_dim.default,
}
# Torch copies an index of the CPU itself.
_INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
# Torch wants lengths on the CPU.
_PACKED = {aten._pack_padded_sequence.default, aten._pack_padded_sequence_backward.default}
_RECURRENT = {"gru", "lstm", "rnn_relu", "rnn_tanh"}


class OnDevice(torch.Tensor):
    """A tensor of the pretended GPU, and the tensor of the CPU that it holds."""

    @staticmethod
    def __new__(cls, held):
        if held.dtype == torch.float64:
            raise TypeError(f"a tensor {tuple(held.shape)} in double precision")
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} where there is no pretended GPU")


def _held(value):
    if isinstance(value, OnDevice):
        return value.held
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


class PretendedGPU(TorchDispatchMode):
    """Inside, there is a device called `pretended`.

    Attributes:
        waits: The modules that made a program wait for it, with what, and how often.
    """

    def __init__(self):
        super().__init__()
        self.waits = Counter()
        self._is_pinned = False

    @contextmanager
    def pinned(self):
        """Inside, what is copied to it lies in pinned memory."""
        self._is_pinned = True
        try:
            yield
        finally:
            self._is_pinned = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves, structure = tree_flatten((args, kwargs))
        ours = [each for each in leaves if isinstance(each, OnDevice)]
        wanted = kwargs.get("device")
        stays = wanted is None or torch.device(wanted).type == NAME
        if not ours and (wanted is None or not stays):
            return func(*args, **kwargs)
        if func is aten.copy_.default:
            stays = isinstance(args[0], OnDevice)
        self._note(func, args, leaves, ours, stays, is_meta=str(wanted) == "meta")
        there, named = tree_unflatten([_held(each) for each in leaves], structure)
        given = func(*there, **named)
        if not stays:
            return args[0] if func is aten.copy_.default else given
        if func is aten._pack_padded_sequence.default:
            return OnDevice(given[0]), given[1]
        known = {id(each.held): each for each in ours}  # what is changed in place stays the tensor it was
        return tree_map(
            lambda each: known.get(id(each), OnDevice(each)) if isinstance(each, torch.Tensor) else each,
            given,
        )

    def _note(self, func, args, leaves, ours, stays, is_meta):
        """What makes a program wait.

        Raises:
            RuntimeError: Some tensors are on the CPU.
        """
        others = [
            each for each in leaves if isinstance(each, torch.Tensor) and not isinstance(each, OnDevice)
        ]
        if func in (aten._to_copy.default, aten.copy_.default):
            if not stays and not is_meta:
                self._wait("copy to the CPU")
            elif stays and others and not self._is_pinned:
                self._wait("copy from the CPU")
        elif ours and any(each.dim() > 0 for each in others) and func not in _PACKED:
            if func not in _INDEXED:
                shapes = [tuple(each.shape) for each in ours], [tuple(each.shape) for each in others]
                raise RuntimeError(f"{func} of tensors of the GPU {shapes[0]} and of the CPU {shapes[1]}")
            self._wait("copy from the CPU")
        is_masked = func is aten.index.Tensor and any(
            isinstance(each, torch.Tensor) and each.dtype == torch.bool for each in args[1]
        )
        if func in _WAITS or is_masked:
            self._wait(str(func))

    def _wait(self, what):
        frame = sys._getframe(1)
        while frame is not None and "rmem_cli" not in frame.f_code.co_filename:
            frame = frame.f_back
        where = "backward" if frame is None else frame.f_code.co_filename.rpartition("rmem_cli/")[2]
        self.waits[f"{where}: {what}"] += 1


class _TorchsOwn(TorchFunctionMode):
    """What goes past a dispatch mode: numbers made into tensors, and torch's recurrent networks as one."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func is torch.tensor and device is not None and torch.device(device).type == NAME:
            return torch.tensor(*args, **(kwargs | {"device": "cpu"})).to(device)
        if func is torch.Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].cpu().tolist()
        leaves, structure = tree_flatten(args)
        places = [place for place, each in enumerate(leaves) if isinstance(each, OnDevice)]
        if getattr(func, "__name__", "") not in _RECURRENT or not places:
            return func(*args, **kwargs)

        def call(held):
            for place, each in zip(places, held, strict=True):
                leaves[place] = each
            return func(*tree_unflatten(leaves, structure), **kwargs)

        return _Recurrent.apply(call, *[leaves[place] for place in places])


class _Recurrent(torch.autograd.Function):
    @staticmethod
    def forward(ctx, call, *tensors):
        with torch._C._DisableTorchDispatch(), torch.enable_grad():
            ctx.given = [each.held.detach().requires_grad_() for each in tensors]
            ctx.found = call(ctx.given)
        return tuple(OnDevice(each.detach()) for each in ctx.found)

    @staticmethod
    def backward(ctx, *gradients):
        with torch._C._DisableTorchDispatch():
            asked = [each.held for each in gradients]
            found = torch.autograd.grad(ctx.found, ctx.given, asked, allow_unused=True)
        return None, *(None if each is None else OnDevice(each) for each in found)


def _trained(run, device, steps=2):
    """The losses of some training steps and metrics of what was trained, and what made the last step wait."""
    from rmem_cli.models.batch import Batch
    from rmem_cli.training.loop import Training
    from rmem_cli.training.stages import stage_at

    to, gpu = Batch.to, PretendedGPU()

    def pinned(batch, *where):
        with gpu.pinned():
            return to(batch, *where)

    losses = []
    with patch.object(Batch, "to", pinned), _TorchsOwn(), gpu:
        training = Training(run.settings, 1, run.stages, run.seeded_model(device), None)
        training.model.train()
        for step in range(steps):
            stage = stage_at(training.stages, step)
            batch = stage.task.training_batch(step, training.train.batch_size, 1).of_type(training.dtype)
            gpu.waits.clear()
            gradients = training._gradient(batch, step)
            waits = dict(gpu.waits)
            training.optimizer.step()
            losses.append(sum(each.loss for each in gradients))
        return {"losses": losses, "metrics": _metrics(run, training.model), "waits": waits}


def _metrics(run, model, batches=2):
    """Of the run's first evaluation that asks for no summaries, over its first batches."""
    from rmem_cli.evaluation.evaluate import evaluate

    protocols = [each.protocol for each in run.measurements if each.protocol.summaries is None]
    if not protocols:
        return []
    asked, all_batches = protocols[0], run.task.evaluation_batches
    with patch.object(run.task, "evaluation_batches", lambda *about: islice(all_batches(*about), batches)):
        how = asked.split, asked.examples, asked.batch_size or 2, 1, asked.feed, asked.metrics
        sums = evaluate(model, run.task, *how, drawn=asked.examples_drawn)
    return [sums.metric(name) for name in asked.metrics]


def _told(spec):
    from rmem_cli.errors import RmemError
    from rmem_cli.runs.opened import open_run

    try:
        run = open_run(spec)
    except RmemError as error:
        return {"refused": str(error)}
    try:
        return {"on_gpu": _trained(run, torch.device(NAME, 0)), "on_cpu": _trained(run, torch.device("cpu"))}
    except Exception as error:  # whatever it is, it is told of its row
        return {"error": f"{type(error).__name__}: {error}"}


def _specs(names):
    """A run of each kind of row, without what is dropped by chance: other forms draw otherwise."""
    from rmem_cli.recipe import load_recipe

    seen = set()
    for name in names:
        recipe = load_recipe(name)
        for spec in recipe.runs("smoke", seeds=[1]):
            model, train = spec.settings.model, spec.settings.train
            parts = {"core": model.core, "encoder": model.encoder, "head": model.head}
            others = train.backprop, spec.settings.task
            kinds = model.architecture, *(getattr(each, "kind", None) for each in (*parts.values(), *others))
            if kinds not in seen:
                seen.add(kinds)
                fields = [f"{part}.{field}" for part, each in parts.items() for field in dict(each or ())]
                by_chance = [field for field in fields if field.endswith(("dropout", "zoneout"))]
                sets = [f"model.{field}=0" for field in by_chance]
                yield recipe.runs("smoke", [spec.row], [1], sets)[0]


def tried(expressions):
    """What becomes of each expression on `x`, three ones on the device: its error, or what it waits for."""
    found = {}
    for expression in expressions:
        gpu = PretendedGPU()
        with _TorchsOwn(), gpu:
            with gpu.pinned():
                x = torch.ones(3).to(NAME)
            try:
                eval(expression, {"torch": torch, "x": x})
            except (RuntimeError, TypeError) as error:
                found[expression] = type(error).__name__
            else:
                found[expression] = ", ".join(each.partition(": ")[2] for each in gpu.waits)
    return found


def main(names):
    """Write what kinds of rows of recipes do, at smoke scale and on data that stands for theirs."""
    from rmem_cli.data_scripts.dataset import unwritten

    from rmem_cli.data.prepared import opened_instead

    with opened_instead(unwritten):
        json.dump({f"{spec.experiment} {spec.row}": _told(spec) for spec in _specs(names)}, sys.stdout)


if __name__ == "__main__":
    _setup_privateuseone_for_python_backend(NAME)
    if sys.argv[1] == "tried":
        json.dump(tried(sys.argv[2:]), sys.stdout)
    else:
        main(sys.argv[1:])
