"""Which systems rmem runs on."""

import sys

from rmem_cli.errors import UsageError


def require_supported() -> None:
    """Called where a module is imported that training needs, and that needs what Linux and macOS have.

    Raises:
        UsageError: This is another system.
    """
    if sys.platform not in ("linux", "darwin"):
        raise UsageError(
            f"training runs on Linux and macOS, and this is {sys.platform}; "
            "on Windows, run rmem in the Windows Subsystem for Linux"
        )
