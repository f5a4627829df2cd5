"""Where spikes begin."""

import numpy as np

SLOPE = 10.0
"""A spike begins where the voltage rises at least this fast (mV/ms) and does so until near the peak."""
_BEFORE = 5.0  # ms before the peak in which the beginning is looked for


def onset_voltages(
    voltage: np.ndarray, time: np.ndarray, times: np.ndarray, slope: float = SLOPE
) -> np.ndarray:
    """Return the voltage at the beginning of each spike, its threshold.

    The first sample of the last five milliseconds before the peak from which the voltage rises to the
    next sample by at least ``slope`` (M. Sekerli et al., IEEE Trans. Biomed. Eng. 51, 2004, 1665–1672,
    doi:10.1109/TBME.2004.827531, compare such criteria).

    Args:
        voltage: [time, sweep] mV.
        time: [time] ms, uniform.
        times: [spike, sweep] ms, of the peaks, filled up with NaN.
        slope: mV/ms.

    Returns:
        [spike, sweep] mV; NaN where there is no spike, or none that rises so fast.
    """
    found = np.full(times.shape, np.nan)
    dt = (time[-1] - time[0]) / max(len(time) - 1, 1)
    reach = max(int(round(_BEFORE / dt)), 1)
    for spike, sweep in zip(*np.nonzero(np.isfinite(times)), strict=True):
        peak = int(np.searchsorted(time, times[spike, sweep] - dt / 2))
        before = voltage[max(peak - reach, 0) : peak + 1, sweep]
        fast = np.flatnonzero(np.diff(before) >= slope * dt)
        if fast.size:
            found[spike, sweep] = before[fast[0]]
    return found
