"""Joining what several files hold, a channel or some sweeps each, into the contents of one recording."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from odynn.errors import RecordingError, listed
from odynn.recordings.channels import CHANNELS, Contents
from odynn.recordings.files import File


def join(read: Sequence[tuple[File, Contents]]) -> Contents:
    """Return one recording of what several files hold.

    Files of the same sweep give it a channel each; files of different sweeps stand side by side. All
    must have the same times and units.

    Args:
        read: each file and what it holds.

    Raises:
        RecordingError: times, units or channels differ; the message names the file.
    """
    sweeps: dict[object, tuple[File, Contents]] = {}
    for place, (file, contents) in enumerate(read):
        key = place if file.sweep is None and file.channel is None else (file.sweep,)
        if key in sweeps:
            sweeps[key] = (file, _add_channels(sweeps[key], file, contents))
        else:
            sweeps[key] = (file, contents)
    first_file, first = next(iter(sweeps.values()))
    columns: dict[str, list[np.ndarray]] = {}
    numbers: list[int] = []
    labels: list[str] = []
    for file, contents in sweeps.values():
        _check_alike(first_file, first, file, contents)
        traces = _traces(contents)
        count = max(1 if trace.ndim == 1 else trace.shape[1] for trace in traces.values())
        for channel, trace in traces.items():
            trace = trace[:, None] if trace.ndim == 1 else trace
            columns.setdefault(channel, []).append(np.repeat(trace, count // trace.shape[1], axis=1))
        own = list(contents.sweeps) if contents.sweeps is not None else list(range(count))
        numbers += [file.sweep] if file.sweep is not None and count == 1 else own
        labels += list(contents.labels) or [file.path.name] * count
    if len(set(numbers)) < len(numbers):
        numbers = list(range(len(numbers)))
    joined = {channel: np.concatenate(parts, axis=1) for channel, parts in columns.items()}
    return replace(
        first,
        stimulus=joined.pop("stimulus", None),
        responses=joined,
        sweeps=numbers,
        labels=labels,
        found=[name for _, contents in read for name in contents.found],
        rows=None,
    )


def _traces(contents: Contents) -> dict[str, np.ndarray]:
    stimulus = {} if contents.stimulus is None else {"stimulus": contents.stimulus}
    return stimulus | dict(contents.responses)


def _add_channels(so_far: tuple[File, Contents], file: File, contents: Contents) -> Contents:
    """Return the contents of a sweep with the channels of one more file."""
    other, known = so_far
    twice = set(_traces(known)) & set(_traces(contents))
    if twice:
        raise RecordingError(
            f"{file.path}: expected another channel than {other.path.name} has. Received: "
            f"{listed(CHANNELS[channel].meaning for channel in sorted(twice))} in both. Say what each is "
            "with "
            f"columns: {{stimulus: '{other.channel}', V: '{file.channel}'}}."
        )
    _check_times(other, known, file, contents)
    return replace(
        known,
        stimulus=known.stimulus if contents.stimulus is None else contents.stimulus,
        responses=dict(known.responses) | dict(contents.responses),
        units=dict(known.units) | dict(contents.units),
        found=[*known.found, *contents.found],
    )


def _check_alike(first_file: File, first: Contents, file: File, contents: Contents) -> None:
    """Check that a file has the times, channels and units of the first."""
    _check_times(first_file, first, file, contents)
    has, expected = set(_traces(contents)), set(_traces(first))
    if has != expected:
        raise RecordingError(
            f"{file.path}: expected {_named(expected)}, as in {first_file.path.name}. Received: "
            f"{_named(has)}. Give "
            "every sweep the same channels, or leave the file out."
        )
    for channel in sorted(expected | {"time"}):
        if contents.units.get(channel) != first.units.get(channel):
            raise RecordingError(
                f"{file.path}: expected {CHANNELS[channel].meaning} in "
                f"{first.units.get(channel, 'no unit')}, as in "
                f"{first_file.path.name}. Received: {contents.units.get(channel, 'no unit')}. Export the "
                "files alike."
            )


def _check_times(first_file: File, first: Contents, file: File, contents: Contents) -> None:
    ours, theirs = _grid(first), _grid(contents)
    if ours[0] == theirs[0] and np.allclose(ours[1:], theirs[1:], rtol=1e-9, atol=1e-9):
        return
    raise RecordingError(
        f"{file.path}: expected the times of {first_file.path.name}: {_said(first)}. Received: "
        f"{_said(contents)}. "
        "Give the files of one rate and length, or leave this one out."
    )


def _grid(contents: Contents) -> tuple[float, ...]:
    if contents.time is None:
        return (len(next(iter(_traces(contents).values()))), 0.0, 0.0)
    time = contents.time.reshape(-1)
    return (time.size, float(time[0]), float(time[-1]))


def _said(contents: Contents) -> str:
    samples, first, last = _grid(contents)
    if contents.time is None or samples < 2:
        return f"{samples} samples"
    unit = contents.units.get("time", "")
    return f"{samples} samples, {(last - first) / (samples - 1):.6g} {unit} apart".replace("  ", " ")


def _named(channels: set[str]) -> str:
    return listed(CHANNELS[channel].meaning for channel in sorted(channels)) or "nothing"
