"""The two stores of the embedded default."""
