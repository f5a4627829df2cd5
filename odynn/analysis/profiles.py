"""Profiles of the likelihood: one parameter held on a grid, all others refitted.

A. Raue et al., Bioinformatics 25 (2009) 1923–1929, doi:10.1093/bioinformatics/btp358. Unlike the
standard errors a profile follows the bend of the valley, and shows where it has no other side.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, expit, logit

from odynn.analysis.information import CUT_OFF, LEVEL, information
from odynn.data import Status
from odynn.fitting import levenberg_marquardt
from odynn.fitting.journal import Journal
from odynn.fitting.problem import Problem
from odynn.fitting.result import StageResult
from odynn.fitting.search import Keeper, NoKeeper

log = logging.getLogger(__name__)

# A grid ends this share of the range before a bound.
_EDGE = 1e-3
# A refit ends when an iteration gains less than this, in units of the limit of the interval.
_RESOLUTION = 3e-3
_ITERATIONS, _ITERATIONS_AT_FIRST = 100, 200
# How often the bracket around an end of an interval is drawn together.
_NARROWINGS = 3


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

    def valley(self, u, base):
        """Return how all coordinates, [free, start], follow the one that is held, by linear theory."""
        H, _, _ = self._problem.normal_equations(u, base[:-1])
        direction = np.zeros_like(u)
        for start, held in enumerate(base[-1].astype(int)):
            others = np.arange(len(u)) != held
            direction[held, start] = 1.0
            if others.any() and np.isfinite(H[..., start]).all():
                inverse = np.linalg.pinv(H[np.ix_(others, others)][..., start], rcond=CUT_OFF, hermitian=True)
                direction[others, start] = -inverse @ H[others, held, start]
        return direction


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
    keeper: Keeper | None = None,
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
        keeper: holds the state of interrupted profiles, and gets it as it changes.

    Returns:
        The profiles, with the interval of each.
    """
    resolution = _RESOLUTION * correlation_time * chdtri(1, 1 - LEVEL) / residuals
    searches = _Searches(Journal(keeper or NoKeeper()), resolution)
    refitted = searches.run(problem, lambda: u, base, _ITERATIONS_AT_FIRST)
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
    ends = np.repeat(centre, len(held), axis=1)[None].repeat(points + 1, axis=0)  # [point, free, lane]
    refits = _Refits(problem, base, searches)
    lanes = np.flatnonzero(reach > 0)
    if len(lanes):
        ends[1:, :, lanes], losses[1:, lanes] = refits.outwards(centre, held[lanes], logit(shares[1:, lanes]))
    lowest = min(lowest, np.nanmin(losses))
    found = Profiles(np.arange(-points, points + 1), {}, {}, {}, {}, lowest + rise)
    sought = []
    for place, name in enumerate(names):
        left, right = 2 * place, 2 * place + 1
        position = np.concatenate([shares[:0:-1, left], shares[:, right]])
        loss = np.concatenate([losses[:0:-1, left], losses[:, right]])
        where = np.concatenate([ends[:0:-1, :, left], ends[:, :, right]])
        height = np.sqrt(np.maximum(loss - lowest, 0.0) / rise)
        sought += [
            _End(held[left], position, height, where, side, reach[lane] == room[lane])
            for side, lane in ((-1, left), (1, right))
        ]
        found.values[name], found.losses[name] = _values(problem, centre, held[left], position), loss
    refits.narrow([end for end in sought if end.bracketed], lowest, rise)
    for place, name in enumerate(names):
        for end, limits in zip(sought[2 * place : 2 * place + 2], (found.lower, found.upper), strict=True):
            share = end.position()
            limits[name] = (
                float(_values(problem, centre, end.held, [share])[0]) if np.isfinite(share) else float(share)
            )
        log.info("profile of %s: %.6g to %.6g", name, found.lower[name], found.upper[name])
    refits.report()
    return found


def _values(problem: Problem, centre: np.ndarray, place: int, shares) -> np.ndarray:
    """Return the values of one free parameter at positions between its bounds."""
    u = np.repeat(centre, len(shares), axis=1)
    u[place] = logit(shares)
    return problem.transform.forward(u)[place]


class _Searches:
    """Searches one after the other; those that an interrupted process has done are not done again."""

    def __init__(self, journal: Journal, tolerance: float):
        self._journal, self._tolerance, self._number = journal, tolerance, 0

    def run(self, problem, point: Callable[[], np.ndarray], base: np.ndarray, iterations: int) -> StageResult:
        """Return the result of the next search; ``point`` gives where it begins, [free, start]."""
        name = f"search{self._number}"
        self._number += 1
        found = self._journal.result(name)
        if found is None:
            found = levenberg_marquardt.minimise(
                problem, point(), base, iterations=iterations, tolerance=self._tolerance, keeper=self._journal
            )
            self._journal.end(name, found)
        return found


class _Refits:
    """Refits with one coordinate held, many at once."""

    def __init__(self, problem: Problem, base: np.ndarray, searches: _Searches):
        self.problem, self.base, self.searches = _Held(problem), base, searches
        self.done = self.short = 0

    def outwards(self, centre, held, grid) -> tuple[np.ndarray, np.ndarray]:
        """Go along grids [point, lane]; return points [point, free, lane] and their losses [point, lane]."""
        lanes = np.arange(len(held))
        before = u = np.repeat(centre, len(held), axis=1)
        ends, losses = [], []
        for row in grid:

            def tried(u=u, before=before, row=row):
                valley = self.problem.valley(u, self._columns(held))
                # Where the neighbour ended, further in the direction it came from, or along the valley there.
                return [u, 2 * u - before, u + valley * (row - u[held, lanes])]

            before = u
            u, loss = self._refit(tried, held, row)
            ends.append(u)
            losses.append(loss)
        return np.array(ends), np.array(losses)

    def narrow(self, sought: "list[_End]", lowest: float, rise: float) -> None:
        """Draw the brackets of the ends of intervals together."""
        for _ in range(_NARROWINGS if sought else 0):
            held = np.array([end.held for end in sought])
            shares = [end.between() for end in sought]
            ends = np.stack([end.u for end in sought], axis=1)
            u, loss = self._refit(lambda ends=ends: [ends], held, logit(shares))
            for lane, end in enumerate(sought):
                end.take(shares[lane], np.sqrt(max(loss[lane] - lowest, 0.0) / rise), u[:, lane])

    def report(self) -> None:
        """Say how many refits did not converge."""
        if self.short:
            log.warning(
                "%d of %d refits of the profiles used up their %d iterations: their losses may be too high, "
                "and the intervals too narrow", self.short, self.done, _ITERATIONS,
            )  # fmt: skip

    def _columns(self, held) -> np.ndarray:
        return np.vstack([np.repeat(self.base, len(held), axis=1), held])

    def _refit(self, tried, held, row) -> tuple[np.ndarray, np.ndarray]:
        """Fit from the best of points [free, lane], with coordinate ``held`` [lane] at ``row`` [lane]."""
        columns, lanes = self._columns(held), np.arange(len(held))

        def best():
            points = np.stack(tried())
            points[:, held, lanes] = row
            found = np.stack([self.problem.losses(point, columns) for point in points])
            return points[np.where(np.isfinite(found), found, np.inf).argmin(axis=0), :, lanes].T

        result = self.searches.run(self.problem, best, columns, _ITERATIONS)
        self.done += len(held)
        self.short += int((result.status == Status.ITERATION_LIMIT).sum())
        return result.u, np.where(np.isfinite(result.loss), result.loss, np.nan)


class _End:
    """One end of an interval: where the root of the rise of the loss reaches 1.

    That root is a straight line where theory is linear, so that it is what is interpolated.
    """

    def __init__(self, held, position, height, where, side, at_bound):
        self.held, self._open = int(held), side * np.inf if at_bound else np.nan
        centre = int(np.nanargmin(height))
        places = range(centre, -1, -1) if side < 0 else range(centre, len(position))
        self.bracketed = False
        self._inside, self._low, self.u = position[centre], height[centre], where[centre]
        for place in places[1:]:
            if not np.isfinite(height[place]):
                break
            if height[place] >= 1:
                self._outside, self._high, self.bracketed = position[place], height[place], True
                break
            self._inside, self._low, self.u = position[place], height[place], where[place]

    def _share(self) -> float:
        return (1 - self._low) / (self._high - self._low)

    def between(self) -> float:
        """Return where to look next: where the end should be, but well inside the bracket."""
        return self._inside + np.clip(self._share(), 0.25, 0.75) * (self._outside - self._inside)

    def take(self, position: float, height: float, u: np.ndarray) -> None:
        """Narrow the bracket to a point that has been looked at."""
        if height < 1:
            self._inside, self._low, self.u = position, height, u
        elif height < self._high:
            self._outside, self._high = position, height

    def position(self) -> float:
        """Return the end; infinite where there is none up to the bound, NaN where the grid ended before."""
        return self._inside + self._share() * (self._outside - self._inside) if self.bracketed else self._open
