"""The rotational unit of memory: equations as written, and the form that runs."""

from rmem_cli.ops.rotation.rotate import rotate, rotation_components, rotation_operator

__all__ = ["rotate", "rotation_components", "rotation_operator"]
