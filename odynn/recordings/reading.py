"""Reading a recording from a file of any format, into one container with checked units and times."""

import errno
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from odynn import units as unit_of
from odynn.data import Recording
from odynn.errors import RecordingError, did_you_mean, listed
from odynn.recordings import hdf5, tables
from odynn.recordings.channels import CHANNELS, RESPONSES, Contents, check_keys
from odynn.recordings.checks import find_time_problem


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        read: the function ``read(path, columns) -> Contents`` of its module.
        suffixes: the suffixes that ``format: auto`` goes by, in lower case.
    """

    read: Callable[[Path, Mapping[str, str] | None], Contents]
    suffixes: tuple[str, ...]


FORMATS = {
    "csv": Format(tables.read, (".csv", ".tsv", ".txt", ".dat")),
    "hdf5": Format(hdf5.read, (".h5", ".hdf5", ".hdf")),
}
"""Every format that can be read. A new one is a module with a function ``read``, and its line here."""


def read(
    path: str | PathLike,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> Recording:
    """Read a recording.

    The times are converted to ms and checked to be uniform. The traces keep the unit and the values
    that they have in the file, gaps included; ``prepare`` converts and checks the part that is used.

    Args:
        path: the file.
        format: a key of ``FORMATS``, or auto: by the file's suffix.
        columns: channel (time, stimulus, V, Ca) to the column or dataset that it is in, in a table
            with ``{sweep}`` for the number of the sweep. Channels that are not named, and all if
            None, are recognised by the usual names.
        units: channel to unit, in place of what the file says or for what it does not say.

    Returns:
        The recording.

    Raises:
        RecordingError: the file cannot be opened or is not of this format, or it lacks a channel or
            a unit, or its times are not uniform. Several problems are one line each.
    """
    path = Path(path)
    problems = check_keys(columns, "columns") + check_keys(units, "units")
    if problems:
        raise RecordingError("\n".join(problems))
    name = _find_format(path, format)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder")
        contents = FORMATS[name].read(path, columns)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RecordingError(_unopened(path, error)) from None
    source = {"file": path.name, "sha256": digest, "reader": name} | dict(contents.notes)
    return assemble(contents, path, source, units or {})


def _find_format(path: Path, format: str) -> str:
    """Return the key of ``FORMATS`` for a file."""
    if format in FORMATS:
        return format
    if format != "auto":
        raise RecordingError(
            f"format: expected one of auto, {listed(FORMATS)}. Received: '{format}'."
            f"{did_you_mean(format, FORMATS)} Choose one of them."
        )
    for name, entry in FORMATS.items():
        if path.suffix.lower() in entry.suffixes:
            return name
    suffixes = [suffix for entry in FORMATS.values() for suffix in entry.suffixes]
    raise RecordingError(
        f"{path}: expected a suffix among {listed(suffixes)}. Received: '{path.suffix}'. "
        f"Say which format the file has (format: {' or '.join(FORMATS)}), or export it as one of them."
    )


def _unopened(path: Path, error: OSError) -> str:
    """Say why a file cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return (
            f"{path}: expected a recording. Received: no such file. Check the path and the working directory."
        )
    if isinstance(error, IsADirectoryError):
        return f"{path}: expected a recording. Received: a folder. Name a file in it."
    if isinstance(error, PermissionError):
        return (
            f"{path}: expected a file that you may read. Received: permission denied. "
            "Change its permissions, or copy it."
        )
    return f"{path}: expected a file that can be read. Received: {error.strerror or error}. Copy it again."


def assemble(
    contents: Contents, path: Path, source: Mapping[str, str], declared: Mapping[str, str]
) -> Recording:
    """Check what a reader found and make a recording of it.

    Args:
        contents: what the reader found.
        path: the file, for messages.
        source: provenance of the file.
        declared: channel to unit, in place of the file's.

    Raises:
        RecordingError: a channel or a unit is missing, the shapes differ, or the times are not
            uniform; one line a problem.
    """
    channels = {"time": contents.time, "stimulus": contents.stimulus} | dict(contents.responses)
    channels = {channel: trace for channel, trace in channels.items() if trace is not None}
    said = {channel: declared.get(channel, contents.units.get(channel)) for channel in channels}
    if said.get("stimulus") and unit_of.is_like(said["stimulus"], "mV"):
        raise RecordingError(
            f"{path}: the stimulus must be a current. Received: a voltage ({said['stimulus']}), as in a "
            "voltage-clamp recording, which odynn cannot fit yet. Give a current-clamp recording; or, if it "
            "is a current, its unit: units: {stimulus: pA}."
        )
    problems = [_find_missing(path, channels, contents.found)]
    problems += [_find_unit_problem(path, channel, unit, declared) for channel, unit in said.items()]
    stimulus, responses, sweeps = contents.stimulus, dict(contents.responses), contents.sweeps
    if not any(problems):
        count = max(1 if trace.ndim == 1 else trace.shape[1] for trace in responses.values())
        stimulus = _as_columns(stimulus, count)
        responses = {channel: _as_columns(trace, 1) for channel, trace in responses.items()}
        sweeps = list(range(count)) if sweeps is None else list(sweeps)
        shapes = {"time": contents.time.shape, "stimulus": stimulus.shape}
        shapes |= {channel: trace.shape for channel, trace in responses.items()}
        problems.append(_find_shape_problem(path, shapes, sweeps))
    time = None if contents.time is None else contents.time.reshape(-1)
    if time is not None and time.size == max(contents.time.shape):
        problem = find_time_problem(time, contents.resolution, contents.rows)
        problems.append(problem and f"{path}, time, {problem}")
    problems = [text for text in problems if text]
    if problems:
        raise RecordingError("\n".join(problems))

    source = dict(source) | {
        f"unit of {channel}": f"{unit} (as declared; the file says {contents.units.get(channel, 'none')})"
        for channel, unit in declared.items()
        if channel in channels and contents.units.get(channel) != unit
    }
    if said["time"] != "ms":
        source["time"] = f"{said['time']} converted to ms"
    return Recording(
        time=unit_of.convert(time, said["time"], "ms", "the time"),
        stimulus=stimulus,
        responses=responses,
        units={channel: unit for channel, unit in said.items() if channel != "time"},
        sweeps=np.array(sweeps, dtype=int),
        source=source,
    )


def _as_columns(trace: np.ndarray, count: int) -> np.ndarray:
    """Return a trace as [time, sweep], one of a single axis repeated for every sweep."""
    return trace if trace.ndim == 2 else np.repeat(trace[:, None], count, axis=1)


def _find_missing(path: Path, channels: Mapping[str, np.ndarray], found: Sequence[str]) -> str:
    """Say which channels a file lacks, or return an empty string."""
    missing = [channel for channel in ("time", "stimulus") if channel not in channels]
    missing += [] if any(channel in channels for channel in RESPONSES) else ["V"]
    if not missing:
        return ""
    names = {channel: f"{entry.meaning} (as '{entry.aliases[0]}')" for channel, entry in CHANNELS.items()}
    names["V"] += f" or {names['Ca']}"
    return (
        f"{path}: a channel is missing. Expected {', '.join(names[channel] for channel in missing)}. "
        f"Received: {listed(found) or 'nothing'}. "
        f"Rename it, or say what holds it with columns: {{{missing[0]}: …}}."
    )


def _find_unit_problem(path: Path, channel: str, unit: str | None, declared: Mapping[str, str]) -> str:
    """Say why a channel cannot have this unit, or return an empty string."""
    entry = CHANNELS[channel]
    accepted = " or ".join(entry.accepted)
    where = f"units.{channel}: " if channel in declared else f"{path}: "
    remedy = f"Write units: {{{channel}: {entry.accepted[0]}}}, if that is what the numbers are in."
    if not unit:
        return (
            f"{where}the unit of {entry.meaning} is missing. Expected one such as {accepted}. "
            f"Received: none. {remedy}"
        )
    if not unit_of.is_known(unit):
        return (
            f"{where}the unit of {entry.meaning} must be a known one, such as {accepted}. "
            f"Received: '{unit}'.{unit_of.suggestion(unit)} {remedy}"
        )
    if not any(unit_of.is_like(unit, other) for other in entry.accepted):
        return (
            f"{where}{entry.meaning} cannot be in '{unit}'. Expected a unit that converts to {accepted}. "
            f"Received: '{unit}'.{unit_of.suggestion(unit)} {remedy}"
        )
    return ""


def _find_shape_problem(path: Path, shapes: Mapping[str, tuple[int, ...]], sweeps: list[int]) -> str:
    """Say how the shapes of the traces do not agree, or return an empty string."""
    received = ", ".join(f"{channel} {list(shape)}" for channel, shape in shapes.items())
    samples = int(np.prod(shapes["time"]))
    traces = {channel: shape for channel, shape in shapes.items() if channel != "time"}
    if max(shapes["time"]) != samples or any(shape[0] != samples for shape in traces.values()):
        turned = all(shape[1] == samples for shape in traces.values())
        remedy = "Store the traces transposed." if turned else "Cut them to the same samples."
        return (
            f"{path}: every trace must be [time, sweep], as long as the time. Received: {received}. {remedy}"
        )
    if len({shape[1] for shape in traces.values()}) > 1:
        return f"{path}: every trace must have the same sweeps. Received: {received}. Store a column a sweep."
    if len(set(sweeps)) != traces["stimulus"][1]:
        return (
            f"{path}: every sweep must have one number of its own. Received: {listed(sweeps)} for "
            f"{traces['stimulus'][1]} sweeps. Correct the numbers."
        )
    return ""
