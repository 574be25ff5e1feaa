"""Which systems rmem runs on."""

import sys

from rmem_cli.errors import UsageError

_NAMES = {"linux": "Linux", "darwin": "macOS"}


def require_supported(what: str) -> None:
    """Called where a module is imported that needs what Linux and macOS have.

    Args:
        what: Does not run elsewhere, such as "training".

    Raises:
        UsageError: This is another system.
    """
    if sys.platform not in _NAMES:
        raise UsageError(
            f"{what} runs on {' and '.join(_NAMES.values())}, and this is {sys.platform}; "
            "on Windows, run rmem in the Windows Subsystem for Linux"
        )
