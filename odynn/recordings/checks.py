"""Checks of the samples of a recording: uniform times, and a number at every one."""

import numpy as np

JITTER = 0.01
"""How far a time may be from a uniform grid, as a fraction of the sampling interval."""

_COARSEST = 0.1
"""The same where the file's decimals leave no finer choice, as with 0.033, 0.067, 0.1."""


def find_time_problem(time: np.ndarray, resolution: float = 0.0, rows: np.ndarray | None = None) -> str:
    """Say where times are not increasing and uniform.

    Times rounded to a few decimals are uniform as long as the rounding is under a tenth of the
    sampling interval.

    Args:
        time: [time] in the file's own unit, in which its decimals are round.
        resolution: how finely the file's type stores times.
        rows: [time] line of the file of each sample.

    Returns:
        One message that names the first offending sample, or an empty string.
    """

    def place(sample: int) -> str:
        return f"row {rows[sample]} (sample {sample})" if rows is not None else f"sample {sample}"

    if time.size < 2:
        return f"expected at least two samples. Received: {time.size}. Give the whole recording."
    odd = np.flatnonzero(~np.isfinite(time))
    if odd.size:
        return (
            f"{place(odd[0])}: expected a time. Received: {_spelt(time[odd[0]])}. "
            "Fill the gap; the time column must have no empty cell."
        )
    steps = np.diff(time)
    odd = np.flatnonzero(steps <= 0)
    if odd.size:
        sample = odd[0] + 1
        what = "the same time again" if steps[odd[0]] == 0 else "a time that goes back"
        return (
            f"{place(sample)}: expected times that increase. Received: {what}, {time[sample - 1]:.10g} then "
            f"{time[sample]:.10g}. Sort the rows; sweeps go side by side, in columns of their own."
        )
    interval = (time[-1] - time[0]) / (time.size - 1)
    resolution = max(resolution, _decimal_place(time))
    tolerance = JITTER * interval
    if tolerance < resolution <= _COARSEST * interval:
        tolerance = 1.01 * resolution  # more than one unit of the last place, for the rounding of float64
    usual = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - usual) > tolerance)
    if odd.size == 0:
        # Steps that are each close enough may still drift.
        odd = np.flatnonzero(np.abs(time - (time[0] + interval * np.arange(time.size))) > tolerance) - 1
    if odd.size == 0:
        return ""
    sample = odd[0] + 1
    return (
        f"{place(sample)}: expected uniform times, {usual:.10g} apart. Received: "
        f"{time[sample - 1]:.10g} then {time[sample]:.10g}, {steps[odd[0]]:.10g} apart. Fill the gap, "
        "interpolate to uniform times, or write the times with more decimals."
    )


def _decimal_place(time: np.ndarray) -> float:
    """Return the last decimal place that the times have, 0 if more than eight."""
    size = np.abs(time).max()
    for decimals in range(9):
        scaled = time * 10.0**decimals
        if np.all(np.abs(scaled - np.rint(scaled)) <= 1e-12 * size * 10.0**decimals):
            return 10.0**-decimals
    return 0.0


def find_gap(meaning: str, trace: np.ndarray, time: np.ndarray, sweeps: np.ndarray, first: int = 0) -> str:
    """Say where a trace has no number.

    Args:
        meaning: what the trace is, for the message.
        trace: [time, sweep].
        time: [time] in ms.
        sweeps: [sweep] numbers of the sweeps.
        first: number of the first sample in its file.

    Returns:
        One message that names the first offending sweep, sample and time, or an empty string.
    """
    odd = ~np.isfinite(trace)
    if not odd.any():
        return ""
    sweep = int(np.flatnonzero(odd.any(axis=0))[0])
    sample = int(np.flatnonzero(odd[:, sweep])[0])
    place = f"sweep {sweeps[sweep]}, sample {first + sample} (time {time[sample]:.10g} ms)"
    if sample > 0 and np.isnan(trace[sample:, sweep]).all():
        return (
            f"{place}: {meaning} ends here, and the times go on to {time[-1]:.10g} ms. Expected "
            f"traces of equal length. Received: {trace.shape[0] - sample} samples too few. Leave the "
            f"sweep out (sweeps), or end the window at {time[sample - 1]:.10g} ms."
        )
    return (
        f"{place}: {meaning} must be a number at every sample. Received: {_spelt(trace[sample, sweep])}, "
        f"and {odd.sum()} such samples in all. Mend the file, or leave the sweep (sweeps) or the time "
        "(window) out."
    )


def _spelt(value: float) -> str:
    return "NaN or an empty cell" if np.isnan(value) else f"{value:g}"
