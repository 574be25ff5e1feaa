"""Using a model without gradients: measuring it, letting it go on by itself, drawing from it."""
