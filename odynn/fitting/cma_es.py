"""CMA-ES, evolution of a normal distribution, for losses whose gradient says nothing: spike times, features.

Every start has a search of its own, begun at its point, and draws its own random numbers; the
populations of all of them are simulated in one batch. The search only ranks the losses, so that steps
and plateaus do no harm, and losses that are not finite come last. N. Hansen and A. Ostermeier,
Evol. Comput. 9 (2001) 159–195, doi:10.1162/106365601750190398, as the library pycma has it
(doi:10.5281/zenodo.2559634).
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from scipy.linalg import eigh

from odynn.data import Cause, Status
from odynn.fitting.problem import Problem
from odynn.fitting.result import StageResult
from odynn.fitting.search import Keeper, Progress, Search

# Iterations whose losses must all lie close together for convergence.
_WINDOW = 10
# What pycma would read from the clock, the disk or the global random numbers is turned off; so are those
# of its reasons to stop that ``tolerance`` replaces.
_OPTIONS = {
    "seed": np.nan,
    "verbose": -9,
    "verb_log": 0,
    "timeout": np.inf,
    "maxiter": np.inf,
    "tolfun": 0,
    "tolfunhist": 0,
    "tolfunrel": 0,
    "tolflatfitness": np.inf,
    "tolstagnation": np.inf,
    "tolx": 0,
}


def minimise(
    problem: Problem,
    u: np.ndarray,
    base: np.ndarray,
    *,
    nudge: float = 0.0,
    iterations: int = 200,
    population: int | None = None,
    sigma: float = 0.5,
    tolerance: float = 1e-4,
    seeds: Sequence[np.random.SeedSequence] | None = None,
    progress: Progress | None = None,
    keeper: Keeper | None = None,
) -> StageResult:
    """Minimise the loss from every start.

    Args:
        problem: the loss; no derivative of it is taken.
        u: [free, start] starting points.
        base: [parameter, start] values of all parameters.
        nudge: gain K, 1/ms.
        iterations: most generations of a start.
        population: points simulated a generation and start; None: 4 + 3 ln(free parameters).
        sigma: standard deviation of the first generation, in the unconstrained space of order one.
        tolerance: all losses of ten generations within this fraction of the least are convergence.
        seeds: [start] of the random numbers of each start; None: by its place.
        progress: see ``Search.run``.
        keeper: see ``Search.run``.

    Returns:
        The best points found and how each start ended.
    """
    return CmaEs(problem, u, base, nudge, iterations, population, sigma, tolerance, seeds).run(
        progress, keeper
    )


class CmaEs(Search):
    """The search; see the module for the method.

    Its memory: ``fitness`` [iteration, point, start], the loss of every point that was tried. With it
    and the seeds, each start's distribution is computed again when an interrupted search goes on.
    """

    def __init__(self, problem, u, base, nudge, iterations, population, sigma, tolerance, seeds):
        super().__init__(problem, u, base, nudge, iterations)
        free, number = u.shape
        self.population = int(population or 4 + 3 * np.log(free))
        self.sigma, self.tolerance = sigma, tolerance
        self._first = u.copy()
        self._seeds = (
            [np.random.SeedSequence(0, spawn_key=(place,)) for place in range(number)]
            if seeds is None
            else seeds
        )
        self._strategies: dict[int, object] = {}
        self.memory = {"fitness": np.full((iterations, self.population, number), np.nan)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what ``state`` returned."""
        super().restore(state)
        self._strategies = {}

    def iterate(self, iteration: int, active: np.ndarray) -> None:
        """Try one generation of each active start."""
        strategies = [self._strategy(start) for start in active]
        asked = [strategy.ask() for strategy in strategies]
        points = np.array(asked).transpose(2, 0, 1)  # [free, start, point]
        base = np.repeat(self.base[:, active], self.population, axis=1)
        losses = self.problem.losses(points.reshape(len(points), -1), base, self.nudge)
        losses = np.where(np.isfinite(losses), losses, np.inf).reshape(len(active), -1)
        self.memory["fitness"][iteration][:, active] = losses.T

        result, rows, chosen = self.result, np.arange(len(active)), np.argmin(losses, axis=1)
        better = losses[rows, chosen] < result.loss[active]
        result.accept(active[better], points[:, rows, chosen][:, better], losses[rows, chosen][better])
        result.iterations[active] += 1
        result.history[iteration, active] = result.loss[active]
        for start, strategy, generation, fitness in zip(active, strategies, asked, losses, strict=True):
            if _tell(strategy, generation, fitness):
                result.stop(start, Status.CONVERGED, Cause.NO_DESCENT)
        if iteration + 1 >= _WINDOW:
            self._stop(active, self.memory["fitness"][iteration + 1 - _WINDOW : iteration + 1][..., active])

    def _stop(self, active: np.ndarray, recent: np.ndarray) -> None:
        """End the starts whose losses of late, [iteration, point, start], are all alike, or none finite."""
        least, most = recent.min(axis=(0, 1)), recent.max(axis=(0, 1))
        nowhere = ~np.isfinite(least)
        self.result.stop(active[nowhere], Status.STOPPED_EARLY, Cause.TRACE_NOT_FINITE)
        least[nowhere] = 0.0
        calm = most - least <= self.tolerance * np.abs(least)
        self.result.stop(active[calm], Status.CONVERGED)

    def _strategy(self, start: int):
        """Return the search of a start as it stands, computed again where the process is a new one."""
        if start not in self._strategies:
            # Slow to import: it loads matplotlib.
            from cma import CMAEvolutionStrategy

            normal = np.random.default_rng(self._seeds[start]).standard_normal
            options = {**_OPTIONS, "popsize": self.population, "randn": lambda *shape: normal(shape)}
            strategy = CMAEvolutionStrategy(self._first[:, start], self.sigma, options)
            # NumPy's routine, which pycma would take, has threads that wait for each other on small matrices.
            strategy.sm.eigenmethod = partial(eigh, driver="evd", check_finite=False)
            for fitness in self.memory["fitness"][: self.result.iterations[start], :, start]:
                _tell(strategy, strategy.ask(), fitness)
            self._strategies[start] = strategy
        return self._strategies[start]


def _tell(strategy, generation: list[np.ndarray], fitness: np.ndarray) -> bool:
    """Move a search on by the losses of a generation, and return whether its steps have become useless."""
    if not np.isfinite(fitness).any():
        # Nothing to rank: the same place again, with a shorter reach.
        strategy.sigma /= 2
        return False
    strategy.tell(generation, fitness.tolist())
    return bool(strategy.stop())
