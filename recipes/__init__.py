"""The recipes: one YAML per published experiment."""
