"""Finding spikes in traces, and what is left between them."""

import numpy as np

THRESHOLD = -10.0
"""The peak of a spike reaches at least this voltage (mV)."""
PROMINENCE = 20.0
"""The voltage rises to the peak by this much (mV), and falls from it by this much."""
WIDTH = 10.0
"""It does both within this time (ms) of the peak."""
SEPARATION = 2.0
"""Of two peaks nearer than this (ms), the higher one is the spike."""
BEFORE, AFTER = 5.0, 10.0
"""What belongs to a spike, for measures of the voltage between spikes: ms before and after its peak."""

_GATHERED = 1 << 21  # samples looked at together around spikes, so that memory stays small


def spike_times(
    voltage: np.ndarray,
    time: np.ndarray,
    *,
    threshold: float = THRESHOLD,
    prominence: float = PROMINENCE,
    width: float = WIDTH,
    separation: float = SEPARATION,
) -> np.ndarray:
    """Return the times of the peaks of all spikes.

    A spike is a peak that reaches the threshold and stands out on both sides: towards either side
    the voltage falls by the prominence before it rises above the peak, and it does so soon. A
    crossing of the threshold alone would take the noise on a depolarised plateau for spikes, and
    would join spikes between which the voltage stays above the threshold; a step response that
    rises and stays is no spike either. The default threshold lies below the peaks of cells recorded
    with a slow amplifier and above synaptic events. A spike that the end of the trace cuts off is
    not counted.

    Args:
        voltage: [time, …], any further axes; samples that are not finite are passed over.
        time: [time], uniform.
        threshold: lowest voltage of a peak.
        prominence: rise to the peak and fall from it.
        width: time that either may take.
        separation: of peaks nearer than this the highest is kept.

    Returns:
        [spike, …] times in order; traces with fewer spikes than others are filled up with NaN.

    >>> v = np.full(200, -70.0)
    >>> v[50], v[120] = 30.0, 20.0
    >>> spike_times(v, np.arange(200.0) / 2)
    array([25., 60.])
    """
    voltage, time = np.asarray(voltage), np.asarray(time, dtype=float)
    shape, steps = voltage.shape[1:], len(time)
    columns = voltage.reshape(steps, -1)
    if steps < 3 or not columns.size:
        return np.empty((0, *shape))
    with np.errstate(invalid="ignore"):
        reached = np.flatnonzero((columns >= threshold).any(axis=0))
    flat = np.ascontiguousarray(columns[:, reached].T).reshape(-1)
    if not np.isfinite(flat).all():
        flat = np.where(np.isfinite(flat), flat, -np.inf)
    dt = (time[-1] - time[0]) / (steps - 1)
    peaks = _standing_out(flat, _local_maxima(flat, steps, threshold), steps, prominence)
    peaks = peaks[_is_narrow(flat, peaks, steps, prominence, max(int(width / dt + 0.5), 1))]
    peaks = _apart(flat, peaks, steps, separation / dt)
    trace, place = np.divmod(peaks, steps)
    counts = np.bincount(trace, minlength=len(reached))
    number = np.arange(len(peaks)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.full((counts.max(initial=0), columns.shape[1]), np.nan)
    found[number, reached[trace]] = time[place]
    return found.reshape(-1, *shape)


def spike_counts(times: np.ndarray) -> np.ndarray:
    """Return the number of spikes of each train, […].

    Args:
        times: [spike, …] as ``spike_times`` gives them.
    """
    return np.isfinite(times).sum(axis=0)


def around_spikes(
    times: np.ndarray, time: np.ndarray, before: float = BEFORE, after: float = AFTER
) -> np.ndarray:
    """Return where samples belong to spikes.

    Args:
        times: [spike, …] of the peaks.
        time: [time], uniform.
        before: ms before a peak.
        after: ms after it.

    Returns:
        [time, …], true from ``before`` ahead of each peak to ``after`` behind it, both included.
    """
    time = np.asarray(time, dtype=float)
    shape, steps = times.shape[1:], len(time)
    flat = times.reshape(len(times), int(np.prod(shape)))
    spike, trace = np.nonzero(np.isfinite(flat))
    centres = flat[spike, trace]
    slack = 1e-6 * (time[1] - time[0]) if steps > 1 else 0.0
    edges = np.zeros((steps + 1, flat.shape[1]), dtype=np.int32)
    np.add.at(edges, (np.searchsorted(time, centres - before - slack), trace), 1)
    np.add.at(edges, (np.searchsorted(time, centres + after + slack), trace), -1)
    return (np.cumsum(edges[:-1], axis=0) > 0).reshape(steps, *shape)


def subthreshold_rmse(
    observed: np.ndarray,
    simulated: np.ndarray,
    time: np.ndarray,
    observed_times: np.ndarray,
    simulated_times: np.ndarray,
    *,
    before: float = BEFORE,
    after: float = AFTER,
) -> np.ndarray:
    """Return the root mean squared error between spikes.

    What lies around a spike of the recording or of the simulation is left out, so that a spike at a
    slightly wrong time does not count as an error of the membrane; samples missing in the recording
    (NaN) are too.

    Args:
        observed: [time, sweep] mV.
        simulated: [time, sweep, start] mV.
        time: [time] ms.
        observed_times: [spike, sweep].
        simulated_times: [spike, sweep, start].
        before: ms left out before each peak.
        after: ms left out after it.

    Returns:
        [sweep, start] mV; NaN where spikes leave nothing.
    """
    left_out = around_spikes(observed_times, time, before, after)[:, :, None]
    left_out = left_out | ~np.isfinite(observed)[:, :, None]
    kept = ~(left_out | around_spikes(simulated_times, time, before, after))
    error = np.where(kept, np.asarray(simulated, dtype=float) - observed[:, :, None], 0.0)
    samples = kept.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(samples > 0, np.sqrt(np.sum(error**2, axis=0) / samples), np.nan)


def _local_maxima(flat: np.ndarray, steps: int, threshold: float) -> np.ndarray:
    """Return the places of samples that no neighbour of their trace exceeds; of a flat top, the first."""
    place = np.flatnonzero(flat >= threshold)
    inside = place % steps
    place = place[(inside > 0) & (inside < steps - 1)]
    return place[(flat[place] > flat[place - 1]) & (flat[place] >= flat[place + 1])]


def _standing_out(flat: np.ndarray, peaks: np.ndarray, steps: int, prominence: float) -> np.ndarray:
    """Drop each peak beside a higher one from which no dip of the prominence parts it, until none is left."""
    if not peaks.size:
        return peaks
    dips = np.minimum.reduceat(flat, peaks)  # lowest sample from each peak to the next one
    while True:
        together = np.diff(peaks // steps) == 0
        height = flat[peaks]
        dip = np.where(together, dips[:-1], -np.inf)
        falls = height[1:] > height[:-1]
        drop = np.zeros(len(peaks), dtype=bool)
        drop[:-1] |= falls & (height[:-1] - dip < prominence)
        drop[1:] |= ~falls & (height[1:] - dip < prominence)
        if not drop.any():
            return peaks
        kept = np.flatnonzero(~drop)
        # Dips before the first peak that is kept, of the first trace, part it from nothing.
        dips = np.minimum.reduceat(dips, kept)
        peaks = peaks[kept]


def _is_narrow(
    flat: np.ndarray, peaks: np.ndarray, steps: int, prominence: float, samples: int
) -> np.ndarray:
    """Return [peak] whether the voltage is lower by the prominence within some samples, on both sides."""
    narrow = np.empty(len(peaks), dtype=bool)
    reach = np.arange(1, min(samples, steps - 1) + 1)
    chunk = max(_GATHERED // len(reach), 1)
    for first in range(0, len(peaks), chunk):
        part = peaks[first : first + chunk, None]
        start = part // steps * steps
        low = flat[part[:, 0]] - prominence
        before = flat[np.maximum(part - reach, start)].min(axis=1)
        after = flat[np.minimum(part + reach, start + steps - 1)].min(axis=1)
        narrow[first : first + chunk] = (before <= low) & (after <= low)
    return narrow


def _apart(flat: np.ndarray, peaks: np.ndarray, steps: int, samples: float) -> np.ndarray:
    """Drop each peak that is nearer than this to a higher neighbour, until none is left."""
    while True:
        near = (np.diff(peaks // steps) == 0) & (np.diff(peaks) < samples * (1 - 1e-9))
        if not near.any():
            return peaks
        rises = flat[peaks[1:]] > flat[peaks[:-1]]
        drop = np.zeros(len(peaks), dtype=bool)
        drop[:-1] |= near & rises
        drop[1:] |= near & ~rises
        peaks = peaks[~drop]
