"""How well free runs follow recorded traces."""

from collections.abc import Mapping

import numpy as np

from odynn import spikes
from odynn.data import Target
from odynn.spikes.features import feature_errors, features, have_efel


def score_traces(states: Mapping[str, np.ndarray], target: Target) -> dict[str, np.ndarray]:
    """Return errors of each state and, where the recorded voltage has spikes, scores of spikes.

    R² is 1 - (sum of squared errors) / (sum of squared deviations of the recording from its mean in
    that sweep); it is NaN where the recording does not vary.

    Args:
        states: state name to [time, sweep, start].
        target: the recording on the same grid.

    Returns:
        ``rmse_{state}`` (in the state's unit) and ``r2_{state}``, [sweep, start], for each observed
        state; and those of ``spike_scores``.
    """
    scores = {}
    for state, trace in target.observed.items():
        seen = ~np.isnan(trace)
        error = np.where(seen[:, :, None], np.asarray(states[state], dtype=float) - trace[:, :, None], 0.0)
        squares = np.sum(error**2, axis=0) / seen.sum(axis=0)[:, None]
        variance = np.nanvar(trace, axis=0)[:, None]
        scores[f"rmse_{state}"] = np.sqrt(squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            scores[f"r2_{state}"] = np.where(variance > 0, 1.0 - squares / variance, np.nan)
    if "V" in target.observed:
        scores |= spike_scores(states["V"], target)
    return scores


def spike_scores(voltage: np.ndarray, target: Target) -> dict[str, np.ndarray]:
    """Return how well spikes are reproduced; nothing where the recording has none in any sweep.

    Args:
        voltage: [time, sweep, start] mV.
        target: the recording on the same grid, with V.

    Returns:
        [sweep, start] each: ``spike_count`` and ``spike_count_observed``; ``gamma``, the coincidence
        factor within ±4 ms, NaN where neither has a spike; ``rmse_subthreshold`` (mV), without what
        lies around spikes. Where eFEL is installed, ``error_{feature}``, the distance of each
        feature in standard deviations of the recording's over all sweeps, NaN where either lacks it;
        and ``error_features``, their mean, in which a distance counts up to 10, and as 10 where the
        simulation alone lacks the feature. All but the observed count are NaN where the simulation
        is not finite.
    """
    observed, time = target.observed["V"], target.time
    recorded = spikes.spike_times(observed, time)
    if not len(recorded):
        return {}
    simulated = spikes.spike_times(voltage, time)
    scores = {
        "spike_count": spikes.spike_counts(simulated).astype(float),
        "gamma": spikes.gamma(recorded, simulated, len(time) * target.dt),
        "rmse_subthreshold": spikes.subthreshold_rmse(observed, voltage, time, recorded, simulated),
    }
    if have_efel():
        errors, counted = feature_errors(
            features(observed, time, target.stimulus), features(voltage, time, target.stimulus)
        )
        scores |= {f"error_{name}": error for name, error in errors.items()}
        known = np.isfinite(counted)
        with np.errstate(invalid="ignore"):
            scores["error_features"] = np.where(known, counted, 0.0).sum(axis=0) / known.sum(axis=0)
    lost = ~np.isfinite(voltage).all(axis=0)
    scores = {name: np.where(lost, np.nan, values) for name, values in scores.items()}
    count = spikes.spike_counts(recorded).astype(float)
    place = list(scores).index("spike_count") + 1
    items = list(scores.items())
    items.insert(place, ("spike_count_observed", np.repeat(count[:, None], lost.shape[1], axis=1)))
    return dict(items)


def score_units(names: Mapping[str, object], units: Mapping[str, str]) -> dict[str, str]:
    """Return the unit of each score.

    Args:
        names: of the scores.
        units: unit of each observed state.
    """
    return {name: _unit(name, units) for name in names}


def _unit(name: str, units: Mapping[str, str]) -> str:
    kind, _, of = name.partition("_")
    if kind == "rmse":
        return units.get(of, units.get("V", "mV"))
    return "SD" if kind == "error" else "1"
