"""Which samples of a target count: windows, artefacts, spikes, missing samples."""

from collections.abc import Sequence

import numpy as np

from odynn.data import Target
from odynn.errors import FitError
from odynn.spikes import around_spikes, spike_times

Interval = Sequence[float]


def filled(trace: np.ndarray) -> np.ndarray:
    """Return a trace with zeros for its missing samples (NaN), whose weight is zero."""
    return np.nan_to_num(trace, nan=0.0, posinf=np.inf, neginf=-np.inf)


def sample_weights(
    target: Target,
    states: Sequence[str],
    windows: Sequence[Interval] = (),
    excluded: Sequence[Interval] = (),
    counts: np.ndarray | None = None,
) -> np.ndarray | None:
    """Return what residuals are multiplied with so that only some samples count.

    Args:
        target: gives the times, and which samples are missing (NaN).
        states: a sample counts where none of these is missing.
        windows: [from, to] in ms, ends included; a sample counts inside any of them. Empty: all.
        excluded: [from, to] in ms, ends included; a sample inside any of them does not count.
        counts: [time, sweep] false for further samples that do not.

    Returns:
        [time, sweep], zero for a sample that does not count, else √(samples / samples that count),
        so that a mean over all samples is one over those that count; None where all of them do.

    Raises:
        FitError: if no sample counts.
    """
    time = target.time[:, None]
    mask = np.ones(target.stimulus.shape, dtype=bool) if counts is None else counts.copy()
    if len(windows):
        mask &= _inside(time, windows)
    mask &= ~_inside(time, excluded)
    for state in states:
        mask &= ~np.isnan(target.observed[state])
    if mask.all():
        return None
    if not mask.any():
        raise FitError(
            "loss: at least one sample must count. Received: windows and exclusions that leave none of the "
            f"times from {target.time[0]:g} to {target.time[-1]:g} ms. Widen the windows, or exclude less."
        )
    return mask * np.sqrt(mask.size / mask.sum())


def away_from_spikes(target: Target, before: float, after: float, threshold: float) -> np.ndarray:
    """Return [time, sweep] false around the spikes of the recording.

    Args:
        target: with an observed voltage.
        before: ms before the peak of a spike.
        after: ms after it.
        threshold: mV that a peak reaches at least, see ``odynn.spikes.spike_times``.
    """
    times = spike_times(target.observed["V"], target.time, threshold=threshold)
    return ~around_spikes(times, target.time, before, after)


def _inside(time: np.ndarray, intervals: Sequence[Interval]) -> np.ndarray:
    # Times are multiples of dt in floating point: a bound that names one must meet it.
    margin = 1e-9 * np.abs(time)
    inside = np.zeros(time.shape, dtype=bool)
    for first, last in intervals:
        inside |= (time >= first - margin) & (time <= last + margin)
    return inside
