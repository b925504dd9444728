"""The long forms of what is promised about safety: `python -m trust`; the short forms are in `tests/trust`."""
