"""The runs of recipes: opened once, planned, trained and measured."""
