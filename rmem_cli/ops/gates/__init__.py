"""The gates of UR-LSTM and of those it is compared with: equations as written, and the form that runs."""

from rmem_cli.ops.gates.fast import gated_gru, gated_lstm, refine_gate
from rmem_cli.ops.gates.options import cumax

__all__ = ["cumax", "gated_gru", "gated_lstm", "refine_gate"]
