"""Reading the container of an HDF5 file, as the schema says.

Whatever is wrong with a file ends as one StorageError: h5py's own messages name neither the file's
purpose nor the remedy.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

import odynn
from odynn.errors import OdynnError, StorageError, UnreadableFileError, listed
from odynn.storage.schema import JSON_ATTRIBUTES, KINDS, SCHEMA_VERSION, Item, Kind, row_of

# What h5py, json and the containers raise for a file that is damaged.
_CLOSED = "a file that cannot be opened"
_FAULTS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OdynnError)


def read(path: str | os.PathLike, name: str) -> object:
    """Read the container of a file.

    Args:
        path: the file.
        name: the kind of file that is expected, a key of ``schema.KINDS``.

    Returns:
        The container, equal to the one written but for the precision of traces (float32).

    Raises:
        StorageError: if the file is missing, not HDF5, cut short, of another kind or a newer
            version, or lacks a dataset.
    """
    kind = KINDS[name]
    fields, lengths = {}, {}
    with _opened(path, kind) as file:
        for item in kind.items:
            fields |= _read_item(file, item, lengths)
        for field in kind.texts:
            fields[field] = _read_text(file, field)
        return kind.container(**fields)


def read_stamp(path: str | os.PathLike) -> dict:
    """Read what a file of any kind says of how it was made.

    Args:
        path: the file.

    Returns:
        The root attributes: ``kind``, ``schema_version``, ``odynn_version`` and the stamp that the
        file was written with, its ``settings`` included.

    Raises:
        StorageError: if the file is missing, not HDF5, cut short, not one of odynn's, or newer.
    """
    with _opened(path) as file:
        stamp = {key: _plain(value) for key, value in file.attrs.items()}
        stamp |= {key: json.loads(stamp[key]) for key in JSON_ATTRIBUTES if key in stamp}
        if "settings" in file:
            stamp["settings"] = _read_text(file, "settings")
        return stamp


def _read_item(file: h5py.File, item: Item, lengths: dict[str, int]) -> dict:
    """Return the fields that an item fills: none, its own, or also the parameter table.

    Opening a dataset takes longer than reading it where there are many small ones: each is opened once, and
    ``lengths`` remembers those of the axes from item to item.
    """
    if not item.field:
        return {}
    if item.optional and item.path not in file:
        return {}
    if not item.mapping:
        dataset = _dataset(file, item.path, item.axes)
        return {item.field: _read_array(file, item, dataset, lengths)}
    if item.path not in file:
        raise _missing(file, f"a group {item.path}")
    group = file[item.path]
    names = json.loads(group.attrs["names"]) if "names" in group.attrs else list(group)
    datasets = {name: _dataset(file, f"{item.path}/{name}", item.axes) for name in names}
    fields = {item.field: {name: _read_array(file, item, datasets[name], lengths) for name in names}}
    if item.table == "rows":
        fields["parameters"] = {name: row_of(name, datasets[name].attrs) for name in names}
    return fields


def _read_array(
    file: h5py.File, item: Item, dataset: h5py.Dataset, lengths: dict[str, int]
) -> np.ndarray | float:
    for axis in item.axes:
        if axis not in lengths:
            lengths[axis] = len(_dataset(file, axis, (axis,)))
    shape = tuple(lengths[axis] for axis in item.axes)
    if dataset.shape != shape:
        raise UnreadableFileError(
            f"'{file.filename}' must hold {dataset.name[1:]} of shape [{', '.join(item.axes)}] = {shape}. "
            f"Received: shape {dataset.shape}. {_again(KINDS[file.attrs['kind']])}",
            file.filename,
        )
    array = dataset[()]
    return array.astype(item.dtype, copy=False) if item.axes else float(array)


def _read_text(file: h5py.File, path: str) -> dict:
    return json.loads(_dataset(file, path, ()).asstr()[()])


def _dataset(file: h5py.File, path: str, axes: tuple[str, ...]) -> h5py.Dataset:
    dataset = file.get(path)
    if not isinstance(dataset, h5py.Dataset):
        raise _missing(file, f"a dataset {path} [{', '.join(axes)}]")
    return dataset


@contextmanager
def _opened(path: str | os.PathLike, kind: Kind | None = None) -> Iterator[h5py.File]:
    """Open a file of odynn for reading; whatever is found wrong until it closes becomes one message."""
    path = Path(path)
    wanted = f"a {kind.name} file" if kind else "a file of odynn"
    if not path.is_file():
        raise StorageError(
            f"'{path}' must be {wanted}. Received: {'a folder' if path.is_dir() else 'no such file'}. "
            f"Correct the path{f', or make the file with the stage {kind.stage}' if kind else ''}."
        )
    try:
        # Files are renamed into place and never changed: a file system without locks can serve them.
        with h5py.File(path, "r", locking="best-effort") as file:
            _check_kind(file, path, kind)
            yield file
    except StorageError:
        raise
    except _FAULTS as error:
        found = _fault(path)
        message = f"'{path}' must be {wanted}. Received: {found or _CLOSED} ({error}). {_again(kind)}"
        raise (UnreadableFileError(message, path) if found else StorageError(message)) from error


def _check_kind(file: h5py.File, path: Path, kind: Kind | None) -> None:
    name = _plain(file.attrs.get("kind"))
    found = KINDS.get(name)
    if found is None:
        raise UnreadableFileError(
            f"'{path}' must be {f'a {kind.name} file' if kind else 'a file'} of odynn, with a root attribute "
            f"'kind' ({listed(KINDS)}). Received: kind {name!r}. Read a recording with odynn.recordings.",
            path,
        )
    if kind and found is not kind:
        raise UnreadableFileError(
            f"'{path}' must be a {kind.name} file, written by the stage {kind.stage}. Received: a "
            f"{found.name} file, written by the stage {found.stage}. Read it with read_{found.name}, "
            f"or give a {kind.name} file.",
            path,
        )
    version = int(file.attrs["schema_version"])
    if not 1 <= version <= SCHEMA_VERSION:
        raise StorageError(
            f"'{path}' must have a schema version from 1 to {SCHEMA_VERSION}, which odynn "
            f"{odynn.__version__} reads. Received: version {version}, written by odynn "
            f"{file.attrs.get('odynn_version')}. Install that odynn or a newer one. Or: {_again(found)}"
        )


def _fault(path: Path) -> str:
    """Return what is wrong with a file; nothing where the system does not let it be read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            signed = file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return ""
    return f"{'a damaged or truncated file' if signed else 'a file that is not HDF5'} of {size} bytes"


def _missing(file: h5py.File, what: str) -> StorageError:
    kind = KINDS[file.attrs["kind"]]
    return UnreadableFileError(
        f"'{file.filename}', a {kind.name} file, must hold {what}. "
        f"Received: only {listed(file)} at its root. {_again(kind)}",
        file.filename,
    )


def _again(kind: Kind | None) -> str:
    return f"Delete the file and make it again with the stage {kind.stage if kind else 'that writes it'}."


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
