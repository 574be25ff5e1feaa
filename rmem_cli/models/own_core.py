"""Building a core of a module outside of the package."""

import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeGuard

import torch
from pydantic import ValidationError
from torch import Tensor

from rmem_cli.errors import UsageError
from rmem_cli.models.cores.base import Core
from rmem_cli.models.state import State, described
from rmem_cli.recipe.kinds import CoreSettings
from rmem_cli.recipe.messages import sentence
from rmem_cli.recipe.own_core import OwnCoreSettings, is_allowed, module_file, module_of, search_path
from rmem_cli.recipe.resolve import RunSpec


def own_core(input_size: int, settings: OwnCoreSettings) -> Core:
    """The core that the settings name.

    Its class takes the width of its inputs and its settings: those of the class that it names as `Settings`,
    a `CoreSettings`, or, where it names none, whatever the recipe gives.

    Args:
        input_size: Width of the inputs.
        settings: Of the core.

    Raises:
        UsageError: The module is not allowed, or not there, or fails to be imported; the class is not there,
            or no `Core`; or it refuses its settings, or makes no initial state.
    """
    core = core_class(settings.kind)
    try:
        made = core(input_size, checked_settings(settings))
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{settings.kind} cannot be made of its settings ({type(error).__name__}: {error}); change "
            "model.core, or mend it"
        ) from error
    if not isinstance(made.output_size, int):
        raise UsageError(f"{settings.kind} has no output_size; set it in __init__: the width of its outputs")
    for rows in (2, 3):
        _check_initial_state(made, rows)
    made.register_forward_hook(_refuse_other_outputs)
    return made


def _check_initial_state(core: Core, rows: int) -> None:
    """What `initial_state` returns is to be a state, of as many rows as it is asked for.

    Raises:
        UsageError: It is something else.
    """
    name = f"{_name(core)}.initial_state({rows}, device=torch.device('meta'))"
    try:
        state: Any = core.initial_state(rows, device=torch.device("meta"))
    except Exception as error:
        raise UsageError(f"{name} cannot be made ({type(error).__name__}: {error}); mend it") from error
    if not _is_state(state):
        raise UsageError(f"{name} must return a dict of tensors; it returned {_sort(state)}")
    shapes = {entry: tuple(value.shape) for entry, value in state.items()}
    if any(shape[:1] != (rows,) for shape in shapes.values()):
        raise UsageError(
            f"{name} must return tensors of {rows} rows, batch first; it returned {described(shapes)}"
        )


def _is_state(state: Any) -> TypeGuard[State]:
    return isinstance(state, Mapping) and all(isinstance(each, Tensor) for each in state.values())


def _sort(value: Any) -> str:
    return f"a {type(value).__name__}" + (" of something else" if isinstance(value, Mapping) else "")


def _name(core: Core) -> str:
    return f"{type(core).__module__}:{type(core).__qualname__}"


def _refuse_other_outputs(core: Core, inputs: tuple[Any, ...], outputs: Any) -> None:
    """What `forward` returns is to be what all that reads it takes for granted.

    Raises:
        UsageError: It is something else.
    """
    shape = (*inputs[0].shape[:2], core.output_size)
    y, state = outputs if isinstance(outputs, tuple) and len(outputs) == 2 else (outputs, None)
    if not _is_state(state):
        found = "something else"
    elif not isinstance(y, Tensor) or y.shape != shape:
        found = f"y {list(y.shape)}" if isinstance(y, Tensor) else f"y as a {type(y).__name__}"
    else:
        _check_returned(core, state, shape[0])
        return
    raise UsageError(
        f"{_name(core)}.forward must return y {list(shape)} (batch, time, output_size) and a dict of state "
        f"tensors; it returned {found}"
    )


def _check_returned(core: Core, state: State, rows: int) -> None:
    """The state that `forward` returns is to be like the initial one, as it is what the next call gets.

    Raises:
        UsageError: It has other entries, or others of another shape.
    """
    try:
        core.check_state(state, rows)
    except ValueError as error:
        raise UsageError(
            f"{_name(core)}.forward must return a state like that of initial_state: {error}"
        ) from error


def check_own_cores(specs: Iterable[RunSpec]) -> None:
    """Have all cores of one's own check what the runs give them, before any of the runs begins.

    Raises:
        UsageError: One is not allowed, is not there or refuses its settings; all that is wrong is told.
    """
    told: dict[str, None] = {}
    for spec in specs:
        for part in spec.settings.every_part():
            if isinstance(part, OwnCoreSettings):
                try:
                    checked_settings(part)
                except UsageError as error:
                    told |= dict.fromkeys(
                        f"{spec.experiment}, row {spec.row}: {line}" for line in str(error).splitlines()
                    )
    if told:
        raise UsageError("\n".join(told))


def checked_settings(settings: OwnCoreSettings) -> CoreSettings:
    """The settings as the core's own class has them.

    Raises:
        UsageError: It refuses them.
    """
    sort = getattr(core_class(settings.kind), "Settings", None)
    if sort is None:
        return settings
    try:
        found: CoreSettings = sort.model_validate(
            {**settings.options, "kind": settings.kind}, by_alias=True, by_name=False
        )
    except ValidationError as errors:
        told = [
            f"{settings.kind}.{'.'.join(map(str, error['loc']))}: {sentence(error, sort)}"
            for error in errors.errors(include_url=False)
        ]
        raise UsageError("\n".join(told)) from None
    return found


def core_class(kind: str) -> type[Core]:
    """The class of a kind, its module imported.

    Raises:
        UsageError: The module is not allowed, or not there, or fails to be imported; the class is not there,
            or no `Core`.
    """
    module, _, name = kind.partition(":")
    if not is_allowed(kind):
        raise UsageError(
            f"{kind} is code of a module that is not part of rmem; if you trust it, give "
            f"--allow-module {module}"
        )
    found = getattr(_imported(kind), name, None)
    if not isinstance(found, type) or not issubclass(found, Core):
        what = "has no class" if found is None else "has something else than a Core as"
        base = "rmem_cli.models.cores.base.Core"
        raise UsageError(f"{module} {what} {name}; derive a class {name} from {base}")
    return found


def _imported(kind: str) -> Any:
    """The module of a kind: the very file that its settings have identified."""
    name, file = module_of(kind), _file(kind)
    before, sys.path[:] = [*sys.path], search_path()
    try:
        module = import_module(name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{file} cannot be imported ({type(error).__name__}: {error}); mend it") from error
    finally:
        sys.path[:] = before
    if Path(module.__file__ or "").resolve() != file.resolve():
        raise UsageError(f"another module {name} is in the way of {file}; rename the file")
    return module


def _file(kind: str) -> Path:
    try:
        return module_file(kind)
    except ValueError as error:
        raise UsageError(str(error)) from None
