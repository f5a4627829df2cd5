"""How well the data determine the parameters of the best starts.

The noise is estimated from the residuals and the errors follow from the normal equations
(``odynn.analysis.information``), all in float64 whatever the precision of the fit. Residuals of a
model that is not quite the cell are correlated in time: every error is given twice, as if each
residual were independent ("naive") and corrected for how many independent ones there are. A loss of
several states is taken at its word: its weights are those that make their residuals equally noisy.
"""

import logging
from collections.abc import Mapping

import numpy as np
from scipy.special import chdtri, expit, logit, ndtri

from odynn.analysis.information import LEVEL, Information, correlation_time, information
from odynn.analysis.profiles import Profiles, likelihood_profiles
from odynn.analysis.residuals import Residuals, residuals_of
from odynn.data import Fit, Parameter, Status, Target, Uncertainty, Verdict
from odynn.fitting.losses import Loss, make_loss
from odynn.fitting.problem import Problem
from odynn.fitting.search import Keeper
from odynn.simulation.dynamics import experiment_dynamics
from odynn.simulation.simulator import Simulator

log = logging.getLogger(__name__)

# Verdicts, by the corrected standard error or by the standard deviation among the starts that fit
# equally well, whichever is larger. Determined: 1.96 of them on either side take at most this share of
# the bounds, and, where the bounds are on one side of zero, one is at most this share of the value.
DETERMINED = 0.1
WEAKLY_DETERMINED = 0.5
INTERVAL = float(ndtri(0.5 + LEVEL / 2))
# A value on a bound has no finite point: it is moved inside by this share of the range.
_INSIDE = 1e-9


def estimated_uncertainty(
    settings: Mapping, target: Target, fit: Fit, threads: int = 1, keeper: Keeper | None = None
) -> Uncertainty:
    """Return the uncertainty of the best starts of a fit on its training sweeps.

    Args:
        settings: model, solver, dt, loss, uncertainty.
        target: all sweeps.
        fit: ranked, best start first.
        threads: cores to use.
        keeper: of the state of the profiles, which take the time.

    Returns:
        What ``Uncertainty`` says; without a start if all diverged.
    """
    options = settings["uncertainty"]
    usable = np.flatnonzero(np.isfinite(fit.loss) & (fit.status != Status.DIVERGED))[: options["number"]]
    if not len(usable):
        log.warning("every start diverged: there is no point whose uncertainty could be told")
        return _joined(fit, target, [], None, np.nan, (0, {}))
    best = fit.take(usable)
    settings = {**settings, "precision": "float64"}
    training = target.select(target.train)
    loss = make_loss(settings["loss"])
    if loss.per_sweep:
        log.warning("terms of the loss that give no residuals are left out of the uncertainty")
        loss = Loss(loss.elementwise)
    dynamics = experiment_dynamics(settings, target.clamp)
    problem = Problem(dynamics, training, loss, best.parameters, len(best.ids), threads)
    base = np.array(list(best.values.values()), dtype=float)
    u = _points(problem.transform.parameters, best)
    if loss.terms:
        H, g, squares = problem.normal_equations(u, base)
        traces = Simulator(dynamics, threads).traces(best.values, training.stimulus, training.initial)
        residuals = residuals_of(loss, traces, training)
    else:
        H, g, squares = (np.full(shape, np.nan) for shape in ((len(u), *u.shape), u.shape, u.shape[1]))
        residuals = Residuals([], 0, 1.0)
    bounded = problem.transform.bounded(u)
    samples = training.stimulus.size  # that the normal equations were divided by
    found = []
    for place in range(len(usable)):
        finite = np.isfinite(H[..., place]).all() and np.isfinite(g[:, place]).all()
        theory = information(
            samples * (H[..., place] if finite else np.zeros_like(H[..., place])),
            samples * (g[:, place] if finite else np.zeros_like(g[:, place])),
            samples * squares[place],
            residuals.number,
            ~bounded[:, place] & finite,
        )
        time = correlation_time([series[..., place] for series in residuals.series])
        found.append(_Point(theory, u[:, place], bounded[:, place], float(squares[place]), residuals, time))
    first = found[0]
    unit = first.theory.variance * first.correlation_time / samples  # of the loss, per unit of chi-squared
    rise = unit * chdtri(first.theory.rank, 1 - LEVEL) if first.theory.rank else 0.0
    equal = float(best.loss[0]) + rise
    names = [name for name in options["profiles"] if name in problem.transform.parameters]
    profiles = None
    if names and first.theory.rank and first.theory.variance > 0:
        profiles = likelihood_profiles(
            problem,
            u[:, :1],
            base[:, :1],
            names,
            points=options["points"],
            width=options["width"],
            samples=samples,
            residuals=residuals.number,
            correlation_time=first.correlation_time,
            keeper=keeper,
        )
    log.info("the data determine %d of %d directions at all, at the best start", first.theory.rank, len(u))
    return _joined(best, target, found, profiles, equal, _equally_good(fit, equal))


def _points(rows: Mapping[str, Parameter], fit: Fit) -> np.ndarray:
    """Return the points u, [free, start], where a fit has its values, not moved away from the bounds."""
    shares = [
        np.clip(_share(row, np.asarray(fit.values[name], dtype=float)), _INSIDE, 1 - _INSIDE)
        for name, row in rows.items()
    ]
    return logit(np.array(shares).reshape(len(rows), len(fit.ids)))


def _share(row: Parameter, values: np.ndarray) -> np.ndarray:
    """Return positions between the bounds, 0 to 1 on the parameter's own scale."""
    lower, upper = row.bounds
    if row.scale == "log":
        return np.log(values / lower) / np.log(upper / lower)
    return (values - lower) / (upper - lower)


class _Point:
    """Linear theory at one start; errors also as shares of the bounds, on each parameter's own scale."""

    def __init__(
        self, theory: Information, u, bounded, loss: float, residuals: Residuals, correlation_time: float
    ):
        self.theory, self.bounded, self.loss = theory, bounded, loss
        self.samples, self.noise = residuals.number, (theory.variance / residuals.scale) ** 0.5
        self.correlation_time = correlation_time
        self.naive = expit(u) * expit(-u) * theory.errors
        self.corrected = self.naive * correlation_time**0.5

    def verdict(self, place: int, row: Parameter, value: float, spread: float) -> Verdict:
        """Return what the data say of one parameter, given its spread among equally good starts."""
        if self.bounded[place]:
            return Verdict.AT_BOUND
        if np.isnan(self.corrected[place]):
            return Verdict.NOT_ASSESSED
        share = np.fmax(self.corrected[place], spread)
        error = 2 * INTERVAL * share
        if row.bounds[0] >= 0 or row.bounds[1] <= 0:
            error = max(error, share * _width(row, value) / abs(value)) if value else np.inf
        if error <= DETERMINED:
            return Verdict.DETERMINED
        return Verdict.WEAKLY_DETERMINED if error <= WEAKLY_DETERMINED else Verdict.NOT_DETERMINED


def _width(row: Parameter, value) -> np.ndarray:
    """Return what a share of the bounds is worth in the parameter's unit, at a value."""
    lower, upper = row.bounds
    return value * np.log(upper / lower) if row.scale == "log" else value * 0 + upper - lower


def _equally_good(fit: Fit, limit: float) -> tuple[int, dict[str, float]]:
    """Return how many starts have a loss up to a limit, and the spread of each parameter among them."""
    good = np.isfinite(fit.loss) & (fit.status != Status.DIVERGED) & (fit.loss <= limit)
    good[0] = True  # its own loss in float64 can differ in the last bits
    spreads = {}
    for name, row in fit.parameters.items():
        shares = _share(row, np.asarray(fit.values[name], dtype=float)[good])
        spreads[name] = float(np.std(shares, ddof=1)) if len(shares) > 1 else np.nan
    return int(good.sum()), spreads


def _joined(
    best: Fit,
    target: Target,
    found: list[_Point],
    profiles: Profiles | None,
    equal_loss: float,
    equally_good: tuple[int, Mapping[str, float]],
) -> Uncertainty:
    rows = {name: row for name, row in best.parameters.items() if row.free}
    number, count = len(found), len(rows)
    equal_starts, spreads = equally_good
    values = {name: np.asarray(best.values[name], dtype=float)[:number] for name in rows}
    widths = {name: _width(row, values[name]) for name, row in rows.items()}

    def named(part) -> dict[str, np.ndarray]:
        """Return the rows of what each point has, [parameter, …], by name, starts last."""
        stacked = np.stack([part(point) for point in found], axis=-1) if found else None
        return {name: np.zeros(0) if stacked is None else stacked[k] for k, name in enumerate(rows)}

    def square(part) -> dict[str, np.ndarray]:
        return {name: array.reshape(count, number) for name, array in named(part).items()}

    def column(part, dtype=float) -> np.ndarray:
        return np.array([part(point) for point in found], dtype=dtype)

    verdicts = {}
    for k, (name, row) in enumerate(rows.items()):
        judged = [
            point.verdict(k, row, values[name][place], spreads[name]) for place, point in enumerate(found)
        ]
        verdicts[name] = np.array(judged, dtype=np.int8)
    corrected = {name: error * widths[name] for name, error in named(lambda point: point.corrected).items()}
    unit = best.units["loss"]
    return Uncertainty(
        ids=best.ids[:number],
        parameters=rows,
        values=values,
        loss=column(lambda point: point.loss),
        samples=column(lambda point: point.samples, int),
        effective_samples=column(lambda point: point.samples / point.correlation_time),
        rank=column(lambda point: point.theory.rank, int),
        noise=column(lambda point: point.noise),
        decrement=column(lambda point: point.theory.decrement),
        scaled_errors=named(lambda point: point.theory.errors),
        naive_errors={name: part * widths[name] for name, part in named(lambda point: point.naive).items()},
        corrected_errors=corrected,
        verdicts=verdicts,
        eigenvalues=column(lambda point: point.theory.eigenvalues).reshape(number, count).T,
        directions=square(lambda point: point.theory.directions),
        correlations=square(lambda point: point.theory.correlations),
        truth_distances=_truth_distances(rows, values, corrected, target),
        equal_loss=equal_loss,
        equal_starts=float(equal_starts),
        equal_spreads={name: float(spreads[name] * widths[name][0]) if number else np.nan for name in rows},
        points=np.zeros(0, dtype=int) if profiles is None else profiles.points,
        profile_values={} if profiles is None else profiles.values,
        profile_losses={} if profiles is None else profiles.losses,
        profile_lower={} if profiles is None else profiles.lower,
        profile_upper={} if profiles is None else profiles.upper,
        profile_loss=np.nan if profiles is None else profiles.limit,
        units={"loss": unit, "noise": unit[1:-2] if unit.endswith(")²") else "1"},
    )


def _truth_distances(rows, values, corrected, target: Target) -> dict[str, np.ndarray] | None:
    if target.truth is None:
        return None
    distances = {}
    for name, row in rows.items():
        value, truth = values[name], target.truth.get(name, np.nan)
        error = value * np.log(value / truth) if row.scale == "log" and truth > 0 else value - truth
        with np.errstate(divide="ignore", invalid="ignore"):
            distances[name] = error / corrected[name]
    return distances
