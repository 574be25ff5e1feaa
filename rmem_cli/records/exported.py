"""Exported models: a folder that is used without the run, the recipe and the data that it came from.

It holds

    export.json             what it is: its run, its symbols and classes, and the sha256 of the next three
    settings.yaml           the run's settings
    weights.safetensors
    tokenizer.json          how text becomes symbols; none, where the task has no text
    README.md               the model card

It is written beside its place and renamed, so one that is there is finished. Nothing loaded can run code.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from uuid import uuid4

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, TypeAdapter
from torch import Tensor, nn

from rmem_cli.data.task_tokenizers import TaskTokenizer, TextTokenizer, tokenizer_from_json, tokenizer_to_json
from rmem_cli.errors import DataError, UsageError
from rmem_cli.files import EXPORT, sync_folder, write_durably
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.recipe.settings_file import read_settings, settings_text
from rmem_cli.records.checkpoint import weights_from_bytes, weights_to_bytes
from rmem_cli.records.environment import Environment
from rmem_cli.records.restoring import load_weights
from rmem_cli.version import VERSION

FORMAT = 1
CARD = "README.md"
Identifier = Annotated[str, Field(pattern="^[a-z0-9_]+$")]  # as recipes have them
_SETTINGS = "settings.yaml"
_WEIGHTS = "weights.safetensors"
_TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Description:
    """What `export.json` says.

    Attributes:
        experiment: Name of the recipe; with the next fields, which run it was.
        row: Row of the recipe.
        title: Title of the row.
        cell: Matrix cell.
        scale: Scale of the run.
        seed: Seed of the run.
        footnotes: Where the row deviates from what was published.
        checkpoint: Which of the run's.
        step: After how many updates.
        wall_seconds: Time that the training took.
        train_hash: Of all that the training depended on.
        data_hash: Of the data.
        symbols: How many symbols the model reads, or features of a step.
        classes: How many classes it knows.
        class_names: What they are called; None: they have no names of their own.
        environment: Where the run was trained.
        sha256: Of each file that is read with it.
        rmem_version: Version of rmem that exported it.
        format: Of the folder.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    experiment: Identifier
    row: Identifier
    title: str
    cell: str
    scale: Identifier
    seed: NonNegativeInt
    footnotes: list[str]
    checkpoint: Literal["best", "last"]
    step: NonNegativeInt
    wall_seconds: NonNegativeFloat
    train_hash: str
    data_hash: str
    symbols: PositiveInt
    classes: PositiveInt
    class_names: list[str] | None
    environment: Environment
    sha256: dict[str, str]
    rmem_version: str = VERSION
    format: int = FORMAT


@dataclass(frozen=True)
class Exported:
    """An exported model that was read.

    Attributes:
        folder: Where it is.
        description: What it is.
        spec: Its run; evaluations ask for the checkpoint that is here, whichever the recipe asked for.
        tokenizer: How text becomes symbols; None: the task has no text.
        weights: By their names, on the CPU.
    """

    folder: Path
    description: Description
    spec: RunSpec
    tokenizer: TaskTokenizer | None
    weights: dict[str, Tensor]

    def put_into(self, model: nn.Module) -> None:
        """Put the weights into a model of these settings.

        Raises:
            DataError: They are those of another one.
        """
        try:
            load_weights(model, self.weights)
        except ValueError as error:
            raise _damaged(self.folder, f"its weights are not those of its settings ({error})") from error

    def check_checkpoint(self, name: str | None) -> None:
        """Make sure that a checkpoint that is asked for, if one is, is the one that is here.

        Raises:
            UsageError: It is the other one.
        """
        own = self.description.checkpoint
        if name not in (None, own):
            raise UsageError(
                f"{self.folder} has the checkpoint {own!r} of its run; leave out --checkpoint, or export "
                f"{name!r}"
            )


def check_free(folder: Path) -> None:
    """Make sure that a folder can be written anew.

    Raises:
        UsageError: There is something already.
    """
    try:
        free = not any(folder.iterdir()) if folder.is_dir() else not (folder.exists() or folder.is_symlink())
    except OSError as error:
        raise _unwritable(folder, error) from error
    if not free:
        raise UsageError(f"{folder} is there already, and not an empty folder; name another one in --out")


def write_exported(
    folder: Path,
    description: Description,
    spec: RunSpec,
    tokenizer: TaskTokenizer | None,
    weights: Mapping[str, Tensor],
    card: str,
) -> None:
    """Write an exported model, as a whole or not at all.

    Args:
        folder: Where to; it is new, or empty.
        description: What it is; its hashes are found here.
        spec: Its run.
        tokenizer: How text becomes symbols.
        weights: The model's `state_dict()`.
        card: Text of the model card, in Markdown.

    Raises:
        UsageError: There is something already, or it cannot be written.
    """
    check_free(folder)
    files = {
        _SETTINGS: settings_text(spec.settings),
        _WEIGHTS: weights_to_bytes(weights),
        **({} if tokenizer is None else {_TOKENIZER: tokenizer_to_json(tokenizer)}),
    }
    hashed = replace(
        description, sha256={name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    )
    files[CARD] = card.encode()  # for people, who may add to it
    files[EXPORT] = (json.dumps(asdict(hashed), indent=2, ensure_ascii=False) + "\n").encode()
    place = folder.resolve()
    unfinished = place.with_name(f".{place.name}-{uuid4().hex[:8]}")
    try:
        unfinished.mkdir(parents=True)
        for name, data in files.items():
            write_durably(unfinished / name, data)
        sync_folder(unfinished)
        unfinished.rename(place)
        sync_folder(unfinished.parent)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_exported(folder: Path, sets: Sequence[str] = ()) -> Exported:
    """Read an exported model, all of which is verified.

    Args:
        folder: Where it is.
        sets: The texts of `--set` options, `eval.path=value`.

    Raises:
        UsageError: There is none, or a newer rmem wrote it; or `sets` change more than evaluations.
        RecipeError: This rmem does not take its settings, or `sets`.
        DataError: It is damaged.
    """
    description = _read_description(folder)
    data = {name: _read_file(folder, name, sha256) for name, sha256 in description.sha256.items()}
    for name in (_SETTINGS, _WEIGHTS):
        if name not in data:
            raise _damaged(folder, f"{EXPORT} does not name {name}")
    spec = _spec(folder, description, data[_SETTINGS], sets)
    try:
        tokenizer = tokenizer_from_json(data[_TOKENIZER]) if _TOKENIZER in data else None
        if isinstance(tokenizer, TextTokenizer):
            tokenizer.check(description.symbols)
        weights = weights_from_bytes(data[_WEIGHTS])
        if max(description.symbols, description.classes) > sum(map(Tensor.numel, weights.values())):
            raise ValueError("there are fewer weights than symbols or classes")
    except Exception as error:  # whoever wrote it may have written anything
        raise _damaged(folder, f"weights or tokenizer are not in the form of an export ({error})") from error
    return Exported(folder, description, spec, tokenizer, weights)


def _read_description(folder: Path) -> Description:
    try:
        text = (folder / EXPORT).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{folder} is no exported model: it has no {EXPORT}; `rmem export RUN --out FOLDER` makes one"
        ) from error
    except OSError as error:
        raise _damaged(folder, f"{EXPORT} cannot be read ({error.strerror or error})") from error
    try:
        known: Any = json.loads(text)
        version = known["format"], known["rmem_version"]
        if type(version[0]) is int and version[0] > FORMAT:
            raise UsageError(
                f"{folder} was exported by rmem {version[1]}, in format {version[0]}, and rmem {VERSION} "
                f"reads formats up to {FORMAT}; install that version or a newer one"
            )
        return TypeAdapter(Description).validate_json(text, strict=True)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(folder, f"{EXPORT} is not what was written") from error


def _read_file(folder: Path, name: str, sha256: str) -> bytes:
    try:
        data = (folder / Path(name).name).read_bytes()
    except FileNotFoundError as error:
        raise _damaged(folder, f"{name} is missing") from error
    except OSError as error:
        raise _damaged(folder, f"{name} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise _damaged(folder, f"no file can be called {name!r}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _damaged(folder, f"{name} is not what was written")
    return data


def _spec(folder: Path, description: Description, data: bytes, sets: Sequence[str]) -> RunSpec:
    """The run that the files describe, its evaluations of the checkpoint that is here."""
    names = ("experiment", "row", "title", "cell", "scale", "seed", "footnotes")
    about = {name: getattr(description, name) for name in names}
    source = str(folder / _SETTINGS)
    spec = RunSpec(**about, settings=read_settings(data, source))
    if spec.train_hash(description.data_hash) != description.train_hash:
        raise UsageError(
            f"{source} does not give the settings that were trained any more; bring back the module of the "
            "core as it was, or the version of rmem that exported it"
        )
    here = [f"eval.*.checkpoint={description.checkpoint}", *sets]
    settings = read_settings(data, source, here)
    if replace(spec, settings=settings).train_hash(description.data_hash) != description.train_hash:
        raise UsageError(f"{folder} is trained already; --set changes its evaluations alone, as in eval.test")
    return replace(spec, settings=settings)


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{folder} cannot be written ({error.strerror or error}); make room or make it writable"
    )


def _damaged(folder: Path, reason: str) -> DataError:
    return DataError(
        f"the exported model {folder} is damaged: {reason}; export it once more, or copy it anew"
    )
