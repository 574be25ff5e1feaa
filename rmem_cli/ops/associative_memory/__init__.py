"""A matrix that stores values under keys: equations and the form that runs."""
