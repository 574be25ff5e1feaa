"""Encoders, cores, heads and the sequence model they make."""
