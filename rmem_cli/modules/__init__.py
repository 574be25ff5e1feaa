"""What a program of its own imports: memory models with keyword arguments, outside of recipes."""
