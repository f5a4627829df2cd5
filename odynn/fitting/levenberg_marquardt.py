"""Levenberg–Marquardt on all starts at once, each with its own damping, step control and stop.

One iteration takes the normal equations of the starts that moved, solves them for several dampings
around each start's own, and tries all of these points in one batched forward pass: a forward pass
costs a fifth to a twentieth of the normal equations, so that hardly any are ever computed for a step
that is then refused. D. W. Marquardt, J. Soc. Ind. Appl. Math. 11 (1963) 431–441, doi:10.1137/0111030.
"""

import numpy as np
from scipy.linalg.lapack import dsyevd

from odynn.data import Cause, Status
from odynn.fitting.problem import Problem
from odynn.fitting.result import StageResult
from odynn.fitting.search import Keeper, Progress, Search

# Dampings tried, as factors of a start's own, and what the own becomes where none of them helps.
_TRIALS = np.array([0.01, 0.1, 1.0, 10.0])
_RAISE = 100.0
# Lengths of each of these steps, as factors of its own: in a long curved valley the quadratic model
# is right about the direction and too short-sighted about the length.
_STRETCHES = np.array([1.0, 3.0])
_DAMPING_START, _DAMPING_LEAST, _DAMPING_MOST = 1e-2, 1e-9, 1e8
# A diagonal element counts as at least this share of the largest: a parameter of little influence
# must not run away to where the model is another one (measured on 28 parameters from 64 starts: 1e-3
# recovers the trace within 0.1 mV from twice as many starts in the same time as 1e-6).
_DIAGONAL_FLOOR = 1e-3
# The longest step in any one coordinate; the space is scaled to order one.
_LONGEST = 2.0
# Iterations of small progress in a row that count as convergence.
_PATIENCE = 3


def minimise(
    problem: Problem,
    u: np.ndarray,
    base: np.ndarray,
    *,
    nudge: float = 0.0,
    iterations: int = 40,
    tolerance: float = 1e-4,
    progress: Progress | None = None,
    keeper: Keeper | None = None,
) -> StageResult:
    """Minimise the loss from every start.

    Args:
        problem: the loss and its derivatives.
        u: [free, start] starting points.
        base: [parameter, start] values of all parameters.
        nudge: gain K, 1/ms.
        iterations: most iterations of a start.
        tolerance: a relative decrease of the loss below this, three times in a row, is convergence.
        progress: see ``Search.run``.
        keeper: see ``Search.run``.

    Returns:
        The best points found and how each start ended.
    """
    return LevenbergMarquardt(problem, u, base, nudge, iterations, tolerance).run(progress, keeper)


class LevenbergMarquardt(Search):
    """The search; see the module for the method.

    Its memory: ``at`` [free, start] the points where the derivatives ``H`` [start, free, free] and
    ``g`` [start, free] belong, with their loss ``at_loss``; ``before`` and ``before_loss``, the ones
    before these; ``damping``; ``calm``, small steps in a row; ``moved``, whether derivatives are due.
    """

    def __init__(self, problem, u, base, nudge, iterations, tolerance):
        super().__init__(problem, u, base, nudge, iterations)
        self.tolerance = tolerance
        free, number = u.shape
        self.memory = {
            "at": self.result.u.copy(),
            "at_loss": self.result.loss.copy(),
            "before": self.result.u.copy(),
            "before_loss": self.result.loss.copy(),
            "damping": np.full(number, _DAMPING_START),
            "calm": np.zeros(number, dtype=int),
            "moved": np.ones(number, dtype=bool),
            "H": np.full((number, free, free), np.nan),
            "g": np.full((number, free), np.nan),
        }

    def iterate(self, iteration: int, active: np.ndarray) -> None:
        """Take the best of several steps from each active start."""
        memory, result = self.memory, self.result
        self._differentiate(active[memory["moved"][active]])
        active = active[result.active[active]]
        if not len(active):
            return
        dampings = memory["damping"][active, None] * _TRIALS
        steps = _steps(memory["H"][active], memory["g"][active], dampings)
        trials = np.repeat(dampings, len(_STRETCHES), axis=1)
        points, losses = self._try(active, steps)
        rows, chosen = np.arange(len(active)), np.argmin(losses, axis=1)
        loss = losses[rows, chosen]
        better = loss < memory["at_loss"][active]
        self._move(active[better], points[:, rows, chosen][:, better], loss[better])
        damping = np.where(better, trials[rows, chosen], memory["damping"][active] * _RAISE)
        memory["damping"][active] = np.maximum(damping, _DAMPING_LEAST)

        gain = result.loss[active] - memory["at_loss"][active]
        small = gain < self.tolerance * result.loss[active]
        best = active[gain > 0]
        result.accept(best, memory["at"][:, best], memory["at_loss"][best])
        result.iterations[active] += 1
        result.history[iteration, active] = result.loss[active]
        calm = memory["calm"][active]
        memory["calm"][active] = np.where(better, np.where(small, calm + 1, 0), calm)
        # No descent at any damping: the gradient is within rounding of zero.
        result.stop(active[memory["damping"][active] > _DAMPING_MOST], Status.CONVERGED, Cause.NO_DESCENT)
        result.stop(active[memory["calm"][active] >= _PATIENCE], Status.CONVERGED)

    def _differentiate(self, starts: np.ndarray) -> None:
        """Take the derivatives where these starts are now."""
        if not len(starts):
            return
        memory = self.memory
        H, g, _ = self.problem.normal_equations(memory["at"][:, starts], self.base[:, starts], self.nudge)
        finite = np.isfinite(H).all(axis=(0, 1)) & np.isfinite(g).all(axis=0)
        memory["H"][starts[finite]] = H[..., finite].transpose(2, 0, 1)
        memory["g"][starts[finite]] = g[:, finite].T
        memory["moved"][starts] = False
        # Sensitivities explode there: back to the point before, and a shorter step from it.
        lost = starts[~finite]
        memory["at"][:, lost], memory["at_loss"][lost] = (
            memory["before"][:, lost],
            memory["before_loss"][lost],
        )
        memory["damping"][lost] *= _RAISE / _TRIALS[0]  # so far that no trial is the last step again
        never = lost[np.isnan(memory["g"][lost]).any(axis=1)]
        self.result.stop(never, Status.STOPPED_EARLY, Cause.SENSITIVITY_NOT_FINITE)

    def _try(self, active: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the points [free, start, trial] and their losses [start, trial], infinite if not finite."""
        points = self.memory["at"][:, active, None] + steps.transpose(2, 0, 1)
        base = np.repeat(self.base[:, active], steps.shape[1], axis=1)
        losses = self.problem.losses(points.reshape(len(points), -1), base, self.nudge)
        return points, np.where(np.isfinite(losses), losses, np.inf).reshape(steps.shape[:2])

    def _move(self, starts: np.ndarray, points: np.ndarray, losses: np.ndarray) -> None:
        memory = self.memory
        memory["before"][:, starts], memory["before_loss"][starts] = (
            memory["at"][:, starts],
            memory["at_loss"][starts],
        )
        memory["at"][:, starts], memory["at_loss"][starts] = points, losses
        memory["moved"][starts] = True


def _steps(H: np.ndarray, g: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """Return the steps of each start, [start, trial, free]: for each damping one of each length."""
    diagonal = np.diagonal(H, axis1=1, axis2=2)
    largest = diagonal.max(axis=1, keepdims=True)
    scale = np.sqrt(np.maximum(diagonal, _DIAGONAL_FLOOR * np.maximum(largest, np.finfo(float).tiny)))
    scaled = H / (scale[:, :, None] * scale[:, None, :])
    # The spectrum once, and every damping is a division: no factorisation a trial, and no failure
    # on a singular matrix.
    spectrum, basis = _spectra(scaled)
    along = np.sum(basis * (-g / scale)[:, :, None], axis=1)
    weights = along[:, None, :] / (np.maximum(spectrum, 0.0)[:, None, :] + damping[:, :, None])
    steps = np.sum(basis[:, None] * weights[:, :, None, :], axis=3) / scale[:, None, :]
    steps = (steps[:, :, None, :] * _STRETCHES[:, None]).reshape(len(H), -1, H.shape[1])
    longest = np.abs(steps).max(axis=2, keepdims=True)
    return steps * np.minimum(1.0, _LONGEST / np.maximum(longest, np.finfo(float).tiny))


def _spectra(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues [start, free] and eigenvectors [start, free, free]; NaN where there are none."""
    # By SciPy's LAPACK: the same routine and the same bits as NumPy's, whose threads wait for each other on
    # matrices as small as these (measured on two busy cores: 5 to 200 times slower).
    values, vectors = np.full(matrices.shape[:2], np.nan), np.full(matrices.shape, np.nan)
    for start, matrix in enumerate(matrices):
        spectrum, basis, failed = dsyevd(matrix, lower=1)
        if not failed:
            values[start], vectors[start] = spectrum, basis
    return values, vectors
