"""Reading a recording from files of any format, into one container with checked units and times."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from odynn import units as unit_of
from odynn.data import Recording
from odynn.errors import RecordingError, did_you_mean, listed
from odynn.recordings import abf, hdf5, ibw, mat, nwb, tables
from odynn.recordings.channels import CHANNELS, RESPONSES, Contents, check_keys
from odynn.recordings.checks import find_time_problem
from odynn.recordings.files import File, check_openable, digest_of, find_files, name_of, unopened
from odynn.recordings.joining import join
from odynn.recordings.protocols import held_over, protocol_stimulus


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        read: the function ``read(path, columns, sweeps) -> Contents`` of its module.
        suffixes: the suffixes that ``format: auto`` goes by, in lower case.
        single: whether a file holds one channel, so that ``columns`` goes by ``{channel}`` of a pattern.
    """

    read: Callable[[Path, Mapping[str, str] | None, Sequence[int] | None], Contents]
    suffixes: tuple[str, ...]
    single: bool = False


FORMATS = {
    "csv": Format(tables.read, (".csv", ".tsv", ".txt", ".dat")),
    "hdf5": Format(hdf5.read, (".h5", ".hdf5", ".hdf")),
    "abf": Format(abf.read, (".abf",)),
    "nwb": Format(nwb.read, (".nwb",)),
    "ibw": Format(ibw.read, (".ibw", ".bwav"), single=True),
    "mat": Format(mat.read, (".mat",)),
}
"""Every format that can be read. A new one is a module with a function ``read``, and its line here."""


def read(
    path: str | PathLike | Sequence[str | PathLike],
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    *,
    interval: float | None = None,
    protocol: Mapping | None = None,
    stimulus: Mapping | None = None,
    sweeps: Sequence[int] | None = None,
    sha256: str | None = None,
) -> Recording:
    """Read a recording.

    The times are converted to ms and checked to be uniform. The traces keep the unit and the values
    that they have in the file, gaps included; ``prepare`` converts and checks the part that is used.

    Args:
        path: the file; a list of files with some sweeps each; or a pattern, ``{sweep}`` in the name
            standing for the number of the sweep and ``{channel}`` for what tells channels apart.
        format: a key of ``FORMATS``, or auto: by the file's suffix.
        columns: channel (time, stimulus, V, Ca, I) to the column, dataset, variable, series or channel of
            an amplifier that it is in, in tables and NWB with ``{sweep}`` for the number of the sweep; with
            ``{channel}`` in the name of the file, to what stands there. Channels that are not named, and
            all if None, are recognised by the usual names.
        units: channel to unit, in place of what the file says or for what it does not say.
        interval: sampling interval in ms, for a file without times.
        protocol: the stimulus in words, in place of the file's: unit, and sweeps or pieces with
            amplitudes (see ``odynn.recordings.protocols``).
        stimulus: the stimulus in another file: file, and optionally format, columns and units.
        sweeps: numbers of the sweeps that matter; a format that can leave the others unread does.
        sha256: checksum that the file must have, before it is read.

    Returns:
        The recording.

    Raises:
        RecordingError: a file cannot be opened or is not of this format, or it lacks a channel or
            a unit, or its times are not uniform. Several problems are one line each.
    """
    problems = check_keys(columns, "columns") + check_keys(units, "units")
    if problems:
        raise RecordingError("\n".join(problems))
    files = find_files(path)
    if sha256 is not None:
        _check_sum(files, sha256)
    _, contents, source = _read_files(files, format, columns, sweeps)
    place = files[0].path
    if stimulus is not None:
        contents, source = _with_stimulus_of(contents, source, stimulus, place, units or {})
    declared = units or {}
    if interval is not None:
        contents, source = _with_interval(contents, source, interval, place)
    if protocol is not None:
        contents, source = protocol_stimulus(protocol, contents, source, declared, place)
        declared = {channel: unit for channel, unit in declared.items() if channel != "stimulus"}
    return assemble(contents, place, source, declared)


def _check_sum(files: Sequence[File], expected: str) -> None:
    for file in files:
        check_openable(file.path)
    found = digest_of(files)
    if found != expected:
        raise RecordingError(
            f"sha256: expected {name_of(files)} to have the checksum {expected}. Received: {found}. Fetch "
            "the file "
            "again; if it is the right one, correct the checksum."
        )


def _read_files(
    files: Sequence[File], format: str, columns: Mapping[str, str] | None, sweeps: Sequence[int] | None
) -> tuple[str, Contents, dict[str, str]]:
    """Return the last format, the contents and the source of some files."""
    found: list[tuple[File, Contents]] = []
    for file in files:
        if file.sweep is not None and sweeps is not None and file.sweep not in sweeps and len(files) > 1:
            continue
        name = _find_format(file.path, format)
        check_openable(file.path)
        wanted = columns
        if FORMATS[name].single and file.channel is not None and columns:
            wanted = {channel: "" for channel, text in columns.items() if text == file.channel}
            if not wanted:
                continue  # a channel that nobody asked for
        try:
            found.append((file, FORMATS[name].read(file.path, wanted, sweeps)))
        except OSError as error:
            raise RecordingError(unopened(file.path, error)) from None
    if not found:
        channels = sorted({file.channel for file in files if file.channel is not None})
        raise RecordingError(
            f"{files[0].path}: expected files of the sweeps and columns that are asked for. Received: none "
            "of "
            f"{len(files)}, of the channels {listed(channels) or '(none)'} and the sweeps "
            f"{listed(sorted({file.sweep for file in files if file.sweep is not None}))}. Correct columns "
            "or sweeps."
        )
    read = [file for file, _ in found]
    contents = found[0][1] if len(found) == 1 and found[0][0].sweep is None else join(found)
    source = {"file": name_of(read), "sha256": digest_of(read), "reader": name} | dict(contents.notes)
    return name, contents, source


def _with_stimulus_of(
    contents: Contents, source: dict[str, str], settings: Mapping, path: Path, declared: Mapping[str, str]
) -> tuple[Contents, dict[str, str]]:
    """Return the contents with the stimulus of another file."""
    files = find_files(settings["file"])
    columns, units = settings.get("columns"), settings.get("units") or {}
    problems = check_keys(columns, "stimulus.columns") + check_keys(units, "stimulus.units")
    if problems:
        raise RecordingError("\n".join(problems))
    _, other, about = _read_files(files, settings.get("format") or "auto", columns, None)
    if other.stimulus is None:
        raise RecordingError(
            f"{files[0].path}: expected the stimulus. Received: {listed(other.found) or 'nothing'}. Say "
            "what holds "
            "it with stimulus: {file: …, columns: {stimulus: …}}."
        )
    unit = units.get("stimulus", other.units.get("stimulus"))
    trace = held_over(
        other, units.get("time", other.units.get("time")), contents, declared, files[0].path, path
    )
    own = {channel: said for channel, said in contents.units.items() if channel != "stimulus"}
    contents = replace(contents, stimulus=trace, units=own | ({"stimulus": unit} if unit else {}))
    return contents, source | {"stimulus file": about["file"], "stimulus sha256": about["sha256"]}


def _with_interval(
    contents: Contents, source: dict[str, str], interval: float, path: Path
) -> tuple[Contents, dict[str, str]]:
    """Return the contents with times from a sampling interval in ms."""
    if contents.time is not None:
        raise RecordingError(
            "interval: expected a sampling interval only where the file has no times. Received: "
            f"{interval:g} ms, "
            f"and {path} has a time for every sample. Remove interval."
        )
    traces = [*contents.responses.values(), *([] if contents.stimulus is None else [contents.stimulus])]
    samples = max((len(trace) for trace in traces), default=0)
    time = np.arange(samples) * float(interval)
    contents = replace(contents, time=time, units=dict(contents.units) | {"time": "ms"})
    return contents, source | {"times": f"{interval:.10g} ms apart, as declared"}


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
    if not path.is_file():
        check_openable(path)
    suffixes = [suffix for entry in FORMATS.values() for suffix in entry.suffixes]
    raise RecordingError(
        f"{path}: expected a suffix among {listed(suffixes, most=20)}. Received: '{path.suffix}'. "
        f"Say which format the file has (format: {' or '.join(FORMATS)}), or export it as one of them."
    )


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
    if said.get("stimulus") and unit_of.is_like(said["stimulus"], "mV") and set(contents.responses) != {"I"}:
        raise RecordingError(
            f"{path}: the stimulus must be a current where the response is {_meant(contents.responses)}. "
            "Received: "
            f"a voltage ({said['stimulus']}), as in a voltage-clamp recording. If the two are swapped, say "
            f"which is which with columns: {{stimulus: "
            "…, V: …}; in voltage clamp, columns: {stimulus: …, I: …}; if it is a current, units: "
            "{stimulus: pA}."
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
        labels=tuple(contents.labels) if len(contents.labels) == len(sweeps) else (),
        metadata=dict(contents.metadata),
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
    remedy = {
        "time": " Where the file has no times, give the sampling interval: interval: 0.1 (ms).",
        "stimulus": " Where the file has no stimulus, describe it with protocol: {…}.",
    }
    return (
        f"{path}: a channel is missing. Expected {', '.join(names[channel] for channel in missing)}. "
        f"Received: {listed(found) or 'nothing'}. "
        f"Rename it, or say what holds it with columns: {{{missing[0]}: …}}."
        + "".join(text for channel, text in remedy.items() if channel in missing)
    )


def _meant(channels: Mapping[str, np.ndarray]) -> str:
    return " and ".join(CHANNELS[channel].meaning for channel in channels) or "missing"


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
