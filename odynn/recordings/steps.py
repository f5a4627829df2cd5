"""Finding the protocol in a stimulus: its baseline and its steps, whatever noise was recorded with it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from odynn.findings import Step

_BLOCK = 1.0
"""Length in ms of the pieces whose medians tell steps from noise and from artefacts."""

_FEW = 0.01
"""A stimulus that changes at fewer than this share of its samples is a command without noise."""

_SMALLEST = 0.01
"""Smallest step that counts, as a share of the range of the stimulus over all sweeps."""

_MANY = 40
"""A noisy stimulus cut more often than this is not made of steps throughout."""


@dataclass(frozen=True)
class Segment:
    """A stretch of one level.

    Attributes:
        first: its first sample.
        last: the sample after its last one.
        level: median of the stimulus.
        constant: whether the stimulus is constant within it, noise aside.
    """

    first: int
    last: int
    level: float
    constant: bool


def find_segments(stimulus: np.ndarray, interval: float) -> tuple[list[list[Segment]], float]:
    """Return the stretches of constant level of every sweep, and the smallest change that counts as a step.

    A command waveform is cut exactly where it changes. A measured current is cut where medians over
    1 ms change by more than its noise, and each cut is then put at the sample where the levels to its
    sides describe the trace best; steps shorter than about 3 ms are lost in that noise.

    Args:
        stimulus: [time, sweep], finite.
        interval: sampling interval in ms.

    >>> pulse = np.repeat([0.0, 5.0, 0.0], [10, 20, 10])[:, None]
    >>> [(s.first, s.last, s.level) for s in find_segments(pulse, 0.1)[0][0]]
    [(0, 10, 0.0), (10, 30, 5.0), (30, 40, 0.0)]
    """
    length = stimulus.shape[0]
    changes = np.diff(stimulus, axis=0) != 0
    if changes.sum(axis=0).max(initial=0) <= max(4, _FEW * length):
        return [_exact(trace) for trace in stimulus.T], _SMALLEST * float(np.ptp(stimulus))
    block = max(1, 2 * round(_BLOCK / interval / 2))
    count = length // block
    if count < 8:
        block, count = 1, length
    medians = np.stack(
        [_medians(trace[: count * block].reshape(count, block)) for trace in stimulus.T], axis=1
    )
    noise = float(np.median([_scatter(np.diff(trace)) for trace in medians.T])) / np.sqrt(2)
    # The range without artefacts of up to 2 ms.
    span = float(np.ptp(_running_medians(medians, 5)))
    # The longer the medians to both sides of a cut, the less noise in them, and the longer the artefacts
    # that they look past. Both thresholds are eight of their standard deviations.
    width, factor = (10, 4.5) if 8 * noise > 0.05 * span else (3, 8)
    least = max(factor * noise, 2 * _SMALLEST * span, np.finfo(float).tiny)
    segments = [
        _from_blocks(trace, coarse, block, least, width)
        for trace, coarse in zip(stimulus.T, medians.T, strict=True)
    ]
    return segments, least


def _exact(trace: np.ndarray) -> list[Segment]:
    cuts = [0, *(np.flatnonzero(np.diff(trace) != 0) + 1).tolist(), trace.size]
    return [
        Segment(first, last, float(trace[first]), True) for first, last in zip(cuts, cuts[1:], strict=False)
    ]


def _medians(values: np.ndarray) -> np.ndarray:
    """Return the medians [...] over the last axis of the means of every two neighbours.

    Noise that alternates from sample to sample, which some amplifiers have, is gone in these means.
    """
    count = values.shape[-1] // 2
    if count:
        values = values[..., : 2 * count].reshape(*values.shape[:-1], count, 2).mean(axis=-1)
    return np.median(values, axis=-1)


def _running_medians(values: np.ndarray, width: int) -> np.ndarray:
    """Return the medians [time - width + 1, …] of every ``width`` values in a row."""
    return np.median(np.lib.stride_tricks.sliding_window_view(values, width, axis=0), axis=-1)


def _scatter(values: np.ndarray) -> float:
    """Return the standard deviation that normal values with this median absolute deviation have."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else 0.0


def _from_blocks(
    trace: np.ndarray, coarse: np.ndarray, block: int, least: float, width: int
) -> list[Segment]:
    """Cut a noisy trace where the medians of ``width`` blocks to both sides differ by more than ``least``."""
    medians = _running_medians(np.pad(coarse, width - 1, mode="edge"), width)
    jumps = np.abs(medians[width:] - medians[:-width])  # entry k: between blocks k and k + 1
    cuts = [0]
    while jumps.max(initial=0.0) > least:
        place = _middle(jumps)
        cut = _best_cut(trace, (place + 1 - width) * block, (place + 1 + width) * block, block)
        cuts.append(cut)
        jumps[max(place - width, 0) : place + width + 1] = 0.0
    cuts = sorted({*cuts, trace.size})
    segments = []
    for first, last in zip(cuts, cuts[1:], strict=False):
        inside = coarse[-(-first // block) + 1 : last // block - 1]
        wide = inside.size > 0 and float(np.ptp(np.quantile(inside, [0.1, 0.9]))) > least
        constant = last - first > 2 * block and not wide
        segments.append(Segment(first, last, float(_medians(trace[first:last])), bool(constant)))
    if len(segments) > _MANY:  # a sine or a noise, which is level for moments only
        short = 30 * block
        segments = [replace(s, constant=s.constant and s.last - s.first > short) for s in segments]
    return _joined(segments, trace, least)


def _middle(jumps: np.ndarray) -> int:
    """Return the place of the largest jump, the middle one of equal neighbours."""
    first = int(np.argmax(jumps))
    lower = np.flatnonzero(jumps[first:] < 0.999 * jumps[first])
    last = first + (int(lower[0]) if lower.size else jumps.size - first) - 1
    return (first + last) // 2


def _best_cut(trace: np.ndarray, first: int, last: int, block: int) -> int:
    """Return the sample at which a trace changes from the level at one end of a span to that at the other."""
    first, last = max(first, 0), min(last, trace.size)
    span = trace[first:last]
    # The mean of each sample and the one before it, without noise that alternates.
    span = (span + np.concatenate([span[:1], span[:-1]])) / 2
    half = max(block, span.size // 4)
    before, after = np.median(span[:half]), np.median(span[-half:])
    # How much better the level before describes each sample than the one after, summed up.
    gain = np.clip(np.abs(span - after) - np.abs(span - before), -abs(after - before), abs(after - before))
    return first + int(np.argmax(np.concatenate([[0.0], np.cumsum(gain)])))


def _joined(segments: list[Segment], trace: np.ndarray, least: float) -> list[Segment]:
    """Return the segments with those joined that noise alone had parted."""
    joined = segments[:1]
    for segment in segments[1:]:
        last = joined[-1]
        if last.constant and segment.constant and abs(segment.level - last.level) <= least / 2:
            level = float(_medians(trace[last.first : segment.last]))
            joined[-1] = Segment(last.first, segment.last, level, True)
        else:
            joined.append(segment)
    return joined


def find_baselines(segments: Sequence[Sequence[Segment]]) -> np.ndarray:
    """Return [sweep] the stimulus outside the steps.

    That is the level that a sweep begins with or the one that it ends with, whichever differs less
    between sweeps.
    """
    first = np.array([sweep[0].level for sweep in segments])
    last = np.array([sweep[-1].level for sweep in segments])
    return first if np.ptp(first) <= np.ptp(last) * (1 + 1e-9) else last


def find_steps(
    segments: Sequence[Segment], baseline: float, least: float, time: np.ndarray, interval: float
) -> tuple[Step, ...]:
    """Return the steps of one sweep.

    Args:
        segments: of the sweep.
        baseline: the stimulus outside the steps.
        least: the smallest change that counts.
        time: [time] ms.
        interval: sampling interval in ms.
    """
    steps = []
    before = baseline
    for segment in segments:
        amplitude = segment.level - baseline
        if segment.constant and abs(amplitude) > least:
            start = float(time[segment.first])
            end = float(start + (segment.last - segment.first) * interval)
            steps.append(Step(start, end, segment.level, amplitude, before))
        before = segment.level
    return tuple(steps)


def find_main_window(
    steps: Sequence[Sequence[Step]], least: float, tolerance: float
) -> tuple[float, float] | None:
    """Return [from, to) in ms of the step that has the most levels over the sweeps; the longer one of two.

    Args:
        steps: of each sweep.
        least: the smallest difference between two levels that counts.
        tolerance: how far in ms two steps may be apart and still be the same one.
    """
    groups: list[list[Step]] = []
    for step in (step for sweep in steps for step in sweep):
        for group in groups:
            if abs(group[0].start - step.start) <= tolerance and abs(group[0].end - step.end) <= tolerance:
                group.append(step)
                break
        else:
            groups.append([step])
    if not groups:
        return None

    def weight(group: list[Step]) -> tuple[int, float]:
        levels = np.sort([step.level for step in group])
        return 1 + int(np.sum(np.diff(levels) > least / 10)), group[0].end - group[0].start

    best = max(groups, key=weight)
    return float(np.median([step.start for step in best])), float(np.median([step.end for step in best]))
