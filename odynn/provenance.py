"""What a result was made from: the code, the settings, the inputs and the libraries."""

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import numpy as np

from odynn.errors import StorageError
from odynn.fingerprint import code_fingerprint, own_code, own_losses

__all__ = [
    "code_fingerprint",
    "content_hash",
    "file_hash",
    "own_code",
    "own_losses",
    "shared_stamp",
    "stamp",
    "versions",
]

# Each library by the names of its distributions: TensorFlow has several.
_LIBRARIES = {
    "h5py": ("h5py",),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
}
# What a joined file says itself.
_OF_THE_FILE = frozenset({"kind", "schema_version", "stage", "settings", "seed", "precision"})


def content_hash(container: object) -> str:
    """Return the SHA-256 of what a container holds, whatever its layout in memory.

    The order of a parameter table counts, that of any other mapping does not. A whole number and
    the float of the same value are equal.

    Args:
        container: a dataclass of ``odynn.data``, an array, or plain values.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: if it holds something that is neither a dataclass, an array nor plain.

    >>> content_hash({"a": 1, "b": 2.0}) == content_hash({"b": 2, "a": 1})
    True
    """
    digest = hashlib.sha256()
    for part in _parts(container):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def file_hash(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        StorageError: if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(
            f"'{path}' must be a file that can be read. Received: {error.strerror}. Correct the path."
        ) from error


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that numbers depend on, as installed.

    >>> "numpy" in versions()
    True
    """
    return dict(_versions())


def stamp(
    stage: str,
    settings: Mapping,
    inputs: Mapping[str, object] | None = None,
    *,
    package_root: str | os.PathLike | None = None,
) -> dict:
    """Return what a file should say of how it was made; the writers of ``odynn.storage`` take it.

    Args:
        stage: name of a function of ``odynn/stages.py``.
        settings: the settings that the stage was given.
        inputs: the containers that it read, by name; text is taken as a hash.
        package_root: see ``code_fingerprint``.

    Returns:
        ``stage``, ``code_fingerprint``, ``versions``, ``inputs`` (a hash each), ``settings``, and
        ``seed`` and ``precision`` if the settings have them, and ``own_code``, the hashes of the user's own
        files, if they name any. No clock, no machine: of a path that is absolute only the file name is
        kept.
    """
    target, starts = settings.get("target") or {}, settings.get("starts") or {}
    synthetic = target.get("synthetic") or {}
    hashes = {
        name: value if isinstance(value, str) else content_hash(value)
        for name, value in sorted((inputs or {}).items())
    }
    found = {
        "stage": stage,
        "code_fingerprint": code_fingerprint(
            stage, settings.get("model") or "", own_losses(settings), package_root=package_root
        ),
        "seed": starts.get("seed", synthetic.get("seed")),
        "precision": settings.get("precision"),
        "versions": versions() | _more_versions(stage, settings),
        "inputs": hashes,
        "own_code": {_portable(name): digest for name, digest in own_code(settings).items()} or None,
        "settings": _portable(settings),
    }
    return {key: value for key, value in found.items() if value is not None}


def shared_stamp(stamps: Iterable[Mapping]) -> dict:
    """Return what the stamps of several files say of how they were made, for the file that joins them.

    Args:
        stamps: as ``storage.read_stamp`` returns them.

    Returns:
        The keys of a stamp but for those that the joined file has itself. Where the files do not agree, a
        list of what they say.

    >>> shared_stamp([{"code_fingerprint": "a", "stage": "fit"}, {"code_fingerprint": "b", "stage": "fit"}])
    {'code_fingerprint': ['a', 'b']}
    """
    said: dict[str, list] = {}
    for stamp in stamps:
        for key, value in stamp.items():
            if key not in _OF_THE_FILE and value not in said.setdefault(key, []):
                said[key].append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in said.items()}


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    found = {"python": platform.python_version()}
    for library, distributions in _LIBRARIES.items():
        for distribution in distributions:
            try:
                found.setdefault(library, metadata.version(distribution))
            except metadata.PackageNotFoundError:
                continue
    return tuple(found.items())


def _more_versions(stage: str, settings: Mapping) -> dict[str, str]:
    """Return the versions of libraries that only some fits, or scores, depend on."""
    stages = (settings.get("fit") or {}).get("stages")
    searches = stages == "default" or any(entry.get("method") == "cma_es" for entry in stages or ())
    library = "cma" if stage == "fit" and searches else "efel" if stage == "simulate_best" else ""
    try:
        return {library: metadata.version(library)} if library else {}
    except metadata.PackageNotFoundError:
        return {}


def _parts(value: object, ordered: bool = False) -> Iterator[bytes]:
    """Give bytes that spell a value: equal values and only they give equal parts."""
    if is_dataclass(value) and not isinstance(value, type):
        yield b"dataclass %s" % type(value).__name__.encode()
        for field in fields(value):
            yield field.name.encode()
            yield from _parts(getattr(value, field.name), ordered=field.name == "parameters")
    elif isinstance(value, Mapping):
        yield b"mapping of %d" % len(value)
        for key in value if ordered else sorted(value, key=str):
            yield from _parts(key)
            yield from _parts(value[key])
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufcSU":
        array = value.astype(value.dtype.newbyteorder("<"), copy=False)
        yield f"array {array.dtype.str} {array.shape}".encode()
        yield array.tobytes()
    elif isinstance(value, list | tuple):
        yield b"sequence of %d" % len(value)
        for item in value:
            yield from _parts(item)
    elif isinstance(value, str):
        yield b"text"
        yield value.encode("utf-8", "surrogatepass")
    elif value is None or isinstance(value, bool | np.bool_):
        yield str(value).encode()
    elif isinstance(value, int | float | np.integer | np.floating):
        exact = float(value)
        yield b"number"
        yield (exact.hex() if exact == value else str(value)).encode()
    else:
        raise TypeError(f"a container holds arrays and plain values. Received: {type(value).__name__}.")


def _portable(value: object) -> object:
    """Return settings as plain values; an absolute path would tell one machine's results from another's."""
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, str | os.PathLike):
        path = Path(value)
        return path.name if path.is_absolute() and path.name else str(value)
    return value
