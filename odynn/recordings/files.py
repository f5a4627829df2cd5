"""The files of a recording: one, a list, or all that fit a pattern such as ``ch{channel}_{sweep}.ibw``."""

import errno
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from odynn.errors import RecordingError, did_you_mean, listed

PLACES = ("{channel}", "{sweep}")


@dataclass(frozen=True)
class File:
    """One file of a recording, with what the pattern says of it."""

    path: Path
    channel: str | None = None
    sweep: int | None = None


def is_pattern(file: object) -> bool:
    """Return whether a path stands for several files."""
    return isinstance(file, str) and any(place in Path(file).name for place in PLACES)


def is_address(file: object) -> bool:
    """Return whether a file is somewhere else, to be fetched by the workflow.

    >>> is_address("https://example.org/cell.abf"), is_address("data/cell.abf")
    (True, False)
    """
    return isinstance(file, str) and "://" in file


def find_files(file: str | PathLike | Sequence[str | PathLike]) -> list[File]:
    """Return the files that a path, a list of paths or a pattern stands for.

    Args:
        file: a path; a list of paths; or a path in whose last part ``{sweep}`` stands for the number
            of the sweep and ``{channel}`` for letters or digits that tell channels apart.

    Returns:
        The files, those of a pattern in order of sweep and channel.

    Raises:
        RecordingError: no file fits a pattern, or a list is empty or has a file twice.
    """
    if isinstance(file, list | tuple):
        paths = [Path(one) for one in file]
        twice = [str(path) for path in paths if paths.count(path) > 1]
        if not paths or twice:
            raise RecordingError(
                "file: expected a list of files, none of them twice. Received: "
                f"{twice[0] if twice else 'none'}"
                f"{' twice' if twice else ''}. Correct the list."
            )
        return [File(path) for path in paths]
    if is_address(file):
        raise RecordingError(
            f"{file}: expected a file on this machine. Received: an address, which only the workflow "
            "fetches. "
            "Download the file and give its path, or run the workflow."
        )
    path = Path(file)
    if not is_pattern(str(file)) or path.exists():
        return [File(path)]
    expression = re.escape(path.name)
    expression = expression.replace(r"\{sweep\}", r"(?P<sweep>\d+)", 1)
    expression = expression.replace(r"\{channel\}", r"(?P<channel>[A-Za-z0-9]+?)", 1)
    there = sorted(os.listdir(path.parent)) if path.parent.is_dir() else []
    found = []
    for name in there:
        match = re.fullmatch(expression, name)
        if match:
            said = match.groupdict()
            sweep = said.get("sweep")
            found.append(File(path.parent / name, said.get("channel"), None if sweep is None else int(sweep)))
    if not found:
        hint = did_you_mean(path.name, there) or (
            f" There is no folder {path.parent}." if not path.parent.is_dir() else ""
        )
        raise RecordingError(
            f"{path}: expected files whose names fit this pattern, {{sweep}} being a number and "
            f"{{channel}} letters "
            f"or digits. Received: none among {len(there)} files.{hint} Correct the pattern."
        )
    return sorted(found, key=lambda one: (-1 if one.sweep is None else one.sweep, one.channel or ""))


def check_openable(path: Path) -> None:
    """Check that a path is a file that can be read.

    Raises:
        RecordingError: it is not there, is a folder or something else, or may not be read.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder")
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise RecordingError(
                f"{path}: expected a file. Received: something else, such as a pipe or a device. Copy what "
                "it "
                "gives into a file."
            )
        with path.open("rb"):
            pass
    except OSError as error:
        raise RecordingError(unopened(path, error)) from None


def unopened(path: Path, error: OSError) -> str:
    """Say why a file cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return (
            f"{path}: expected a recording. Received: no such file. Check the path and the working directory."
        )
    if isinstance(error, IsADirectoryError):
        return (
            f"{path}: expected a recording. Received: a folder. Name a file in it, or several by a pattern "
            "such as cell_{sweep}.csv."
        )
    if isinstance(error, PermissionError):
        return (
            f"{path}: expected a file that you may read. Received: permission denied. "
            "Change its permissions, or copy it."
        )
    return f"{path}: expected a file that can be read. Received: {error.strerror or error}. Copy it again."


def digest_of(files: Sequence[File]) -> str:
    """Return the sha256 of a file's bytes; of several that of the lines of ``sha256sum``."""
    digests = []
    for file in files:
        with file.path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    lines = "".join(f"{digest}  {file.path.name}\n" for digest, file in zip(digests, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def name_of(files: Sequence[File]) -> str:
    """Return the names of the files, without folders."""
    return listed([file.path.name for file in files], most=4)
