"""Reader of HDF5 files: ``time`` [time], ``stimulus`` and ``voltage`` or ``calcium`` [time, sweep]."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from odynn.errors import RecordingError, did_you_mean, listed
from odynn.recordings.channels import CHANNELS, RESPONSES, Contents, Header, find_one, parse_header

_SWEEPS = ("sweep", "sweeps")
# What h5py raises for damaged files, in which an array can have any size.
_FAILURES = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read(
    path: Path,
    columns: Mapping[str, str] | None,
    sweeps: Sequence[int] | None = None,
    transposed: bool = False,
) -> Contents:
    """Read an HDF5 file with a dataset a channel, each with an attribute ``units``.

    A response of one axis is one sweep. An integer dataset ``sweep`` numbers the sweeps, which are
    else counted from 0.

    Args:
        path: the file.
        columns: channel to the path of its dataset; null: datasets at the root with the usual names.
        sweeps: all are read.
        transposed: whether the axes are in the other order, as MATLAB stores them.

    Returns:
        The traces.

    Raises:
        RecordingError: not an HDF5 file, a damaged one, or datasets of another kind.
    """
    with path.open("rb") as file:
        start = file.read(len(_SIGNATURE))
    if not start:
        raise RecordingError(
            f"{path}: expected an HDF5 file. Received: an empty file. Copy or export it again."
        )
    # An HDF5 file may begin with a block of the user's own; h5py knows where to look.
    if start != _SIGNATURE and not h5py.is_hdf5(path):
        raise RecordingError(
            f"{path}: expected an HDF5 file. Received: a file that does not begin like one. "
            "Say its format (format: csv), or export it again."
        )
    try:
        with h5py.File(path, "r") as file:
            return _contents(path, file, columns or {}, transposed)
    except _FAILURES as error:
        raise RecordingError(
            f"{path}: expected a whole HDF5 file. Received: one that is cut short, damaged, locked or too "
            f"large (h5py: {' '.join(str(error).split())}). Copy or export it again."
        ) from None


def _contents(path: Path, file: h5py.File, columns: Mapping[str, str], transposed: bool) -> Contents:
    found = [name for name in file if isinstance(file.get(name), h5py.Dataset)]
    headers = {}
    for channel, name in columns.items():
        if not isinstance(file.get(name), h5py.Dataset):
            raise RecordingError(
                f"columns.{channel}: expected the path of a dataset of {path}, such as one of "
                f"{listed(found)}. Received: '{name}'.{did_you_mean(name, found)} Correct it."
            )
        if name in headers:
            raise RecordingError(
                f"columns.{channel}: expected a dataset for each channel. Received: '{name}', which "
                f"columns.{headers[name].channel} takes too. Correct one of the two."
            )
        said = parse_header(name)
        headers[name] = Header(channel, "", said.unit if said else None, None)
    for name in found:
        said = parse_header(name)
        if said and said.sweep is None and said.channel not in columns and name not in headers:
            headers[name] = said
    traces, units, taken = {}, {}, set(_SWEEPS)
    resolution = 0.0
    for channel in CHANNELS:
        for name, header in find_one(headers, channel, str(path)).items():
            taken.add(name)
            dataset = file[name]
            if dataset.dtype.kind not in "iuf" or dataset.ndim not in (1, 2) or dataset.size == 0:
                raise RecordingError(
                    f"{path}, dataset {name}: expected numbers, [time] or [time, sweep]. Received: "
                    f"{dataset.dtype} of shape {list(dataset.shape)}. Store the traces as plain arrays."
                )
            values = dataset[...].T if transposed else dataset[...]
            if transposed and 1 in values.shape:
                values = values.reshape(-1)
            if channel == "time" and values.dtype.kind == "f":
                resolution = float(np.spacing(np.abs(values).max()))
            traces[channel] = values.astype(np.float64)
            unit = _text(dataset.attrs.get("units", dataset.attrs.get("unit")))
            if unit or header.unit:
                units[channel] = unit or header.unit
    left_out = [name for name in found if name not in taken]
    return Contents(
        time=traces.get("time"),
        stimulus=traces.get("stimulus"),
        responses={channel: traces[channel] for channel in RESPONSES if channel in traces},
        units=units,
        sweeps=_sweeps(path, file),
        resolution=resolution,
        found=found,
        notes={"datasets left out": listed(left_out)} if left_out else {},
    )


def _sweeps(path: Path, file: h5py.File) -> list[int] | None:
    """Return the numbers that the file gives its sweeps."""
    for name in _SWEEPS:
        dataset = file.get(name)
        if isinstance(dataset, h5py.Dataset):
            if dataset.dtype.kind not in "iu" or dataset.ndim != 1:
                raise RecordingError(
                    f"{path}, dataset {name}: expected the numbers of the sweeps, whole numbers [sweep]. "
                    f"Received: {dataset.dtype} of shape {list(dataset.shape)}. Correct or remove it."
                )
            return [int(number) for number in dataset[...]]
    return None


def _text(value: object) -> str:
    """Return an attribute as text, however it was stored."""
    value = np.asarray(value).ravel()
    value = value[0] if value.size else ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return " ".join(value.split()) if isinstance(value, str) else ""
