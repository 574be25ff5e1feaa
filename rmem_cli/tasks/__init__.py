"""What is learned: batches, loss weights, metrics."""
