"""The layer-norm LSTM of the Fast-Slow networks: its equations, and how they run."""
