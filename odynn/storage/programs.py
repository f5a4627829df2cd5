"""Compiled programs, kept from one job to the next that runs the same code on the same kind of machine."""

import hashlib
import logging
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from odynn.atomic import atomic_path
from odynn.errors import StorageError

log = logging.getLogger(__name__)

_FLAGS = "TF_XLA_FLAGS"
_OPTION = "--tf_xla_persistent_cache_directory="
# Programs of one kind of job, about 2 MB each, and days after which those that nobody used go.
_MOST, _DAYS = 64, 30


@contextmanager
def kept_programs(key: str) -> Iterator[None]:
    """Let TensorFlow find the programs that earlier jobs of a kind compiled, and keep what it adds.

    A job compiles each of its programs for seconds, and every shard of a fit compiles the same ones.
    TensorFlow can keep them, but trusts whatever file it finds: one that is cut short ends the job,
    one for another processor may crash it. So a job works on copies of those programs whose hash is
    right, made on the same kind of machine by the same libraries; what is new is kept when it ends.
    The numbers are the same with and without: equal programs are equal instructions.

    The programs stand in the folder named by the environment variable ``ODYNN_CACHE`` (empty: none
    are kept), by default ``odynn`` in the user's cache folder. It may be deleted at any time.

    Args:
        key: of the kind of job; jobs of another key see other programs.
    """
    folder = _folder(key)
    given = os.environ.get(_FLAGS)
    if folder is None or _OPTION in (given or ""):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="odynn-", ignore_cleanup_errors=True) as own:
        known = _fetch(folder, Path(own))
        os.environ[_FLAGS] = f"{given or ''} {_OPTION}{own}".strip()
        try:
            yield
        finally:
            if given is None:
                del os.environ[_FLAGS]
            else:
                os.environ[_FLAGS] = given
            # What cannot be kept is compiled again by the next job; it is no reason for this one to fail.
            with suppress(OSError, StorageError):
                _keep(folder, Path(own), known)


def _folder(key: str) -> Path | None:
    named = os.environ.get("ODYNN_CACHE")
    if named == "":
        return None
    try:
        cache = Path(named or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "odynn")
    except RuntimeError:  # a user without a home
        return None
    return (
        cache.expanduser().absolute()
        / "programs"
        / hashlib.sha256(f"{key} {_machine()}".encode()).hexdigest()[:24]
    )


def _machine() -> str:
    """Return what says which instructions a program may use; of a Linux machine all that its cores can do."""
    lines = [platform.system(), platform.machine(), platform.processor(), os.environ.get("XLA_FLAGS", "")]
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
        lines += sorted(
            {line for line in text.splitlines() if line.startswith(("model name", "flags", "Features"))}
        )
    return "\n".join(lines)


def _fetch(folder: Path, own: Path) -> set[str]:
    """Copy the programs that are whole; return their names."""
    known = set()
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            digest, _, name = path.name.partition("-")
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != digest:
                if not path.name.startswith("."):
                    path.unlink()
                continue
            (own / name).write_bytes(content)
            os.utime(path)
            known.add(name)
    return known


def _keep(folder: Path, own: Path, known: set[str]) -> None:
    """Keep the programs that a job added, and forget those that were not used for long."""
    for path in sorted(own.glob("*.pb")):
        if path.name not in known:
            content = path.read_bytes()
            with atomic_path(folder / f"{hashlib.sha256(content).hexdigest()}-{path.name}") as temporary:
                temporary.write_bytes(content)
    if not folder.is_dir():
        return
    by_use = sorted(folder.glob("[!.]*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in by_use[_MOST:]:
        path.unlink(missing_ok=True)
    for other in folder.parent.iterdir():
        if time.time() - max((path.stat().st_mtime for path in other.iterdir()), default=0) > _DAYS * 86400:
            shutil.rmtree(other, ignore_errors=True)
