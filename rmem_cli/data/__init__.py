"""Reading prepared data sets: memory-mapped tokens, vocabularies, images."""
