"""Linear maps and products of matrices."""
