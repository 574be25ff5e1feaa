"""The mathematics of each recurrence, as functions on tensors."""
