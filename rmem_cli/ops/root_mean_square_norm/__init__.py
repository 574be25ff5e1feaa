"""The norm that divides vectors by their root mean square: its equation and the form that runs."""
