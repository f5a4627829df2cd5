"""Reader of MATLAB files (.mat): variables for the time, the stimulus and the responses."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from odynn.errors import RecordingError, did_you_mean, listed
from odynn.recordings import hdf5
from odynn.recordings.channels import CHANNELS, RESPONSES, Contents, Header, find_one, parse_header
from odynn.recordings.libraries import describe_start, load_library, reading, version_of

_KIND = "a MATLAB file"


def read(path: Path, columns: Mapping[str, str] | None, sweeps: Sequence[int] | None) -> Contents:
    """Read a MATLAB file of version 4 to 7, or 7.3, which is HDF5.

    The units are not in such a file, unless in the name of a variable (``voltage_mV``).

    Args:
        path: the file.
        columns: channel to the variable that holds it, with points for the fields of a structure
            (``data.V``); null: variables with the usual names.
        sweeps: all are read.

    Returns:
        The traces. A matrix has a column a sweep, or a row a sweep where only that fits the time.

    Raises:
        RecordingError: not a whole MATLAB file, or the variables are of another kind.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if not start or not any(start):
        what = "an empty file" if not start else "zeros"
        raise RecordingError(f"{path}: expected {_KIND}. Received: {what}. Copy or export it again.")
    if start.startswith(b"MATLAB 7.3") or start.startswith(b"\x89HDF"):
        return hdf5.read(path, columns, sweeps, transposed=True)
    scipy_io = load_library(path, _KIND, "scipy.io")
    # Version 4 has no signature: its first number is a type code below 5000.
    if not start.startswith(b"MATLAB") and int.from_bytes(start[:4], "little") >= 5000:
        raise RecordingError(
            f"{path}: expected {_KIND}. Received: {describe_start(start)}. Say its format (format: …), or "
            "export it again."
        )
    with reading(path, "MATLAB file", "scipy"):
        variables = scipy_io.loadmat(str(path), squeeze_me=True, struct_as_record=True)
    arrays = dict(_arrays({name: value for name, value in variables.items() if not name.startswith("__")}))
    return _contents(path, arrays, columns or {})


def _arrays(value: object, name: str = "", depth: int = 0) -> "list[tuple[str, np.ndarray]]":
    """Return every numeric array in a file by its name, those inside structures included."""
    if isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, np.ndarray | np.void) and value.dtype.names and value.size == 1:
        inside = (
            (
                field,
                np.asarray(value[field]).item()
                if value[field].dtype == object and value[field].ndim == 0
                else value[field],
            )
            for field in value.dtype.names
        )
    else:
        array = np.asarray(value)
        return [(name, array)] if array.dtype.kind in "iufc" and array.ndim > 0 else []
    if depth > 5:
        return []
    return [
        found
        for field, item in inside
        for found in _arrays(item, f"{name}.{field}".removeprefix("."), depth + 1)
    ]


def _contents(path: Path, arrays: Mapping[str, np.ndarray], columns: Mapping[str, str]) -> Contents:
    headers = {}
    for channel, name in columns.items():
        if name not in arrays:
            raise RecordingError(
                f"columns.{channel}: expected a variable of {path} that holds numbers, such as one of "
                f"{listed(arrays) or '(none)'}. Received: '{name}'.{did_you_mean(name, arrays)} Correct it."
            )
        if name in headers:
            raise RecordingError(
                f"columns.{channel}: expected a variable for each channel. Received: '{name}', which "
                f"columns.{headers[name].channel} takes too. Correct one of the two."
            )
        said = parse_header(name.rpartition(".")[2])
        headers[name] = Header(channel, "", said.unit if said else None, None)
    for name in arrays:
        said = parse_header(name.rpartition(".")[2])
        if said and said.sweep is None and said.channel not in columns and name not in headers:
            headers[name] = said
    traces, units, notes = {}, {}, {}
    for channel in CHANNELS:
        for name, header in find_one(headers, channel, str(path)).items():
            array = arrays[name]
            if array.dtype.kind == "c" or array.ndim not in (1, 2) or array.size == 0:
                raise RecordingError(
                    f"{path}, variable {name}: expected real numbers, [time] or [time, sweep]. Received: "
                    f"{array.dtype} of shape {list(array.shape)}. Store the traces as plain matrices."
                )
            traces[channel] = array.astype(np.float64)
            if header.unit:
                units[channel] = header.unit
    samples = traces["time"].size if "time" in traces else None
    for channel, trace in traces.items():
        rows = (
            trace.ndim == 2
            and channel != "time"
            and (
                trace.shape[0] < trace.shape[1]
                if samples is None
                else trace.shape[1] == samples != trace.shape[0]
            )
        )
        if rows:
            traces[channel] = trace.T
            notes[f"rows of {channel}"] = "taken as sweeps"
    left_out = [name for name in arrays if name not in headers]
    if left_out:
        notes["variables left out"] = listed(left_out)
    return Contents(
        time=traces.get("time"),
        stimulus=traces.get("stimulus"),
        responses={channel: traces[channel] for channel in RESPONSES if channel in traces},
        units=units,
        found=list(arrays),
        notes={"library": version_of("scipy")} | notes,
    )
