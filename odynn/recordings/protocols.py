"""Stimuli that are not in the file of the responses: described in the configuration, or in another file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from odynn import units as unit_of
from odynn.errors import RecordingError, did_you_mean, listed
from odynn.recordings.channels import Contents
from odynn.stimuli import pieces_at


def protocol_stimulus(
    protocol: Mapping,
    contents: Contents,
    source: dict[str, str],
    declared: Mapping[str, str],
    path: Path,
) -> tuple[Contents, dict[str, str]]:
    """Return contents with the stimulus that a protocol describes.

    Args:
        protocol: unit; and either sweeps, the pieces of each sweep, or pieces, those of every sweep, which
            amplitudes multiply: a list, or ``file.json:key.key`` or the path of a column of numbers.
        contents: what the reader found; a stimulus in it is replaced.
        source: provenance, to which the protocol is added.
        declared: channel to unit, in place of the file's.
        path: the file, for messages.

    Raises:
        RecordingError: the protocol has other sweeps than the file, or amplitudes cannot be read.
    """
    if contents.time is None or not contents.responses:
        return contents, source  # assemble says what is missing
    traces = list(contents.responses.values())
    count = max(1 if trace.ndim == 1 else trace.shape[1] for trace in traces)
    numbers = list(contents.sweeps) if contents.sweeps is not None else list(range(count))
    unit = declared.get("time", contents.units.get("time"))
    if not unit or not unit_of.is_like(unit, "ms"):
        return contents, source
    time = unit_of.convert(contents.time.reshape(-1), unit, "ms", "the time")
    interval = (time[-1] - time[0]) / max(len(time) - 1, 1)
    factors = [1.0] * count
    if protocol.get("sweeps") is not None:
        pieces = list(protocol["sweeps"])
        _check_count(len(pieces), "protocol.sweeps", "stimuli", count, path)
    else:
        pieces = [protocol["pieces"]] * count
        if protocol.get("amplitudes") is not None:
            factors, origin = read_amplitudes(protocol["amplitudes"])
            _check_count(len(factors), "protocol.amplitudes", "amplitudes", count, path)
            source = source | origin
    # A sample holds until the next: it is the stimulus in the middle between the two.
    middle = time + interval / 2
    columns = [factor * pieces_at(own, middle, interval) for own, factor in zip(pieces, factors, strict=True)]
    # A path of this machine does not belong into results.
    said = {key: value for key, value in protocol.items() if value is not None and not isinstance(value, str)}
    source = source | {"protocol": json.dumps(said, sort_keys=True, ensure_ascii=False)}
    units = dict(contents.units) | {"stimulus": protocol["unit"]}
    stimulus = np.stack(columns, axis=1)
    return replace(contents, stimulus=stimulus, units=units, sweeps=numbers), source


def _check_count(received: int, key: str, what: str, count: int, path: Path) -> None:
    if received != count:
        raise RecordingError(
            f"{key}: expected as many {what} as {path} has sweeps, {count}. Received: {received}. Give one "
            "a sweep, "
            "in the order of the file."
        )


def read_amplitudes(given: Sequence[float] | str) -> tuple[list[float], dict[str, str]]:
    """Return the amplitude of each sweep, and where it comes from.

    Args:
        given: numbers; or the path of a JSON file, with the keys that lead to a list of numbers after a
            colon (``file.json:cell.amplitudes``); or the path of a text file of numbers.

    Raises:
        RecordingError: the file cannot be read, or holds no such list.
    """
    if not isinstance(given, str):
        return [float(number) for number in given], {}
    name, keys = split_amplitudes(given)
    path = Path(name)
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() == ".json":
            numbers = _follow(path, json.loads(text), keys)
        else:
            numbers = [
                float(cell)
                for line in text.splitlines()
                if line.strip()[:1] != "#"
                for cell in line.replace(",", " ").split()
            ]
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        said = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise RecordingError(
            f"protocol.amplitudes: expected a file of numbers, JSON or text. Received: {path}, which "
            "cannot be read "
            f"({said}). Correct the path or the file."
        ) from None
    return numbers, {"amplitudes": f"{path.name}{':' + keys if keys else ''}"}


def split_amplitudes(given: str) -> tuple[str, str]:
    """Return the path and the keys of ``file.json:key.key``.

    >>> split_amplitudes("csv1.json:cells.amplitudes")
    ('csv1.json', 'cells.amplitudes')
    """
    name, colon, keys = given.rpartition(":")
    return (name, keys) if colon and name.lower().endswith(".json") else (given, "")


def _follow(path: Path, value: object, keys: str) -> list[float]:
    place = str(path)
    for key in keys.split(".") if keys else ():
        if not isinstance(value, Mapping) or key not in value:
            known = list(value) if isinstance(value, Mapping) else []
            raise RecordingError(
                f"protocol.amplitudes: {place} has no key '{key}'. Expected one of "
                f"{listed(known) or '(none)'}. "
                f"Received: '{keys}'.{did_you_mean(key, known)} Correct the keys after the colon."
            )
        value, place = value[key], f"{place}:{key}"
    numbers = value if isinstance(value, list) else []
    if not numbers or any(isinstance(one, bool) or not isinstance(one, int | float) for one in numbers):
        raise RecordingError(
            f"protocol.amplitudes: expected a list of numbers at {place}. Received: "
            f"{type(value).__name__}. Give "
            "the keys that lead to it, as in file.json:cell.amplitudes."
        )
    return [float(number) for number in numbers]


def held_over(
    other: Contents,
    unit: str | None,
    contents: Contents,
    declared: Mapping[str, str],
    other_path: Path,
    path: Path,
) -> np.ndarray:
    """Return the stimulus of another file at the times of the responses.

    Where both files have times, each sample of the stimulus holds until its next; where one has none,
    they must have equally many samples.

    Args:
        other: the file of the stimulus.
        unit: unit of its times.
        contents: the file of the responses.
        declared: channel to unit, in place of what that file says.
        other_path: for messages.
        path: for messages.

    Raises:
        RecordingError: the stimulus does not cover the responses.
    """
    trace = other.stimulus
    samples = max((len(response) for response in contents.responses.values()), default=0)
    own = declared.get("time", contents.units.get("time"))
    if other.time is None or contents.time is None or not unit or not own:
        if len(trace) != samples:
            raise RecordingError(
                f"{other_path}: expected as many samples as {path} has, {samples}, as not both files have "
                "times. "
                f"Received: {len(trace)}. Give the stimulus of this recording."
            )
        return trace
    theirs = unit_of.convert(other.time.reshape(-1), unit, "ms", "the time of the stimulus")
    ours = unit_of.convert(contents.time.reshape(-1), own, "ms", "the time")
    step = (theirs[-1] - theirs[0]) / max(len(theirs) - 1, 1)
    if ours[0] < theirs[0] - 0.01 * step or ours[-1] > theirs[-1] + 1.01 * step:
        raise RecordingError(
            f"{other_path}: expected a stimulus for the times of {path}, {ours[0]:.10g} to {ours[-1]:.10g} "
            "ms. "
            f"Received: one from {theirs[0]:.10g} to {theirs[-1]:.10g} ms. Give a stimulus that is as long."
        )
    places = np.searchsorted(theirs, ours + 1e-3 * step, side="right") - 1
    return trace[np.clip(places, 0, len(theirs) - 1)]
