"""What `--out` names: a file, or a folder of files."""

from pathlib import Path

from rmem_cli.errors import UsageError


def is_folder(out: Path | None) -> bool:
    """Whether files are to be in it: a folder that is there, or a path without an ending."""
    return out is not None and (out.is_dir() or not out.suffix)


def unwritable(out: Path, error: OSError) -> UsageError:
    """What is said where nothing can be written."""
    return UsageError(f"--out {out} cannot be written ({error.strerror or error}); name another")
