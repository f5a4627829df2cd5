"""How well free runs follow recorded traces."""

from collections.abc import Mapping

import numpy as np

from odynn.data import Target


def score_traces(states: Mapping[str, np.ndarray], target: Target) -> dict[str, np.ndarray]:
    """Return root mean squared errors and coefficients of determination.

    R² is 1 - (sum of squared errors) / (sum of squared deviations of the recording from its mean in
    that sweep); it is NaN where the recording does not vary.

    Args:
        states: state name to [time, sweep, start].
        target: the recording on the same grid.

    Returns:
        ``rmse_{state}`` (in the state's unit) and ``r2_{state}``, [sweep, start], for each observed
        state.
    """
    scores = {}
    for state, trace in target.observed.items():
        error = np.asarray(states[state], dtype=float) - trace[:, :, None]
        squares = np.mean(error**2, axis=0)
        variance = np.var(trace, axis=0)[:, None]
        scores[f"rmse_{state}"] = np.sqrt(squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            scores[f"r2_{state}"] = np.where(variance > 0, 1.0 - squares / variance, np.nan)
    return scores
