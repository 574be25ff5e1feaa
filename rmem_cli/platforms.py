"""Which systems rmem runs on."""

import sys

from rmem_cli.errors import UsageError

_NAMES = {"linux": "Linux", "darwin": "macOS"}


def require_supported() -> None:
    """Called where a module is imported that training needs, and that needs what Linux and macOS have.

    Raises:
        UsageError: This is another system.
    """
    if sys.platform not in _NAMES:
        raise UsageError(
            f"training runs on {' and '.join(_NAMES.values())}, and this is {sys.platform}; "
            "on Windows, run rmem in the Windows Subsystem for Linux"
        )
