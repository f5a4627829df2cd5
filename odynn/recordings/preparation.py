"""What is corrected in a recording before it is a target, and which of its samples do not count."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from odynn import units
from odynn.data import Recording
from odynn.errors import RecordingError, listed
from odynn.recordings.channels import CHANNELS

_JUMP = (0.1, 0.02)
"""A jump of the stimulus is this part of its range in the sweep, and at least this part of that in any."""


def correct(recording: Recording, preparation: Mapping | None) -> Recording:
    """Return a recording with its repeats averaged, and offsets and potentials corrected.

    The order is: repeats, baselines, holding current, bridge, junction potential.

    Args:
        recording: as ``read`` returns it.
        preparation: the block ``preparation`` of a target; None or empty: nothing is changed.

    Returns:
        The recording, each change noted in its source.

    Raises:
        RecordingError: a correction does not fit the recording.
    """
    settings = {key: value for key, value in (preparation or {}).items() if value not in (None, {}, [])}
    if settings.get("repeats"):
        recording = _average(recording, settings["repeats"])
    if not set(settings) & {"baseline", "holding", "bridge", "junction_potential"}:
        return recording
    name = recording.source.get("file", "the recording")
    traces = {"stimulus": recording.stimulus} | dict(recording.responses)
    notes = {}
    for channel, interval in settings.get("baseline", {}).items():
        if channel not in traces:
            raise RecordingError(
                f"preparation.baseline: expected a channel of {name}, which are {listed(traces)}. Received: "
                f"'{channel}'. Correct it."
            )
        part = within(recording.time, [interval])
        if not part.any():
            raise RecordingError(
                f"preparation.baseline.{channel}: expected times within {name}, {recording.time[0]:.10g} to "
                f"{recording.time[-1]:.10g} ms. Received: {list(interval)}. Choose times within it."
            )
        level = traces[channel][part].mean(axis=0)
        traces[channel] = traces[channel] - level
        unit = recording.units[channel]
        notes[f"baseline of {channel}"] = (
            f"the mean of {interval[0]:g} to {interval[1]:g} ms, {level.min():.6g} to {level.max():.6g} "
            f"{unit}, "
            "subtracted from each sweep"
        )
    unit = recording.units["stimulus"]
    dense = units.is_like(unit, units.DENSITY)
    if "holding" in settings:
        amount = float(units.convert(settings["holding"], units.DENSITY if dense else "pA", unit, "holding"))
        traces["stimulus"] = traces["stimulus"] + amount
        notes["holding"] = f"{settings['holding']:g} {'µA/cm²' if dense else 'pA'} added to the stimulus"
    for key in ("bridge", "junction_potential"):
        if key in settings and "V" not in traces:
            raise RecordingError(
                f"preparation.{key}: expected a recorded voltage to correct. Received: {name} with "
                f"{listed(CHANNELS[channel].meaning for channel in traces)}. Remove the key."
            )
    if "bridge" in settings:
        if dense:
            raise RecordingError(
                "preparation.bridge: expected a stimulus that is a current, for the voltage that it drops "
                "over the "
                f"electrode. Received: a density ({unit}). Remove the key, or give the current."
            )
        drop = settings["bridge"] * units.convert(
            traces["stimulus"], unit, "nA", "the stimulus"
        )  # MΩ · nA = mV
        traces["V"] = traces["V"] - units.convert(drop, "mV", recording.units["V"], "the voltage")
        notes["bridge"] = f"{settings['bridge']:g} MΩ times the stimulus subtracted from the voltage"
    if "junction_potential" in settings:
        offset = settings["junction_potential"]
        traces["V"] = traces["V"] - float(units.convert(offset, "mV", recording.units["V"], "the voltage"))
        notes["junction potential"] = f"{offset:g} mV subtracted from the voltage"
    return replace(
        recording,
        stimulus=traces.pop("stimulus"),
        responses=traces,
        source=dict(recording.source) | notes,
    )


def _average(recording: Recording, groups: Sequence[Sequence[int]]) -> Recording:
    """Return a recording with the mean of each group of sweeps in place of them."""
    there = recording.sweeps.tolist()
    named = [number for group in groups for number in group]
    unknown = [number for number in named if number not in there]
    twice = [number for number in named if named.count(number) > 1]
    if unknown or twice:
        raise RecordingError(
            f"preparation.repeats: expected groups of the sweeps {listed(there)}, each in one group. "
            "Received: "
            f"{'no sweep' if unknown else 'twice'} {(unknown or twice)[0]}. Correct the groups."
        )
    members = {group[0]: list(group) for group in groups}
    members |= {number: [number] for number in there if number not in named}
    numbers = sorted(members, key=there.index)

    def mean(trace: np.ndarray) -> np.ndarray:
        places = ([there.index(one) for one in members[number]] for number in numbers)
        return np.stack([trace[:, place].mean(axis=1) for place in places], axis=1)

    labels = tuple(recording.labels[there.index(number)] for number in numbers) if recording.labels else ()
    said = "; ".join(listed(group) for group in groups)
    return replace(
        recording,
        stimulus=mean(recording.stimulus),
        responses={channel: mean(trace) for channel, trace in recording.responses.items()},
        sweeps=np.array(numbers, dtype=int),
        labels=labels,
        source=dict(recording.source) | {"repeats": f"averaged: {said}"},
    )


def find_uncounted(recording: Recording, preparation: Mapping | None) -> tuple[np.ndarray, dict[str, str]]:
    """Return which samples do not count, and the note about them for the source.

    Args:
        recording: corrected.
        preparation: mask, intervals of time that do not count; and blank, how long (ms) before and after
            each jump of the stimulus samples do not count.

    Returns:
        [time, sweep] true where a sample does not count.
    """
    settings = preparation or {}
    out = np.zeros(recording.stimulus.shape, dtype=bool)
    notes = {}
    if settings.get("mask"):
        out |= within(recording.time, settings["mask"])[:, None]
        said = ", ".join(f"{first:g} to {last:g}" for first, last in settings["mask"])
        notes["mask"] = f"{said} ms do not count"
    blank = settings.get("blank") or {}
    if blank.get("before") or blank.get("after"):
        jumps = find_jumps(recording, blank.get("jump"))
        before, after = (round(blank.get(key, 0.0) / recording.interval) for key in ("before", "after"))
        for sample, sweep in np.argwhere(jumps):
            out[max(sample - before, 0) : sample + after + 1, sweep] = True
        notes["blank"] = (
            f"{blank.get('before', 0.0):g} ms before and {blank.get('after', 0.0):g} ms after "
            f"{int(jumps.sum())} "
            "jumps of the stimulus do not count"
        )
    return out, notes


def find_jumps(recording: Recording, least: float | None = None) -> np.ndarray:
    """Return where the stimulus jumps: the first sample after each jump.

    Args:
        recording: the recording.
        least: the smallest jump, in the stimulus's unit; None: a tenth of its range in the sweep, and at
            least a fiftieth of its largest range in any.

    Returns:
        [time, sweep] true at a jump.
    """
    change = np.abs(np.diff(recording.stimulus, axis=0, prepend=recording.stimulus[:1]))
    if least is None:
        span = np.ptp(recording.stimulus, axis=0)
        limit = np.maximum(_JUMP[0] * span, _JUMP[1] * span.max(initial=0.0))
        return (change >= limit) & (change > 0)
    return change >= least


def within(time: np.ndarray, intervals: Sequence[Sequence[float]]) -> np.ndarray:
    """Return which times lie in any of some intervals, both ends included up to rounding."""
    slack = 1e-6 * (time[-1] - time[0]) / (time.size - 1)
    inside = np.zeros(time.size, dtype=bool)
    for first, last in intervals:
        inside |= (time >= first - slack) & (time <= last + slack)
    return inside
