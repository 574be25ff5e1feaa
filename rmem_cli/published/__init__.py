"""The published numbers, one YAML per paper, and how they are read."""
