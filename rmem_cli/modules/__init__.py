"""What programs of one's own import."""
