"""The state of a running fit, kept beside its results so that a killed job goes on where it was."""

import logging
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from odynn.storage.atomic import atomic_path

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
        self._last = time.monotonic()

    def load(self) -> dict[str, np.ndarray]:
        """Return the arrays that were saved for this key, or an empty dict."""
        if not self.path.exists():
            return {}
        try:
            with open(self.path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                saved = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            log.warning("the checkpoint %s cannot be read (%s); the fit begins anew", self.path, error)
            return {}
        if str(saved.pop(_KEY, "")) != self.key:
            log.warning(
                "the checkpoint %s is of other settings, data or code; the fit begins anew", self.path
            )
            return {}
        return saved

    def save(self, arrays: Mapping[str, np.ndarray], now: bool = False) -> None:
        """Write the arrays; unless ``now``, only if the last time is long enough ago."""
        if not now and time.monotonic() - self._last < self.every:
            return
        with atomic_path(self.path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays, **{_KEY: np.array(self.key)})
        self._last = time.monotonic()

    def remove(self) -> None:
        """Remove the file, and its folder if nothing else is there."""
        self.path.unlink(missing_ok=True)
        try:
            self.path.parent.rmdir()
        except OSError:
            pass  # other shards keep theirs there, or none was ever written
