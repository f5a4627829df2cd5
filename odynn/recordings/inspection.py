"""A look at a recording before the fit: what it holds, what follows from it, and whether it can be right."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from odynn import units
from odynn.data import Recording
from odynn.findings import ERROR, Inspection, Relaxation, Remark, Slope, Step, SweepFindings
from odynn.recordings import passive
from odynn.recordings.channels import CHANNELS
from odynn.recordings.doubts import find_remarks
from odynn.recordings.selection import Plan, find_value_problems
from odynn.recordings.steps import Segment, find_baselines, find_main_window, find_segments, find_steps
from odynn.spikes import spike_times

_USUAL = ("pA", units.DENSITY, "mV")
"""Units that traces are looked at in, where they convert to one of them."""

_SAME = 2.0
"""How far (ms) the edges of one step may be apart in different sweeps."""

_DEFLECTIONS = (3.0, 1.0, 0.0)
"""Deflections (mV) that do for a time constant if they stand out of the noise; the first ones are better."""


def inspect(recording: Recording, area: float | None = None) -> Inspection:
    """Look at a recording: its sweeps, its membrane, and what is doubtful about it.

    Args:
        recording: as ``read`` returns it.
        area: membrane area in µm², where it is known: then the size of the stimulus is checked too.

    Returns:
        What was found. A recording that lacks something (a voltage, steps, numbers) is described as
        far as it goes.
    """
    errors = [Remark(ERROR, text) for text in _find_errors(recording, area)]
    recording = in_usual_units(recording)
    interval = recording.interval
    response = "V" if "V" in recording.responses else next(iter(recording.responses))
    ranges = {
        channel: _range(trace)
        for channel, trace in (("stimulus", recording.stimulus), *recording.responses.items())
    }
    finite = np.isfinite(recording.stimulus).all(axis=0) & np.isfinite(recording.responses[response]).all(
        axis=0
    )
    sweeps, window = _describe_sweeps(recording, response, interval, finite)
    found = Inspection(recording, interval, response, ranges, sweeps, window)
    if finite.any():
        found = replace(
            found,
            holding=float(np.nanmedian([sweep.baseline for sweep in sweeps])),
            drift=_drift(sweeps) if response == "V" else np.nan,
        )
    if response == "V" and finite.any():
        found = _describe_membrane(found)
    return replace(found, remarks=(*errors, *find_remarks(found)))


def _find_errors(recording: Recording, area: float | None) -> list[str]:
    """Return the gaps and the impossible values of all of a recording."""
    samples, sweeps = recording.stimulus.shape
    everything = np.ones(sweeps, dtype=bool)
    plan = Plan(0, samples - 1, np.arange(sweeps), everything, recording.interval, 1.0, samples - 1)
    area = area if recording.clamp == "current" else None
    return find_value_problems(recording, plan, area, np.zeros(recording.stimulus.shape, dtype=bool))


def interpolate(recording: Recording, uncounted: np.ndarray) -> Recording:
    """Return a recording with straight lines in place of the samples of its responses that do not count.

    Args:
        recording: what was recorded.
        uncounted: [time, sweep] true where a sample does not count.
    """
    if not uncounted.any():
        return recording
    responses = {}
    for channel, trace in recording.responses.items():
        trace = np.array(trace, dtype=float)
        for values, left_out in zip(trace.T, uncounted.T, strict=True):
            if not left_out.all():
                values[left_out] = np.interp(
                    recording.time[left_out], recording.time[~left_out], values[~left_out]
                )
        responses[channel] = trace
    return replace(recording, responses=responses)


def in_usual_units(recording: Recording) -> Recording:
    """Return a recording with currents in pA, densities in µA/cm² and voltages in mV."""
    said = recording.units
    wanted = {
        channel: next((unit for unit in _USUAL if units.is_like(said[channel], unit)), said[channel])
        for channel in said
    }

    def converted(channel: str, trace: np.ndarray) -> np.ndarray:
        if said[channel] == wanted[channel]:
            return np.asarray(trace, dtype=np.float64)
        meaning = CHANNELS[channel].meaning if channel in CHANNELS else channel
        return units.convert(trace, said[channel], wanted[channel], meaning)

    return replace(
        recording,
        stimulus=converted("stimulus", recording.stimulus),
        responses={channel: converted(channel, trace) for channel, trace in recording.responses.items()},
        units=wanted,
    )


def _range(trace: np.ndarray) -> tuple[float, float, float]:
    values = trace[np.isfinite(trace)]
    if not values.size:
        return np.nan, np.nan, np.nan
    return float(values.min()), float(np.median(values)), float(values.max())


def _describe_sweeps(
    recording: Recording, response: str, interval: float, finite: np.ndarray
) -> tuple[tuple[SweepFindings, ...], tuple[float, float] | None]:
    """Return what each sweep shows, and the window of the steps."""
    time = recording.time
    found = {int(place): SweepFindings(int(number), False) for place, number in enumerate(recording.sweeps)}
    if not finite.any():
        return tuple(found.values()), None
    places = np.flatnonzero(finite)
    segments, least = find_segments(recording.stimulus[:, places], interval)
    baselines = find_baselines(segments)
    steps = [
        find_steps(sweep, baseline, least, time, interval)
        for sweep, baseline in zip(segments, baselines, strict=True)
    ]
    window = find_main_window(steps, least, max(_SAME, 2 * interval))
    inside = _samples(time, interval, window) if window else slice(0, 0)
    times = spike_times(recording.responses[response], time)
    for place, sweep, baseline, own in zip(places, segments, baselines, steps, strict=True):
        trace = recording.responses[response][:, place]
        spikes = times[np.isfinite(times[:, place]), place] if response == "V" else np.empty(0)
        begin = own[0].start if own else window[0] if window else np.inf
        before = trace[: np.searchsorted(time, begin - interval / 2)]
        level = _level_within(sweep, inside)
        found[int(place)] = SweepFindings(
            number=int(recording.sweeps[place]),
            finite=True,
            baseline=float(baseline),
            steps=own,
            constant=sum(s.last - s.first for s in sweep if s.constant) / time.size,
            rest=float(np.median(before)) if before.size >= 5 else np.nan,
            spikes=spikes,
            noise=passive.estimate_noise(trace, interval),
            level=level,
            plateau=passive.estimate_plateau(trace[inside], interval) if np.isfinite(level) else np.nan,
            spikes_within=int(np.sum((spikes >= window[0]) & (spikes < window[1]))) if window else 0,
        )
    return tuple(found.values()), window


def _samples(time: np.ndarray, interval: float, window: tuple[float, float]) -> slice:
    first, last = (int(np.searchsorted(time, at - interval / 2)) for at in window)
    return slice(first, last)


def _level_within(segments: Sequence[Segment], inside: slice) -> float:
    """Return the level that a stimulus has over nearly all of a window, NaN if it has none."""
    for segment in segments:
        shared = min(segment.last, inside.stop) - max(segment.first, inside.start)
        if segment.constant and shared > 0.95 * (inside.stop - inside.start):
            return segment.level
    return np.nan


def _drift(sweeps: Sequence[SweepFindings]) -> float:
    """Return the change of the voltage at rest from the first to the last sweep, on a straight line."""
    rest = np.array([sweep.rest for sweep in sweeps])
    order = np.flatnonzero(np.isfinite(rest))
    if order.size < 3:
        return np.nan
    slope = np.polyfit(order, rest[order], 1)[0]
    return float(slope * (order[-1] - order[0]))


def _describe_membrane(found: Inspection) -> Inspection:
    """Add what the voltage under steps of current tells of the membrane."""
    slope = _slope(found)
    relaxation = _relaxation(found)
    capacitance = area = None
    if slope and relaxation and slope.value > 0:
        capacitance = relaxation.tau / slope.value  # ms over GΩ are pF, ms over kΩ·cm² are µF/cm²
        if found.recording.units["stimulus"] == "pA":
            area = 100.0 * capacitance  # 1 µF/cm² is 0.01 pF/µm²
    return replace(
        found,
        slope=slope,
        relaxation=relaxation,
        capacitance=capacitance,
        area=area,
        rheobase=_rheobase(found.sweeps),
        sag=_sag(found),
    )


def _slope(found: Inspection) -> Slope | None:
    """Fit a line through the steady voltages of steps without spikes, and the voltage at rest."""
    rests = np.array([sweep.rest for sweep in found.sweeps])
    typical = float(np.median(rests[np.isfinite(rests)])) if np.isfinite(rests).any() else np.nan
    # A cell that drifts moves all voltages of a sweep: what counts is how far they are from its rest.
    shifts = np.where(np.isfinite(rests), typical - rests, 0.0)
    points = [
        (sweep.level, sweep.plateau + shift)
        for sweep, shift in zip(found.sweeps, shifts, strict=True)
        if np.isfinite(sweep.level) and sweep.spikes_within == 0
    ]
    # Steps outside the main window, from rest: a pulse that every sweep has before it, say.
    points += [
        (step.level, passive.estimate_plateau(trace, found.interval) + shifts[place])
        for place, step, trace in _steps_from_rest(found)
        if abs(step.start - found.window[0]) > _SAME and step.amplitude < 0
    ]
    if np.isfinite(typical):
        points.append((found.holding, typical))
    levels, voltages = np.array(points).reshape(-1, 2).T
    return passive.fit_slope(levels, voltages, found.holding)


def _steps_from_rest(found: Inspection) -> Iterator[tuple[int, Step, np.ndarray]]:
    """Yield (place of the sweep, step, voltage under it) of the steps from rest without a spike in them."""
    recording = found.recording
    for place, sweep in enumerate(found.sweeps):
        for step in sweep.steps:
            inside = _samples(recording.time, found.interval, (step.start, step.end))
            lead = _samples(recording.time, found.interval, (step.start - 5.0, step.start))
            at_rest = abs(step.before - sweep.baseline) < 0.1 * abs(step.amplitude)
            spikes = (sweep.spikes >= step.start - 20.0) & (sweep.spikes < step.end)
            if at_rest and lead.stop > lead.start and not spikes.any():
                yield place, step, recording.responses["V"][inside, place]


def _relaxation(found: Inspection) -> Relaxation | None:
    """Fit an exponential to the smallest step that moves the voltage well, hyperpolarising ones first."""
    groups: dict[tuple, list[tuple[int, Step, np.ndarray]]] = {}
    scale = np.ptp(found.ranges["stimulus"]) or 1.0
    for place, step, trace in _steps_from_rest(found):
        key = (round(step.amplitude / (0.01 * scale)), round(step.start / (2 * _SAME)))
        groups.setdefault(key, []).append((place, step, trace))
    order = sorted(groups, key=lambda key: (key[0] > 0, abs(key[0]), key[1]))
    for least in _DEFLECTIONS:
        for key in order:
            members = groups[key]
            length = min(trace.size for _, _, trace in members)
            traces = np.stack([trace[:length] for _, _, trace in members], axis=1)
            lead = [_lead(found, place, step) for place, step, _ in members]
            rest = float(np.mean(lead))
            sweeps = [found.sweeps[place] for place, _, _ in members]
            noise = found.noise / np.sqrt(len(sweeps))
            deflection = abs(passive.estimate_plateau(traces.mean(axis=1), found.interval) - rest)
            if deflection < max(least, 3 * noise):
                continue
            level = float(np.mean([step.level for _, step, _ in members]))
            numbers = [sweep.number for sweep in sweeps]
            fit = passive.fit_relaxation(traces, found.interval, rest, level, numbers)
            if fit:
                return fit
    return None


def _lead(found: Inspection, place: int, step: Step) -> float:
    """Return the median voltage in the 20 ms before a step."""
    before = _samples(found.recording.time, found.interval, (step.start - 20.0, step.start))
    return float(np.median(found.recording.responses["V"][before, place]))


def _rheobase(sweeps: Sequence[SweepFindings]) -> tuple[float, float] | None:
    """Return the largest silent level below the smallest level with a spike, and that one."""
    firing = [sweep.level for sweep in sweeps if np.isfinite(sweep.level) and sweep.spikes_within]
    if not firing:
        return None
    silent = [
        s.level for s in sweeps if np.isfinite(s.level) and not s.spikes_within and s.level < min(firing)
    ]
    return max(silent, default=np.nan), min(firing)


def _sag(found: Inspection) -> float:
    """Return the sag under the most hyperpolarising step from rest."""
    steps = [entry for entry in _steps_from_rest(found) if entry[1].amplitude < 0]
    if not steps:
        return np.nan
    place, step, trace = min(steps, key=lambda entry: entry[1].amplitude)
    return passive.estimate_sag(trace, found.interval, _lead(found, place, step), found.noise)
