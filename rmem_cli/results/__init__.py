"""The result row, its store and its provenance; never imports torch."""
