"""Small settings of a core of every kind."""

from rmem_cli.recipe.registry import CORES

KINDS = [kind for kind in CORES.kinds() if kind != "pretrained_rmt"]  # that one needs a backbone

_CELL = {"kind": "layer_norm_lstm", "hidden_size": 8}
_SMALL = {"hidden_size": 8}


def small_core(kind, segment_length):
    """Settings of a kind, reading segments of the given length where it wants to know one."""
    fields = {
        "rmt": {**_SMALL, "memory_tokens": 2},
        "prenorm_rmt": {**_SMALL, "memory_tokens": 2, "segment_length": segment_length},
        "fast_slow": {"fast": _CELL, "slow": {"kind": "rum", "hidden_size": 6}, "fast_cells": 3},
    }
    return CORES.settings(kind)(kind=kind, **fields.get(kind, _SMALL))
