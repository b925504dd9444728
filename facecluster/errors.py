"""Everything that facecluster raises on purpose.

FaceClusterError
├── ConfigError            a setting is missing or makes no sense
├── InputError             what was handed over cannot be used (a file, a vector, a name, a number)
├── CancelledError         somebody pressed Cancel; what was there before is untouched
├── WorkersError           machines that were to do part of the work did not
└── StoreError             the place where things are kept
    ├── StoreUnavailableError   it does not answer, or another process holds it
    ├── StoreDeniedError        it answers, and refuses us
    ├── StoreDataError          what it holds is not whole
    └── StaleWriteError         somebody else changed the same thing meanwhile

A message says what happened, with the value; what was not done; and what to do.
Only `ui.session.errors`, `cli.main` and the checks of the doctor catch these, and nothing else: a bug keeps its
traceback.
"""

import re

# Keys of this process; what is shorter is no key, but may be part of a word.
_secrets: set[str] = set()
_SHORTEST_SECRET = 8
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")


def keep_secret(value: str) -> None:
    """Let no message hold this key from now on: services at times repeat what they were sent."""
    if len(value.strip()) >= _SHORTEST_SECRET:
        _secrets.add(value.strip())


def keep_secrets_of(address: str) -> None:
    """The same for who signs in by an address, and by what: others repeat them without the rest of it."""
    for said in _IN_ADDRESS.findall(address):
        keep_secret(said)
        keep_secret(said.partition(":")[2])


def without_secrets(text: str) -> str:
    """A text in which **** stands for every key, and for who signs in, and by what, in an address."""
    for secret in sorted(_secrets, key=len, reverse=True):  # one may be part of another
        text = text.replace(secret, "****")
    return _IN_ADDRESS.sub("****", text)


class FaceClusterError(Exception):
    """Anything a curator can be told about in one sentence; it holds no key."""

    def __init__(self, text: str = "") -> None:
        super().__init__(without_secrets(text))


class ConfigError(FaceClusterError):
    """A setting is missing or makes no sense."""


class InputError(FaceClusterError):
    """What was handed over cannot be used."""


class CancelledError(FaceClusterError):
    """Long work was stopped on request; nothing was changed."""


class WorkersError(FaceClusterError):
    """Machines that were to do part of the work did not; nothing was changed."""


class StoreError(FaceClusterError):
    """The place where faces and people are kept failed."""


class StoreUnavailableError(StoreError):
    """The store does not answer, or another process holds it."""


class StoreDeniedError(StoreError):
    """The store answers and refuses."""


class StoreDataError(StoreError):
    """What the store holds is not whole."""


class StaleWriteError(StoreError):
    """Somebody else changed the same thing meanwhile."""
