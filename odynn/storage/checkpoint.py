"""The state of a running fit, kept beside its results so that a killed job goes on where it was."""

import logging
import os
import time
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from odynn.atomic import atomic_path, remove_leftovers
from odynn.errors import StorageError

log = logging.getLogger(__name__)

_KEY = "key"


class Checkpoint:
    """A file of arrays with a key that says what they belong to.

    It stands outside the declared outputs of a job, because Snakemake deletes those of a job that
    failed. It is written to a temporary name and renamed: a kill leaves the last whole one.
    """

    def __init__(self, path: str | os.PathLike, key: str, every: float = 2.0):
        """Name the file.

        Args:
            path: the file, which need not be there.
            key: hash of all that the state depends on; a file with another key is not used.
            every: s between two writes, so that short iterations do not wait for the disk.
        """
        self.path, self.key, self.every = Path(path), key, every
        self._last, self._refused = time.monotonic(), False

    def load(self) -> dict[str, np.ndarray]:
        """Return the arrays that were saved for this key, or an empty dict."""
        if not self.path.exists():
            return {}
        try:
            with open(self.path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                saved = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            log.warning("the checkpoint %s cannot be read (%s); the work begins anew", self.path, error)
            return {}
        if str(saved.pop(_KEY, "")) != self.key:
            log.warning(
                "the checkpoint %s is of other settings, data or code; the work begins anew", self.path
            )
            return {}
        return saved

    def save(self, arrays: Mapping[str, np.ndarray], now: bool = False) -> None:
        """Write the arrays; unless ``now``, only if the last time is long enough ago.

        Where they cannot be written, as on a full disk, that is said in the log, and no reason to stop.
        """
        if not now and time.monotonic() - self._last < self.every:
            return
        try:
            with atomic_path(self.path) as temporary, open(temporary, "wb") as file:
                np.savez(file, **arrays, **{_KEY: np.array(self.key)})
        except StorageError as error:
            if not self._refused:
                log.warning("no checkpoint, the work goes on without: %s", error)
            self._refused = True
        else:
            self._refused = False
        self._last = time.monotonic()

    def remove(self) -> None:
        """Remove the file, and its folder if nothing else is there."""
        remove_leftovers(self.path)
        remove_checkpoints([self.path])


def remove_checkpoints(paths: Iterable[str | os.PathLike]) -> None:
    """Remove files of checkpoints, as far as they are there, and their folders if nothing else is left."""
    folders = set()
    for path in map(Path, paths):
        folders.add(path.parent)
        with suppress(OSError):
            path.unlink()
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()  # refused where other shards keep theirs
