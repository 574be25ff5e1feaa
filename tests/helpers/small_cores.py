"""Small settings of a core of every kind."""

from rmem_cli.recipe.registry import CORES

FORMS = {"complex eunn": {"kind": "eunn", "complex": True}}  # whose outputs are of another width
KINDS = [kind for kind in CORES.kinds() if kind != "pretrained_rmt"]  # that one needs a backbone
ALL = [*KINDS, *FORMS]

_CELL = {"kind": "layer_norm_lstm", "hidden_size": 8}
_SMALL = {"hidden_size": 8}


def small_core(name, segment_length):
    """Settings of a kind or of one of `FORMS`, reading segments of a length if it asks for one."""
    fields = {
        "rmt": {**_SMALL, "memory_tokens": 2},
        "prenorm_rmt": {**_SMALL, "memory_tokens": 2, "segment_length": segment_length},
        "fast_slow": {"fast": _CELL, "slow": {"kind": "rum", "hidden_size": 6}, "fast_cells": 3},
    }
    core = {**fields.get(name, _SMALL), **FORMS.get(name, {"kind": name})}
    return CORES.settings(core["kind"])(**core)
