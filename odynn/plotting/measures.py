"""What figures, tables and the report say about a fit: ranks, spreads, scores and noise floor."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from odynn.data import Best, Fit, Parameter, Status, Target

# Starts whose loss is at most this share above the best fit the data as well as the best one does.
NEAR = 0.10
# Fewer such starts than this cannot show what the data leave open.
ENOUGH = 3
# Spread of a parameter among these starts, as a share of its bounds.
LOOSE = 0.05
UNDETERMINED = 0.20
# This share of them may lie outside the spread at either end, or one start that got stuck would decide.
OUTSIDE = 0.05
# A value this near to a bound, as a share of the bounds, lies at it.
AT_BOUND = 1e-3


@dataclass(frozen=True)
class Score:
    """How well a simulation follows recorded traces, over all their samples together.

    Attributes:
        rmse: root mean squared error, in the unit of the state.
        r2: 1 minus the squared error over the squared deviation from the mean of all samples, so
            that a flat line at the mean has 0; not a number where the recording is constant.
    """

    rmse: float
    r2: float


@dataclass(frozen=True)
class SpikeScore:
    """How well a simulation reproduces the spikes of some sweeps.

    Attributes:
        sweeps: number of sweeps.
        within_one: in how many of them the number of spikes is right to within one.
        recorded: spikes of the recording in all of them.
        simulated: spikes of the simulation, of the sweeps where it is finite.
        gamma: mean coincidence factor over the sweeps with spikes; NaN where there are none.
    """

    sweeps: int
    within_one: int
    recorded: int
    simulated: int
    gamma: float


def usable(fit: Fit) -> np.ndarray:
    """Return [start] true for starts that ended with a finite loss and did not diverge."""
    return np.isfinite(fit.loss) & (np.asarray(fit.status) != Status.DIVERGED)


def ranking(fit: Fit) -> np.ndarray:
    """Return the places of all starts on the start axis, lowest loss first, diverged ones last."""
    good = usable(fit)
    return np.lexsort((np.where(good, fit.loss, 0.0), ~good))


def equally_good(fit: Fit, share: float = NEAR) -> np.ndarray:
    """Return the places of the starts whose loss is at most ``share`` above the best, best first."""
    order = ranking(fit)
    order = order[usable(fit)[order]]
    if not order.size:
        return order
    return order[fit.loss[order] <= (1 + share) * fit.loss[order[0]]]


def free_parameters(fit: Fit) -> list[Parameter]:
    """Return the rows of the parameters that the fit could change."""
    return [row for row in fit.parameters.values() if row.free and row.name in fit.values]


def fixed_values(fit: Fit) -> dict[str, float]:
    """Return the values of the parameters that were held; those that follow another were not."""
    held = {}
    for row in fit.parameters.values():
        if not row.free and not row.follows:
            column = np.asarray(fit.values.get(row.name, ()))
            held[row.name] = float(column[0]) if column.size else row.default
    return held


def position(parameter: Parameter, values) -> np.ndarray:
    """Return where values lie between the bounds, 0 at the lower and 1 at the upper, on its scale."""
    lower, upper = parameter.bounds
    values = np.asarray(values, dtype=float)
    if parameter.scale == "log":
        with np.errstate(invalid="ignore", divide="ignore"):
            places = np.log(values / lower) / np.log(upper / lower)
    else:
        places = (values - lower) / (upper - lower)
    return np.where(np.isfinite(places), np.clip(places, 0.0, 1.0), np.nan)


def position_error(parameter: Parameter, value: float, error: float) -> float:
    """Return an error at a value as a share of the bounds, on the parameter's scale; may be infinite."""
    lower, upper = parameter.bounds
    return error / (value * np.log(upper / lower) if parameter.scale == "log" else upper - lower)


def middle(values) -> tuple[float, float]:
    """Return the ends of the range that 90 % of the values fill; of fewer than 20 values, all of them.

    >>> middle(range(10)), middle(range(40))
    ((0.0, 9.0), (2.0, 37.0))
    """
    values = np.sort(np.asarray(values, dtype=float))
    values = values[np.isfinite(values)]
    if not values.size:
        return np.nan, np.nan
    cut = int(OUTSIDE * values.size)
    return float(values[cut]), float(values[values.size - 1 - cut])


def spread(parameter: Parameter, values) -> float:
    """Return the width that ``middle`` values take up of the parameter's bounds, on its scale, 0 to 1."""
    lower, upper = position(parameter, middle(values))
    return float(upper - lower)


def verdict(width: float, starts: int) -> str:
    """Say what a spread among ``starts`` equally good starts means for a parameter."""
    if starts < ENOUGH or not np.isfinite(width):
        return "not judged"
    if width > UNDETERMINED:
        return "undetermined"
    return "loosely determined" if width > LOOSE else "determined"


def verdicts(fit: Fit) -> dict[str, tuple[float, str]]:
    """Return the spread and the verdict of each free parameter, by name."""
    near = equally_good(fit)
    found = {}
    for row in free_parameters(fit):
        width = spread(row, np.asarray(fit.values[row.name])[near])
        found[row.name] = (width, verdict(width, len(near)))
    return found


def at_bounds(fit: Fit) -> list[str]:
    """Return the names of the free parameters whose best value lies at one of its bounds."""
    order = ranking(fit)
    if not usable(fit).any():
        return []
    names = []
    for row in free_parameters(fit):
        place = float(position(row, fit.values[row.name][order[0]]))
        if min(place, 1 - place) <= AT_BOUND:
            names.append(row.name)
    return names


def noise_floor(fit: Fit, target: Target, weights: Mapping[str, float] | None = None) -> float | None:
    """Return the loss that the noise of a synthetic target alone causes.

    Args:
        fit: the fit, whose losses tell the weights where they are not given.
        target: the target, with the noise that was added to each state.
        weights: weight of each state in the loss.

    Returns:
        The sum over states of weight times noise variance; None where the noise, or the weight of a
        state, is not known.
    """
    if not target.noise or not any(target.noise.values()):
        return None
    weights = _weights_seen(fit) if weights is None else weights
    if weights is None:
        return None
    return float(sum(weight * target.noise.get(state, 0.0) ** 2 for state, weight in weights.items())) or None


def _weights_seen(fit: Fit) -> dict[str, float] | None:
    """Return the weights that make losses of the mean squared errors, or None if none do."""
    states = list(fit.rmse_train)
    good = usable(fit)
    if not states or good.sum() < len(states):
        return None
    squares = np.stack([np.asarray(fit.rmse_train[state])[good] ** 2 for state in states], axis=1)
    loss = np.asarray(fit.loss, dtype=float)[good]
    rows = np.isfinite(squares).all(axis=1) & (loss > 0)
    if rows.sum() < len(states):
        return None
    # Each equation is divided by its loss, or the worst start alone would decide.
    scaled = squares[rows] / loss[rows, None]
    weights, _, rank, _ = np.linalg.lstsq(scaled, np.ones(rows.sum()), rcond=None)
    if rank < len(states) or np.abs(scaled @ weights - 1).max() > 0.01:
        return None
    return dict(zip(states, map(float, weights), strict=True))


def places_of(target: Target, best: Best) -> np.ndarray:
    """Return where each sweep of the target lies on the sweep axis of the simulations."""
    if np.array_equal(target.sweeps, best.sweeps):
        return np.arange(len(target.sweeps))
    place = {int(sweep): index for index, sweep in enumerate(best.sweeps)}
    return np.array([place[int(sweep)] for sweep in target.sweeps], dtype=int)


def pooled_score(target: Target, best: Best, state: str, sweeps: np.ndarray, rank: int = 0) -> Score | None:
    """Return the score of one start over some sweeps taken together.

    Args:
        target: the recorded traces.
        best: the simulations.
        state: name of an observed state.
        sweeps: [sweep] true for the sweeps of the target that count.
        rank: place of the start among the best, 0 for the best one.

    Returns:
        The score, or None where there is no such start or sweep, or the state was not simulated.
    """
    if not np.any(sweeps) or len(best.ids) <= rank or state not in best.states:
        return None
    recorded = np.asarray(target.observed[state], dtype=float)[:, sweeps]
    simulated = np.asarray(best.states[state])[:, places_of(target, best)[sweeps], rank].astype(float)
    seen = np.isfinite(recorded)
    if not seen.any() or not np.isfinite(simulated[seen]).all():
        return Score(np.nan, np.nan)
    error = float(np.mean((simulated - recorded)[seen] ** 2))
    variance = float(np.var(recorded[seen]))
    return Score(np.sqrt(error), 1 - error / variance if variance > 0 else np.nan)


def spike_score(target: Target, best: Best, sweeps: np.ndarray, rank: int = 0) -> SpikeScore | None:
    """Return how well one start reproduces the spikes of some sweeps.

    Args:
        target: the recorded traces.
        best: the simulations, with their scores.
        sweeps: [sweep] true for the sweeps of the target that count.
        rank: place of the start among the best, 0 for the best one.

    Returns:
        The score, or None where there is no such start or sweep, or the recording has no spikes.
    """
    if not np.any(sweeps) or len(best.ids) <= rank or "spike_count_observed" not in best.scores:
        return None
    places = places_of(target, best)[sweeps]
    recorded, simulated, found = (
        np.asarray(best.scores[name], dtype=float)[places, rank]
        for name in ("spike_count_observed", "spike_count", "gamma")
    )
    found = found[np.isfinite(found)]
    return SpikeScore(
        sweeps=len(places),
        within_one=int((np.abs(simulated - recorded) <= 1).sum()),
        recorded=int(recorded.sum()),
        simulated=int(np.nansum(simulated)),
        gamma=float(found.mean()) if found.size else np.nan,
    )
