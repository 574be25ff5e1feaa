"""Recurrences with a unitary matrix made of rotations: EUNN and GORU, as written, and the form that runs."""

from rmem_cli.ops.unitary.fast import matrix
from rmem_cli.ops.unitary.options import Unitary

__all__ = ["Unitary", "matrix"]
