"""rmem: the recurrent-memory papers (RUM, UR-LSTM, RMT) reproduced from one command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmem_cli.modules.load import load
    from rmem_cli.modules.published_weights import convert_lm_rmt, convert_recurrent_memory_transformer
    from rmem_cli.modules.recurrent_memory_transformer import RecurrentMemoryTransformer
    from rmem_cli.modules.rum import RUM, RUMCell
    from rmem_cli.modules.ur_lstm import URLSTM
    from rmem_cli.modules.wrapper import RecurrentMemoryTransformerWrapper
    from rmem_cli.ops.rotation import rotate, rotation_components, rotation_operator

    __version__: str

__all__ = [
    "RUM",
    "URLSTM",
    "RUMCell",
    "RecurrentMemoryTransformer",
    "RecurrentMemoryTransformerWrapper",
    "convert_lm_rmt",
    "convert_recurrent_memory_transformer",
    "load",
    "rotate",
    "rotation_components",
    "rotation_operator",
]

_LOCATIONS = {
    "RUM": "rmem_cli.modules.rum",
    "RUMCell": "rmem_cli.modules.rum",
    "URLSTM": "rmem_cli.modules.ur_lstm",
    "RecurrentMemoryTransformer": "rmem_cli.modules.recurrent_memory_transformer",
    "RecurrentMemoryTransformerWrapper": "rmem_cli.modules.wrapper",
    "convert_lm_rmt": "rmem_cli.modules.published_weights",
    "convert_recurrent_memory_transformer": "rmem_cli.modules.published_weights",
    "load": "rmem_cli.modules.load",
    "rotate": "rmem_cli.ops.rotation",
    "rotation_components": "rmem_cli.ops.rotation",
    "rotation_operator": "rmem_cli.ops.rotation",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that the command line starts without torch."""
    if name == "__version__":
        from rmem_cli.version import VERSION

        return VERSION
    if name not in _LOCATIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LOCATIONS[name]), name)
