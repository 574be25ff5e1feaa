"""Attention with relative positions, rotary positions, masks and memory: equations and the form that runs."""
