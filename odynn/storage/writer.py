"""Writing a container to an HDF5 file, as the schema says.

Equal containers and stamps give equal bytes: nothing of the clock, the machine or the process goes
into a file. The order of parameters, states, currents and scores is kept, since a model declares
it; the order of any other mapping means nothing and is not.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

import odynn
from odynn.atomic import atomic_path
from odynn.errors import StorageError, listed
from odynn.storage.schema import AXES, JSON_ATTRIBUTES, KINDS, SCHEMA_VERSION, Item, attributes_of

# Smaller arrays gain nothing from compression.
_COMPRESSED_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 20


def write(path: str | os.PathLike, name: str, container: object, stamp: Mapping | None = None) -> None:
    """Write a container to a file, whole or not at all.

    Args:
        path: the file; its folder is made if absent.
        name: the kind of file, a key of ``schema.KINDS``.
        container: what goes into it.
        stamp: root attributes, see ``provenance.stamp``; its entry ``settings`` becomes a dataset.

    Raises:
        StorageError: if a field has not the shape, the unit or the type that the kind of file
            wants, or if the file cannot be written.
    """
    kind = KINDS[name]
    if not isinstance(container, kind.container):
        given = next((other.name for other in KINDS.values() if isinstance(container, other.container)), None)
        raise StorageError(
            f"'{path}': a {name} file holds a {kind.container.__name__}. Received: "
            f"{type(container).__name__}. {f'Use write_{given}.' if given else 'Convert it first.'}"
        )
    with atomic_path(path) as temporary:
        try:
            # In memory first: HDF5 crashes on a full disk, and calls of Python from it on a signal.
            # The oldest format that can hold the data: it keeps no times of creation.
            libver = ("earliest", "v110")
            with h5py.File(temporary, "w", driver="core", backing_store=False, libver=libver) as file:
                _write_root(file, name, stamp or {})
                for item in kind.items:
                    _write_item(file, item, container)
                for field in kind.texts:
                    _write_text(file, field, getattr(container, field), f"{field} of the {name}")
                file.flush()
                temporary.write_bytes(file.id.get_file_image())
        except StorageError as error:
            raise StorageError(f"'{path}': {error}") from error
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise StorageError(
                f"'{path}': a {kind.container.__name__} must hold arrays of numbers and plain text. "
                f"Received: something else ({type(error).__name__}: {error}). Correct the container."
            ) from error


def _write_root(file: h5py.File, name: str, stamp: Mapping) -> None:
    own = {"kind": name, "schema_version": SCHEMA_VERSION, "odynn_version": odynn.__version__}
    for key, value in sorted({**stamp, **own}.items()):
        if key == "settings":
            _write_text(file, key, value, "validated settings")
        elif value is not None:
            file.attrs[key] = _json(value) if key in JSON_ATTRIBUTES else value


def _write_text(file: h5py.File, path: str, value: object, long_name: str) -> None:
    dataset = file.create_dataset(path, data=_json(value), track_times=False)
    dataset.attrs["long_name"] = f"{long_name}, as JSON"


def _write_item(file: h5py.File, item: Item, container: object) -> None:
    value = (
        getattr(container, item.field)
        if item.field
        else np.arange(1, len(getattr(container, item.counts)) + 1)
    )
    if value is None and item.optional:
        return
    rows = container.parameters if item.table else {}
    units = getattr(container, "units", {})
    if not item.mapping:
        dataset = _write_array(file, item, item.path, value)
        _describe(dataset, item, units.get(item.key))
        return
    if item.table and (set(value) - set(rows) if item.table == "some" else set(value) != set(rows)):
        entries = "entries only for rows" if item.table == "some" else "one entry for each row"
        raise StorageError(
            f"{item.field} must have {entries} of the parameter table ({listed(rows)}). "
            f"Received: {listed(value) or 'none'}. Add or remove entries until they agree."
        )
    misnamed = [f"{row.name} as {name}" for name, row in rows.items() if row.name != name]
    if misnamed:
        raise StorageError(
            f"parameters must hold each row under its own name. Received: {listed(misnamed)}. Rename them."
        )
    names = [name for name in rows if name in value] if item.table else list(value)
    group = file.create_group(item.path)
    group.attrs["names"] = _json(names)
    for name in names:
        _check_name(item, name)
        dataset = _write_array(file, item, f"{item.path}/{name}", value[name])
        key = item.key.format(name)
        _describe(dataset, item, rows[name].unit if item.table else units.get(key))
        if item.table == "rows":
            dataset.attrs.update(attributes_of(rows[name]))


def _write_array(file: h5py.File, item: Item, path: str, value: object) -> h5py.Dataset:
    given = np.asarray(value)
    if given.dtype.kind not in "biuf":
        raise StorageError(
            f"{path} must hold numbers [{', '.join(item.axes)}]. Received: {value!r:.80}. Give an array."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        array = given.astype(item.dtype)
    if array.dtype.kind != "f" and not np.array_equal(array, given):
        raise StorageError(
            f"{path} must hold {'true or false' if item.dtype == '?' else f'whole numbers ({array.dtype})'}. "
            f"Received: {given[array != given].flat[0]!r} among its {given.size} values. Correct them."
        )
    is_scale = item.path in AXES
    lengths = array.shape[:1] if is_scale else tuple(len(file[axis]) for axis in item.axes)
    if array.shape != lengths or array.ndim != len(item.axes):
        raise StorageError(
            f"{path} must have the shape [{', '.join(item.axes)}]{'' if is_scale else f' = {lengths}'}. "
            f"Received: shape {array.shape}. Put the axes in this order, each as long as its scale."
        )
    options = {}
    if array.ndim > 1 and array.nbytes >= _COMPRESSED_BYTES:
        # Whole slabs along the first axis, since files are read whole.
        rows = max(1, min(len(array), _CHUNK_BYTES * len(array) // array.nbytes))
        options = {
            "chunks": (rows, *array.shape[1:]),
            "compression": "gzip",
            "compression_opts": 1,
            "shuffle": True,
        }
    dataset = file.create_dataset(
        path, data=array.astype(item.stored, copy=False), track_times=False, **options
    )
    if is_scale:
        dataset.make_scale(item.path)
    else:
        for place, axis in enumerate(item.axes):
            dataset.dims[place].attach_scale(file[axis])
    return dataset


def _describe(dataset: h5py.Dataset, item: Item, unit: str | None) -> None:
    name = dataset.name.rpartition("/")[2]
    if not (unit or item.units):
        raise StorageError(
            f"{dataset.name[1:]} must have a unit. Expected: an entry '{item.key.format(name)}' in the "
            "container's units, such as 'mV', or '1' for a pure number. Received: none. Add it."
        )
    dataset.attrs["units"] = unit or item.units
    dataset.attrs["long_name"] = item.long_name.format(name)
    if item.flags:
        dataset.attrs["flag_values"] = np.array([int(flag) for flag in item.flags], item.stored)
        dataset.attrs["flag_meanings"] = " ".join(flag.name.lower() for flag in item.flags)


def _check_name(item: Item, name: object) -> None:
    """Refuse a name that HDF5 would read as a path, or xarray as a dimension."""
    if not isinstance(name, str) or not name or name in (".", "..", *AXES) or set(name) & set("/\0"):
        raise StorageError(
            f"{item.field}: a name must be text without '/', and not one of {listed(AXES)}. "
            f"Received: {name!r}. Rename it."
        )


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_jsonable)


def _jsonable(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return Path(value).as_posix()
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON: {value!r}")
