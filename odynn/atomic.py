"""Files that are either whole or not there: written under a temporary name, then renamed."""

import hashlib
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from odynn.errors import StorageError

# s after which a temporary file that was not touched is taken for a dead writer's, wherever that was.
_ABANDONED = 24 * 3600.0


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path to write to, which becomes ``path`` when the block ends without error.

    The temporary file lies in the same folder (made if it is absent), so that the renaming is
    atomic, and keeps the suffix, which tells matplotlib and others the format. If the block raises,
    the temporary file is removed and a file that was at ``path`` is as it was. A temporary file that a
    killed writer of the same file has left is removed, see ``remove_leftovers``.

    Args:
        path: where the file will be.

    Yields:
        The temporary path, which no other process uses.

    Raises:
        StorageError: if the operating system refuses: no permission, no space, a folder in the way.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "scores.csv") as temporary:
    ...         _ = temporary.write_text("start,loss")
    ...     [file.name for file in Path(folder).iterdir()]
    ['scores.csv']
    """
    path = Path(path)
    # The host and the process say who may remove it; the random part keeps threads apart.
    owner = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.stem}.{owner}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        remove_leftovers(path)
    except OSError as error:
        raise StorageError(
            f"'{path}' must be writable. Expected: a folder that may be written to, with free space. "
            f"Received: {error}. Change the permissions, make room, or choose another folder of results."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def remove_leftovers(path: str | os.PathLike) -> None:
    """Remove the temporary files of writers of a file that were killed.

    A writer of this host is dead if its process is; one of another host, which cannot be asked, if its
    file was not touched for a day.

    Args:
        path: the file that they were to become.
    """
    path = Path(path)
    ours = re.compile(
        rf"\.{re.escape(path.stem)}\.([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{8}}{re.escape(path.suffix)}"
    )
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            found = ours.fullmatch(entry.name)
            if found is None:
                continue
            with suppress(OSError):
                here = found[1] == _host()
                if not _lives(int(found[2])) if here else time.time() - entry.stat().st_mtime > _ABANDONED:
                    os.unlink(entry.path)


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def atomic_text(path: str | os.PathLike, text: str) -> None:
    r"""Write a text file whole or not at all, in UTF-8 and with ``\n`` line ends on every system.

    Args:
        path: where the file will be.
        text: what it will hold.

    Raises:
        StorageError: if the operating system refuses.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _flush(path: Path) -> None:
    """Wait until the file's bytes are on the disk: a renamed but empty file would look finished."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
