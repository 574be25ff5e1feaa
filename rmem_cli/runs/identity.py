"""What a run is found by: its hashes, its folder and its curve; never imports torch."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rmem_cli.data.identity import data_hash
from rmem_cli.errors import DataError
from rmem_cli.paths import runs_root
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.records.folder import folders_of, has_ended, run_path
from rmem_cli.results.run_names import file_name


@dataclass(frozen=True)
class Identity:
    """Of a run.

    Attributes:
        spec: The run.
        data_hash: Of the data that its task reads; empty for generated tasks.
        train_hash: Of all that its training depends on but the seed.
    """

    spec: RunSpec
    data_hash: str
    train_hash: str

    @property
    def folder(self) -> Path:
        """Where it is, or will be, on disk."""
        return run_path(self.spec, self.train_hash, runs_root())

    @property
    def trained_folder(self) -> Path:
        """The folder to take checkpoints from: of an equal run of another name, if that alone has ended.

        Raises:
            DataError: The run's own folder is damaged.
        """
        if not has_ended(self.folder):
            for folder in folders_of(self.train_hash, self.spec.seed, runs_root()):
                with suppress(DataError):
                    if has_ended(folder):
                        return folder
        return self.folder

    @property
    def curve(self) -> str:
        """Name of its learning curve among the results."""
        return file_name(self.spec, self.train_hash)


def identity_of(spec: RunSpec) -> Identity:
    """What a run is found by.

    Raises:
        DataError: Its data is missing or damaged.
    """
    hash_of_data = data_hash(spec.settings.task)
    return Identity(spec, hash_of_data, spec.train_hash(hash_of_data))
