"""What a run of Snakemake needs after a fault of the one before: stale locks, files from the future.

Snakemake locks the files of its run by lists in ``.snakemake/locks``. One that was killed leaves them
there, and the next refuses to start until somebody says ``--unlock``. Here each Snakemake also keeps a
file of its own in that folder, locked by the kernel, which knows when its process ends however it
ended. Lists are removed if all that could have written them have ended; Snakemake does the rest.
"""

import fcntl
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Tries, and s between two, for a lock that is held for milliseconds.
_TRIES, _PAUSE = 50, 0.1
_NOT_RESULTS = frozenset({"logs", "benchmarks"})
_OWNER = re.compile(r"(?P<host>.*)\.\d+\.owner")


class Ownership:
    """A file that says, as long as its process lives, that a Snakemake works in a folder.

    Attributes:
        others: the owners that are not known to have ended, as text; empty if this is the only one.
        cleared: whether locks of a Snakemake that has ended were removed.
    """

    def __init__(self, folder: str | os.PathLike):
        """Take part in the use of a folder, and remove the locks there if nobody else does.

        Locks stay where an owner lives, where one is of another host (whose processes are not seen from
        here), where none is known (another program wrote them), and on a file system without locks.

        Args:
            folder: ``.snakemake/locks``, made if it is absent.
        """
        self.folder, self.others, self.cleared = Path(folder), [], False
        self._descriptor = None
        host = re.sub(r"[^\w-]", "-", platform.node()) or "unknown"
        self._path = self.folder / f"{host}.{os.getpid()}.owner"
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _alone(self.folder.parent / "owners.lock"):
                ended = self._look(host)
                if ended and not self.others:
                    for lock in self.folder.glob("*.lock"):
                        lock.unlink(missing_ok=True)
                        self.cleared = True
                for path in ended:
                    path.unlink(missing_ok=True)
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def sentences(self) -> list[str]:
        """Return what a user should know, if anything."""
        said = []
        if self.cleared:
            said.append("The last Snakemake in this folder was killed: its locks are removed.")
        for other in self.others:
            said.append(f"Another Snakemake uses this folder: process {other}")
        return said

    def end(self) -> None:
        """Take the file away."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _look(self, host: str) -> list[Path]:
        """Return the files of owners that have ended, and note the others."""
        ended = []
        for path in sorted(self.folder.glob("*.owner")):
            found = _OWNER.fullmatch(path.name)
            if found is None or found["host"] != host:
                self.others.append(
                    f"{path.stem} on another machine, which cannot be seen from here. "
                    "If it has ended for certain: snakemake --unlock"
                )
            elif _is_locked(path):
                self.others.append(
                    f"{path.stem}, which is running. If it works on the same results, wait for it."
                )
            else:
                ended.append(path)
        return ended


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that every Snakemake takes for a moment, so that two look one after the other."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        for _ in range(_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_PAUSE)
        else:
            raise TimeoutError(f"{path} stays locked")
        yield
    finally:
        os.close(descriptor)


def _is_locked(path: Path) -> bool:
    with path.open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def settle_times(folders: Iterable[str | os.PathLike]) -> int:
    """Give files that are from the future the present time, in the order that they had.

    A clock that was ahead leaves such files. Snakemake fails each job that reads one, since what the job
    writes is older, until that time has come.

    Args:
        folders: where to look, with all folders below; logs and benchmarks aside.

    Returns:
        How many files there were.
    """
    now, ahead = time.time_ns(), []
    for folder in folders:
        for where, inner, names in os.walk(folder):
            inner[:] = [name for name in inner if name not in _NOT_RESULTS]
            for path in (os.path.join(where, name) for name in names):
                with suppress(OSError):
                    changed = os.stat(path).st_mtime_ns
                    if changed > now:
                        ahead.append((changed, path))
    for place, (_, path) in enumerate(sorted(ahead)):
        with suppress(OSError):
            os.utime(path, ns=(now, now - 1000 * (len(ahead) - place)))
    return len(ahead)
