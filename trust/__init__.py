"""The long forms of what is promised about safety: `python -m trust`; the short forms are in `tests/trust`."""

from trust import measure as measure  # puts the tests' servers on the path, before a module here imports one
