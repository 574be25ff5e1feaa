"""One module per data set: sources, download, verification, preparation."""
