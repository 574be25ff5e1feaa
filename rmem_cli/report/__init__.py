"""Published numbers beside results, as tables; never imports torch."""
