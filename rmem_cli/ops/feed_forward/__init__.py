"""The feed-forward parts of transformers, position by position: equations and the form that runs."""
