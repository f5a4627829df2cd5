"""What the voltage under steps of current tells of the membrane: resistance, time constant, sag, noise."""

import warnings
from collections.abc import Sequence

import numpy as np

from odynn.findings import Relaxation, Slope

_LAG = 0.5
"""Time (ms) over which fluctuations count as fast."""

_MOST_SAMPLES = 2000
"""Samples of a fit; more are averaged in pairs, triples …"""


def estimate_noise(trace: np.ndarray, interval: float) -> float:
    """Return the standard deviation of the fast fluctuations of a trace.

    It is that of white noise, from the median size of second differences over 0.5 ms, which neither
    slow changes nor a few spikes move.

    Args:
        trace: [time].
        interval: sampling interval in ms.
    """
    lag = max(1, round(_LAG / interval))
    if trace.size < 2 * lag + 8:
        return np.nan
    second = trace[: -2 * lag] - 2 * trace[lag:-lag] + trace[2 * lag :]
    # The variance of a - 2 b + c is six times that of each.
    return float(1.4826 * np.median(np.abs(second - np.median(second))) / np.sqrt(6))


def estimate_plateau(trace: np.ndarray, interval: float) -> float:
    """Return the median of the last fifth of a trace, of 100 ms at most."""
    count = max(1, min(trace.size // 5, round(100 / interval)))
    return float(np.median(trace[-count:])) if trace.size else np.nan


def fit_slope(levels: np.ndarray, voltages: np.ndarray, baseline: float) -> Slope | None:
    """Return the line through steady voltages below threshold, whose slope is the input resistance.

    It goes through the points at or below the baseline where there are two levels of them, so that
    currents that open on depolarisation have no part in it, and through all points otherwise.

    Args:
        levels: [point] stimulus.
        voltages: [point] mV.
        baseline: the stimulus at rest.

    Returns:
        The line, or None where there are no two levels.

    >>> line = fit_slope(np.array([-20.0, -10.0, 0.0, 30.0]), np.array([-64.0, -62.0, -60.0, -40.0]), 0.0)
    >>> round(line.value, 9), line.used.tolist()
    (0.2, [True, True, True, False])
    """
    span = float(np.ptp(levels)) if levels.size else 0.0
    if span == 0:
        return None
    used = levels <= baseline + 0.01 * span
    if not used.any() or np.ptp(levels[used]) < 0.02 * span:
        used = np.ones(levels.size, dtype=bool)
    x, y = levels[used], voltages[used]
    spread = float(np.sum((x - x.mean()) ** 2))
    value = float(np.sum((x - x.mean()) * (y - y.mean())) / spread)
    intercept = float(y.mean() - value * x.mean())
    residuals = y - intercept - value * x
    error = float(np.sqrt(np.sum(residuals**2) / (x.size - 2) / spread)) if x.size > 2 else np.nan
    total = float(np.sum((y - y.mean()) ** 2))
    r2 = 1 - float(np.sum(residuals**2)) / total if total > 0 else np.nan
    return Slope(value, error, intercept, levels, voltages, used, r2)


def fit_relaxation(
    traces: np.ndarray, interval: float, rest: float, level: float, sweeps: Sequence[int]
) -> Relaxation | None:
    """Fit an exponential to the voltage after the onset of a step.

    The fit begins after the fastest transient (at most 1 ms) and ends where the voltage turns back, so
    that a sag has no part in it; V = V∞ + A·exp(−t/τ), by least squares.

    Args:
        traces: [time, sweep] mV, from the onset of the step to its end.
        interval: sampling interval in ms.
        rest: mV before the step.
        level: the stimulus of the step.
        sweeps: numbers of the sweeps.

    Returns:
        The fit, or None where no exponential can be fitted.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    trace = traces.mean(axis=1)
    time = interval * np.arange(trace.size)
    steady = estimate_plateau(trace, interval)
    sign = np.sign(steady - rest)
    width = max(1, round(1.0 / interval))
    if trace.size < 4 * width + 20 or sign == 0:
        return None
    smooth = np.convolve(sign * (trace - rest), np.ones(width) / width, mode="valid")
    size = float(smooth.max())
    first_guess = max(int(np.argmax(smooth > 0.63 * size)) * interval, 2 * interval)
    turn = int(np.argmax(smooth)) + width
    first = max(2, round(min(1.0, 0.1 * first_guess) / interval))
    # Far out on the plateau there is nothing left to fit; slow currents change it there.
    last = min(turn, first + round(10 * first_guess / interval)) if turn > 20 + first else trace.size
    last = max(last, min(first + round(2 * first_guess / interval), trace.size))
    if last - first < 20:
        return None
    pool = -(-(last - first) // _MOST_SAMPLES)
    count = (last - first) // pool
    t, v = (
        values[first : first + count * pool].reshape(count, pool).mean(axis=1) for values in (time, trace)
    )

    def model(t, final, amplitude, log_tau):
        return final + amplitude * np.exp(-t * np.exp(-log_tau))

    guess = (rest + sign * size, -sign * size, np.log(first_guess))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", OptimizeWarning)
            values, covariance = curve_fit(model, t, v, p0=guess, maxfev=2000)
    except (RuntimeError, ValueError, OptimizeWarning):
        return None
    final, amplitude, log_tau = (float(value) for value in values)
    tau = float(np.exp(min(log_tau, 50.0)))
    error = tau * float(np.sqrt(covariance[2, 2]))
    # Slower than what was seen, faster than the samples, or as uncertain as large: not a time constant.
    if not (interval < tau < 2 * (last - first) * interval and error < tau and amplitude * sign < 0):
        return None
    fitted = np.full(trace.size, np.nan)
    fitted[first:last] = model(time[first:last], final, amplitude, log_tau)
    jump = final + amplitude - rest
    return Relaxation(tau, error, level, rest, jump, time, trace, fitted, tuple(sweeps))


def estimate_sag(trace: np.ndarray, interval: float, rest: float, noise: float) -> float:
    """Return which share of the largest hyperpolarisation under a step is gone at its end, NaN for none.

    Args:
        trace: [time] mV under a hyperpolarising step.
        interval: sampling interval in ms.
        rest: mV before it.
        noise: mV.
    """
    width = max(1, round(5.0 / interval))
    if trace.size < 10 * width:
        return np.nan
    smooth = np.convolve(trace, np.ones(width) / width, mode="valid")
    peak = rest - float(smooth[: 2 * smooth.size // 3].min())
    late = rest - estimate_plateau(trace, interval)
    return max(0.0, (peak - late) / peak) if peak > max(5.0, 10 * noise) else np.nan
