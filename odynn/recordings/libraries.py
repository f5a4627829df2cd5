"""The libraries that read laboratories' formats: imported when a file needs one, and their failures."""

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType

from odynn.errors import RecordingError


def load_library(path: Path, kind: str, module: str) -> ModuleType:
    """Import the library that reads a format.

    Args:
        path: the file to read, for the message.
        kind: what the format is called, such as "an ABF file".
        module: name of the module.

    Raises:
        RecordingError: the library is not installed.
    """
    paths = list(sys.path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise RecordingError(
            f"{path}: reading {kind} needs the library {module.partition('.')[0]}. Expected it to be "
            "installed. "
            f"Received: {error}. Install it: pip install 'odynn[recordings]'."
        ) from None
    finally:
        sys.path[:] = paths  # pyabf adds folders of its own


def version_of(library: str) -> str:
    """Return the name and version of an installed library, for the source of a recording."""
    return f"{library} {metadata.version(library)}"


@contextmanager
def reading(path: Path, kind: str, library: str) -> Iterator[None]:
    """Turn whatever a library raises over a damaged file into one message.

    Args:
        path: the file.
        kind: what the format is called, such as "ABF file".
        library: what reads it, for the message.

    Raises:
        RecordingError: the library failed.
    """
    log = logging.getLogger(library)
    level = log.level
    try:
        log.setLevel(logging.CRITICAL + 1)  # igor2 logs the whole of a damaged wave
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RecordingError:
        raise
    # A library meets a damaged file with any exception there is, from struct.error to AssertionError.
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        said = said if len(said) <= 200 else f"{said[:197]}…"
        raise RecordingError(
            f"{path}: expected a whole {kind}. Received: one that is cut short, damaged or of a kind that "
            f"{library} cannot read ({library}: {said}). Copy or export it again."
        ) from None
    finally:
        log.setLevel(level)


def check_signature(path: Path, kind: str, signatures: tuple[bytes, ...], offset: int = 0) -> None:
    """Check that a file begins as its format does.

    Args:
        path: the file.
        kind: what the format is called, such as "an ABF file".
        signatures: the bytes that it may have at ``offset``.
        offset: where.

    Raises:
        RecordingError: it is empty or begins otherwise.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise RecordingError(f"{path}: expected {kind}. Received: an empty file. Copy or export it again.")
    if not start[offset:].startswith(signatures):
        raise RecordingError(
            f"{path}: expected {kind}. Received: {describe_start(start)}. Say its format (format: …), or "
            "export "
            "it again."
        )


_STARTS = {
    b"ABF ": "an ABF file",
    b"ABF2": "an ABF file",
    b"\x89HDF": "an HDF5 file (as .h5 or .nwb)",
    b"MATLAB": "a MATLAB file",
    b"PK\x03\x04": "a zip archive (as .xlsx)",
    b"\x1f\x8b": "a gzip archive",
    b"\xd0\xcf\x11\xe0": "an old Office file (as .xls)",
    b"<": "a page of HTML or XML",
    b"%PDF": "a PDF",
}


def describe_start(start: bytes) -> str:
    """Say what a file is by its first bytes.

    >>> describe_start(b"ABF2....")
    'an ABF file'
    """
    for signature, kind in _STARTS.items():
        if start.startswith(signature):
            return kind
    return "zeros" if not any(start) else "a file that does not begin like one"
