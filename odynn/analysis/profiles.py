"""Profiles of the likelihood: one parameter held on a grid, all others refitted.

A. Raue et al., Bioinformatics 25 (2009) 1923–1929, doi:10.1093/bioinformatics/btp358. Unlike the
standard errors a profile follows the bend of the valley, and shows where it has no other side.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, expit, logit

from odynn.analysis.information import LEVEL, information
from odynn.fitting import levenberg_marquardt
from odynn.fitting.problem import Problem

log = logging.getLogger(__name__)

# A grid ends this share of the range before a bound.
_EDGE = 1e-3
# A refit ends when an iteration gains less than this, in units of the limit of the interval.
_RESOLUTION = 3e-3
_ITERATIONS, _ITERATIONS_AT_FIRST = 40, 200


@dataclass(frozen=True)
class Profiles:
    """Profiles of some parameters.

    Attributes:
        points: [point] numbers of the grid points, 0 in the middle.
        values: parameter name to [point], in the parameter's unit.
        losses: parameter name to [point]; NaN where the grid met a bound.
        lower: parameter name to the lower end of the interval; infinite where there is none up to the
            bound, NaN where the grid ended before.
        upper: the upper end.
        limit: loss at the ends.
    """

    points: np.ndarray
    values: dict[str, np.ndarray]
    losses: dict[str, np.ndarray]
    lower: dict[str, float]
    upper: dict[str, float]
    limit: float


class _Held:
    """A problem in which each start keeps one of its coordinates.

    Which one is the last row of ``base``: an optimiser hands that on with the start. Its row and column
    of the normal equations are zero, so that no step goes there; the same compiled kernels serve for
    every parameter.
    """

    def __init__(self, problem: Problem):
        self._problem, self.transform = problem, problem.transform

    def losses(self, u, base, nudge=0.0):
        return self._problem.losses(u, base[:-1], nudge)

    def normal_equations(self, u, base, nudge=0.0):
        H, g, loss = self._problem.normal_equations(u, base[:-1], nudge)
        held, starts = base[-1].astype(int), np.arange(base.shape[1])
        H[held, :, starts] = 0.0
        H[:, held, starts] = 0.0
        g[held, starts] = 0.0
        return H, g, loss


def likelihood_profiles(
    problem: Problem,
    u: np.ndarray,
    base: np.ndarray,
    names: Sequence[str],
    *,
    points: int,
    width: float,
    samples: int,
    residuals: int,
    correlation_time: float,
) -> Profiles:
    """Return the profiles of some parameters around a fitted point.

    The point is first refitted to convergence; from there each grid goes outwards on both sides, every
    refit beginning where its neighbour ended. All grids advance together, as starts of one batch.

    Args:
        problem: in float64.
        u: [free, 1] the fitted point.
        base: [parameter, 1] values of all parameters.
        names: free parameters.
        points: grid points on either side.
        width: how many standard errors a grid reaches to either side; up to the bounds where the
            error is not finite.
        samples: number that the problem divides its sums by.
        residuals: how many residuals there are.
        correlation_time: how many of them count as an independent one.

    Returns:
        The profiles, with the interval of each.
    """
    resolution = _RESOLUTION * correlation_time * chdtri(1, 1 - LEVEL) / residuals
    refitted = levenberg_marquardt.minimise(
        problem, u, base, iterations=_ITERATIONS_AT_FIRST, tolerance=resolution
    )
    centre, lowest = refitted.u, float(refitted.loss[0])
    H, g, _ = problem.normal_equations(centre, base)
    inside = ~problem.transform.bounded(centre)[:, 0]
    theory = information(samples * H[..., 0], samples * g[:, 0], samples * lowest, residuals, inside)
    errors = theory.errors * expit(centre[:, 0]) * expit(-centre[:, 0]) * correlation_time**0.5
    rise = float(theory.variance * correlation_time * chdtri(1, 1 - LEVEL) / samples)
    free = list(problem.transform.parameters)
    held = np.array([free.index(name) for name in names for _ in range(2)])
    sides = np.array([-1, 1] * len(names))
    middle = expit(centre[held, 0])
    room = np.maximum(np.where(sides < 0, middle, 1 - middle) - _EDGE, 0.0)
    reach = np.fmin(np.where(np.isfinite(errors[held]), width * errors[held], np.inf), room)
    shares = middle + sides * reach * np.arange(points + 1)[:, None] / points  # [point, lane]
    losses = np.full(shares.shape, np.nan)
    losses[0] = lowest
    lanes = np.flatnonzero(reach > 0)
    if len(lanes):
        grid = logit(shares[1:, lanes])
        losses[1:, lanes] = _outwards(_Held(problem), centre, base, held[lanes], grid, resolution)
    limit = min(lowest, np.nanmin(losses)) + rise
    found = Profiles(np.arange(-points, points + 1), {}, {}, {}, {}, float(limit))
    for place, name in enumerate(names):
        left, right = 2 * place, 2 * place + 1
        position = np.concatenate([shares[:0:-1, left], shares[:, right]])
        loss = np.concatenate([losses[:0:-1, left], losses[:, right]])
        ends = _interval(
            position, loss, limit - rise, limit, reach[left] == room[left], reach[right] == room[right]
        )
        everywhere = np.repeat(centre, len(position) + 2, axis=1)
        everywhere[held[left]] = logit(np.clip([*position, *ends], 0.0, 1.0))
        values = problem.transform.forward(everywhere)[held[left]]
        found.values[name], found.losses[name] = values[:-2], loss
        found.lower[name], found.upper[name] = (
            float(value) if np.isfinite(end) else end for value, end in zip(values[-2:], ends, strict=True)
        )
        log.info("profile of %s: %.6g to %.6g", name, found.lower[name], found.upper[name])
    return found


def _outwards(problem: _Held, centre, base, held, grid, tolerance: float) -> np.ndarray:
    """Return the lowest losses, [point, lane], with coordinate ``held`` [lane] at ``grid`` [point, lane]."""
    lanes = np.arange(len(held))
    columns = np.vstack([np.repeat(base, len(held), axis=1), held])
    before = u = np.repeat(centre, len(held), axis=1)
    losses = []
    for row in grid:
        near, ahead = u.copy(), 2 * u - before  # where the neighbour ended, or on in the same direction
        near[held, lanes] = ahead[held, lanes] = row
        found = np.stack([problem.losses(point, columns) for point in (near, ahead)])
        better = np.where(np.isfinite(found), found, np.inf).argmin(axis=0)
        start = np.where(better, ahead, near)
        before = u
        result = levenberg_marquardt.minimise(
            problem, start, columns, iterations=_ITERATIONS, tolerance=tolerance
        )
        u = result.u
        losses.append(np.where(np.isfinite(result.loss), result.loss, np.nan))
    return np.array(losses)


def _interval(position, loss, lowest, limit, left_at_bound, right_at_bound) -> tuple[float, float]:
    """Return where a profile crosses the limit on both sides of its minimum.

    The root of the rise of the loss is a straight line where theory is linear, so that it is what is
    interpolated.
    """
    rise = np.sqrt(np.maximum(loss - lowest, 0.0))
    wanted = np.sqrt(limit - lowest)
    centre = int(np.nanargmin(loss))

    def crossing(places, at_bound, open_end):
        inside = places[0]
        for place in places[1:]:
            if not np.isfinite(rise[place]):
                break
            if rise[place] >= wanted:
                share = (wanted - rise[inside]) / (rise[place] - rise[inside])
                return float(position[inside] + share * (position[place] - position[inside]))
            inside = place
        return open_end if at_bound else np.nan

    left = crossing(range(centre, -1, -1), left_at_bound, -np.inf)
    right = crossing(range(centre, len(position)), right_at_bound, np.inf)
    return left, right
