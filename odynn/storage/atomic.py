"""Files that are either whole or not there: written under a temporary name, then renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from odynn.errors import StorageError


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path to write to, which becomes ``path`` when the block ends without error.

    The temporary file lies in the same folder (made if it is absent), so that the renaming is
    atomic, and keeps the suffix, which tells matplotlib and others the format. If the block raises,
    the temporary file is removed and a file that was at ``path`` is as it was.

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
    # The random part keeps jobs apart on nodes of a cluster that share a disk and may share a process id.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"'{path}' must be writable. Expected: a folder that may be written to, with free space. "
            f"Received: {error}. Change the permissions, make room, or choose another folder of results."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


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
