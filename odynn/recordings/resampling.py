"""From the samples of a recording to the steps of a model.

Sample k of a recording is at k·h. Step j of a model goes from j·dt to (j+1)·dt: the stimulus is
constant over it, and the state that it ends with is compared with the recording at (j+1)·dt.
"""

from collections.abc import Callable

import numpy as np


def count_steps(samples: int, ratio: float) -> int:
    """Return how many whole steps lie between the first and the last sample.

    Args:
        samples: number of samples.
        ratio: sampling intervals in a step (dt/h).
    """
    return int(np.floor((samples - 1) / ratio * (1 + 1e-12) + 1e-9))


def exact_ratio(dt: float, interval: float, samples: int) -> float:
    """Return dt/h, made whole where it is but for the rounding of times.

    An interval that is computed from rounded times is off by a little, which must not make an
    average of five samples one of 4.9999.

    >>> exact_ratio(2.0, 0.4000001, 1000)
    5.0
    """
    ratio = dt / interval
    whole = round(ratio)
    # The two differ by less than a tenth of a sample at the end of the recording.
    return float(whole) if whole and abs(ratio - whole) / ratio * samples < 0.1 else ratio


def step_means(stimulus: np.ndarray, ratio: float, steps: int) -> np.ndarray:
    """Return the mean of a stimulus over each step.

    Each sample holds until the next one, as an amplifier puts it out, so that the charge is exact
    whatever the ratio.

    Args:
        stimulus: [time, sweep].
        ratio: sampling intervals in a step.
        steps: how many.

    Returns:
        [step, sweep].

    >>> step_means(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]), 2.0, 2).ravel().tolist()
    [0.5, 2.5]
    """
    starts = np.arange(steps) * ratio
    return _means(stimulus, starts, starts + ratio)


def centred_means(response: np.ndarray, ratio: float, steps: int) -> np.ndarray:
    """Return the mean of a response around the end of each step.

    The average is over one step's length, from half a step before to half a step after: it keeps
    aliases out as an average over the step itself would, and does not delay the trace by half a
    step. The samples stand for an interval around them. At the end of the recording the window
    narrows on both sides. With steps longer than the sampling interval only; shorter steps
    interpolate linearly.

    Args:
        response: [time, sweep].
        ratio: sampling intervals in a step.
        steps: how many.

    Returns:
        [step, sweep].

    >>> centred_means(np.arange(7.0)[:, None], 3.0, 2).ravel().tolist()
    [3.0, 6.0]
    """
    ends = np.arange(1, steps + 1) * ratio
    if ratio < 1:
        return interpolate(response, ends)
    # In the coordinate of cells, sample k is the middle of the cell from k to k + 1.
    ends = np.minimum(ends, response.shape[0] - 1) + 0.5
    half = np.minimum(ratio / 2, response.shape[0] - ends)
    return _means(response, ends - half, ends + half)


def with_gaps(resample: Callable[..., np.ndarray], trace: np.ndarray, *arguments) -> np.ndarray:
    """Return a trace resampled, NaN wherever a sample that is NaN would count.

    Args:
        resample: a function of this module.
        trace: [time, sweep], NaN where there is no sample.
        *arguments: the others of the function.

    >>> gap = np.array([[0.0], [np.nan], [2.0], [3.0], [4.0]])
    >>> with_gaps(interpolate, gap, np.array([0.5, 2.0, 3.5])).ravel().tolist()
    [nan, 2.0, 3.5]
    """
    missing = np.isnan(trace)
    if not missing.any():
        return resample(trace, *arguments)
    found = resample(np.where(missing, 0.0, trace), *arguments)
    return np.where(resample(missing.astype(float), *arguments) > 1e-9, np.nan, found)


def nearest(trace: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the samples nearest to some places, counted in sampling intervals; a tie goes to the earlier."""
    index = np.ceil(places - 0.5 - 1e-9).astype(int)
    return trace[np.clip(index, 0, trace.shape[0] - 1)]


def interpolate(trace: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return a trace [time, sweep] at some places between its samples, on a straight line."""
    before = np.clip(places.astype(int), 0, trace.shape[0] - 2)
    share = (places - before)[:, None]
    return (1 - share) * trace[before] + share * trace[before + 1]


def _means(trace: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the means of a staircase, whose step k goes from k to k + 1, between starts and ends."""
    first = np.floor(starts + 1e-9).astype(int)
    total = np.zeros((starts.size, trace.shape[1]))
    # One pass for each sample that a window touches: no sums over the whole trace, whose rounding
    # would be left in the difference of two of them.
    for offset in range(int(np.ceil((ends - starts).max())) + 2):
        cell = first + offset
        share = np.clip(np.minimum(ends, cell + 1) - np.maximum(starts, cell), 0, None)
        total += share[:, None] * trace[np.minimum(cell, trace.shape[0] - 1)]
    return total / (ends - starts)[:, None]
