"""The version of this program."""

from importlib.metadata import PackageNotFoundError, version


def _version() -> str:
    try:
        return version("rmem")
    except PackageNotFoundError:
        return "0+checkout"


VERSION = _version()
"""As installed; "0+checkout" where rmem runs from a checkout that is not."""
