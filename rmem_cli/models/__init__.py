"""What a model is, and the sequence model that encoders, cores, read-outs and heads make."""
