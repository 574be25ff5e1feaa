"""How long each form of an operation takes, and how far that is from what the machine can do."""
