"""The errors that odynn raises for its users.

Every message says the rule that was broken and where (a file and key, or an argument), what was
expected, what was received, and what to do about it. The command line and the workflow log end
with that one message and no traceback.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class OdynnError(Exception):
    """Base of every error that a user can cause and mend."""


class ConfigError(OdynnError):
    """A configuration that cannot be run."""


class ModelError(OdynnError):
    """A model that cannot be loaded, or parameters that it does not have."""


class RecordingError(OdynnError):
    """A recording that cannot be read, or that cannot be right."""


class StorageError(OdynnError):
    """A results file of another kind, another version, or cut short."""


class UnreadableFileError(StorageError):
    """A results file that holds nothing to read: damaged, or of another kind.

    Attributes:
        path: the file.
    """

    def __init__(self, message: str, path: str | os.PathLike):
        super().__init__(message)
        self.path = Path(path)


class FitError(OdynnError):
    """A fit that cannot be run as asked."""


class DeviceError(OdynnError):
    """A GPU that is asked for and not there."""


class WorkflowError(OdynnError):
    """A run of the workflow that must not begin."""


@contextmanager
def users_code(error: type[OdynnError], rule: str, remedy: str) -> Iterator[None]:
    """Run code that a user wrote: whatever it raises becomes one message, with the cause kept.

    Args:
        error: what to raise.
        rule: what the code must do, as a sentence.
        remedy: what to do about it, as a sentence.

    >>> with users_code(FitError, "it must run.", "Correct it."):
    ...     1 / 0
    Traceback (most recent call last):
    odynn.errors.FitError: it must run. It raised ZeroDivisionError: division by zero. Correct it.
    """
    try:
        yield
    except OdynnError:
        raise
    except Exception as cause:
        raise error(f"{rule} It raised {type(cause).__name__}: {cause}. {remedy}") from cause


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known word, or an empty string.

    >>> did_you_mean("celegan", ["celegans", "leaky"])
    " Did you mean 'celegans'?"
    >>> did_you_mean("E_k", ["E_L", "E_K"])
    " Did you mean 'E_K'?"
    """
    known = list(known)
    # Capitals first: E_k is meant as E_K, though E_L is as near by letters.
    nearest = [name for name in known if name.casefold() == str(word).casefold()]
    nearest = nearest or get_close_matches(str(word), known, n=1, cutoff=0.6)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""


def listed(words: Iterable[object], most: int = 12) -> str:
    """Return words as a short readable list for a message.

    >>> listed(["a", "b"])
    'a, b'
    >>> listed(range(20), most=3)
    '0, 1, 2 … (20 in all)'
    """
    words = [str(word) for word in words]
    if len(words) <= most:
        return ", ".join(words)
    return f"{', '.join(words[:most])} … ({len(words)} in all)"
