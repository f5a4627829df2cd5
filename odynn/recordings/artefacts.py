"""Signs of the rig in a trace: saturation, transients at steps, mains hum, noise of a measured current."""

from collections.abc import Sequence

import numpy as np

from odynn.findings import Inspection, SweepFindings

_RUN = 5
"""Samples in a row at the extreme value that are a sign of saturation."""

_MAINS = (50.0, 60.0)
_AROUND = (30.0, 80.0)
"""Frequencies (Hz) among which one of the mains stands out, if it does."""


def trace_of(found: Inspection, sweep: SweepFindings) -> np.ndarray:
    """Return the response [time] of a sweep."""
    place = int(np.flatnonzero(found.recording.sweeps == sweep.number)[0])
    return found.recording.responses[found.response][:, place]


def is_clipped(trace: np.ndarray) -> bool:
    """Return whether a trace runs into its extreme value and stays there.

    A slow trace of few digits may rest at its extreme value for a moment as well: it gets there by its
    usual changes, and a saturated one by a larger one, or it stays for long.

    >>> rising = np.linspace(-60.0, 40.0, 1001)
    >>> is_clipped(rising), is_clipped(np.minimum(rising, 20.04))
    (False, True)
    """
    steps = np.abs(np.diff(trace))
    moving = steps[steps > 0]
    if moving.size < 2 * _RUN:
        return False
    usual = float(np.median(moving))
    still = 1 - moving.size / steps.size
    for extreme in (trace.max(), trace.min()):
        at = np.concatenate([[False], trace == extreme, [False]])
        edges = np.flatnonzero(np.diff(at.astype(np.int8)))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            around = np.concatenate([steps[max(first - 2, 0) : first], steps[last - 1 : last + 1]])
            abrupt = around.max(initial=0.0) > 5 * usual
            if last - first >= _RUN and (abrupt or (last - first >= 10 * _RUN and still < 0.5)):
                return True
    return False


def has_transients(found: Inspection, sweep: SweepFindings) -> bool:
    """Return whether the response shoots beyond where it comes from and goes to, at any edge of a step.

    Args:
        found: what was found in the recording.
        sweep: one of its sweeps.
    """
    time, interval = found.recording.time, found.interval
    trace = trace_of(found, sweep)
    span = float(np.ptp(np.quantile(trace, [0.01, 0.99])))
    least = max(0.15 * span, 10 * found.noise)
    after = max(2, round(2.0 / interval))
    first = max(2, round(0.5 / interval))
    for edge in {at for step in sweep.steps for at in (step.start, step.end)}:
        at = int(np.searchsorted(time, edge - interval / 2))
        before, near, later = (
            trace[max(at - after, 0) : at],
            trace[at : at + first],
            trace[at + after : at + 2 * after],
        )
        near_spike = np.any(np.abs(sweep.spikes - edge) < 6.0)
        if near_spike or min(before.size, near.size, later.size) < 2:
            continue
        low, high = sorted((float(np.median(before)), float(np.median(later))))
        if near.max() - high > least or low - near.min() > least:
            return True
    return False


def find_hum(found: Inspection, sweeps: Sequence[SweepFindings]) -> tuple[float, float] | None:
    """Return the frequency (Hz) and the amplitude of mains hum at rest, or None.

    Looked for before the first step of each sweep: the power at 50 or 60 Hz must stand out among
    that at the frequencies around.

    Args:
        found: what was found in the recording.
        sweeps: those to look at.
    """
    time, interval = found.recording.time, found.interval
    ends = [sweep.steps[0].start for sweep in sweeps if sweep.steps]
    length = int(np.searchsorted(time, min(ends, default=np.inf) - interval / 2))
    if interval > 4.0 or length * interval < 100.0:
        return None
    length = min(length, round(2000.0 / interval))
    quiet = [s for s in sweeps if not np.any(s.spikes < time[length - 1])]
    if not quiet:
        return None
    traces = np.stack([trace_of(found, sweep)[:length] for sweep in quiet], axis=1)
    at = np.linspace(-1.0, 1.0, length)
    traces = traces - np.polynomial.polynomial.polyval(at, np.polynomial.polynomial.polyfit(at, traces, 2)).T
    window = np.hanning(length)
    resolution = 1000.0 / (length * interval)
    frequencies = np.arange(_AROUND[0], _AROUND[1] + 0.1, max(resolution / 2, 1.0))
    frequencies = np.union1d(frequencies, _MAINS)
    waves = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(length) * interval / 1000.0))
    amplitudes = 2 * np.abs((waves * window) @ traces) / window.sum()
    power = np.mean(amplitudes**2, axis=1)
    for mains in _MAINS:
        others = power[np.abs(frequencies - mains) > 2 * resolution]
        here = float(power[frequencies == mains][0])
        if (
            others.size > 3
            and here > 20 * np.median(others)
            and here > others.max()
            and here > found.noise**2 / 25
        ):
            return mains, float(np.sqrt(here))
    return None


def stimulus_noise(found: Inspection) -> float:
    """Return by how much the stimulus fluctuates from sample to sample; 0 for a command."""
    changes = np.abs(np.diff(found.recording.stimulus, axis=0))
    changes = changes[np.isfinite(changes)]
    return float(1.4826 * np.median(changes) / np.sqrt(2)) if changes.size else 0.0
