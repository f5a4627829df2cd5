"""Adam with the adjoint gradient, each start by itself.

D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, ICLR 2015, arXiv 1412.6980. The
default schedule is the original library's: a rate that falls by a factor every few epochs, and the
gradient of each start clipped to a largest norm.
"""

import numpy as np

from odynn.data import Cause, Status
from odynn.fitting.problem import Problem
from odynn.fitting.result import StageResult
from odynn.fitting.search import Keeper, Progress, Search

_MEMORY, _MEMORY_OF_SQUARES, _EPSILON = 0.9, 0.999, 1e-8
# A start whose loss or gradient is not finite goes back to its best point with half the rate, this often.
_RETRIES = 8


def minimise(
    problem: Problem,
    u: np.ndarray,
    base: np.ndarray,
    *,
    nudge: float = 0.0,
    iterations: int = 700,
    rate: float = 0.1,
    decay: float = 0.92,
    decay_every: int = 9,
    clip_norm: float = 5.0,
    progress: Progress | None = None,
    keeper: Keeper | None = None,
) -> StageResult:
    """Minimise the loss from every start.

    Args:
        problem: the loss and its gradient.
        u: [free, start] starting points.
        base: [parameter, start] values of all parameters.
        nudge: gain K, 1/ms.
        iterations: epochs.
        rate: first step size, in the unconstrained space.
        decay: factor of the rate.
        decay_every: epochs after which the rate falls by ``decay``.
        clip_norm: largest norm of a start's gradient.
        progress: see ``Search.run``.
        keeper: see ``Search.run``.

    Returns:
        The best points found and how each start ended.
    """
    return Adam(problem, u, base, nudge, iterations, rate, decay, decay_every, clip_norm).run(
        progress, keeper
    )


class Adam(Search):
    """The search; see the module for the method.

    Its memory: ``at`` [free, start] the present points, ``first`` and ``second`` [free, start] the
    running means of the gradient and of its square, ``epochs`` [start] since these began, ``retries``
    [start].
    """

    def __init__(self, problem, u, base, nudge, iterations, rate, decay, decay_every, clip_norm):
        super().__init__(problem, u, base, nudge, iterations)
        self.rate, self.decay, self.decay_every, self.clip_norm = rate, decay, decay_every, clip_norm
        self.memory = {
            "at": u.copy(),
            "first": np.zeros_like(u),
            "second": np.zeros_like(u),
            "epochs": np.zeros(u.shape[1], dtype=int),
            "retries": np.zeros(u.shape[1], dtype=int),
        }

    def iterate(self, iteration: int, active: np.ndarray) -> None:
        """Take one step from each active start."""
        memory = self.memory
        gradient, loss = self.problem.gradient(memory["at"][:, active], self.base[:, active], self.nudge)
        finite = np.isfinite(loss) & np.isfinite(gradient).all(axis=0)
        self._note(active[finite], loss[finite])
        self._go_back(active[~finite])
        rate = self.rate * self.decay ** (iteration // self.decay_every)
        self._step(active[finite], gradient[:, finite], rate)
        self.result.iterations[active] += 1
        self.result.history[iteration, active] = self.result.loss[active]

    def finish(self) -> None:
        """Consider the points after the last step, whose loss no epoch has looked at."""
        active = np.flatnonzero(self.result.active)
        if len(active):
            loss = self.problem.losses(self.memory["at"][:, active], self.base[:, active], self.nudge)
            self._note(active, np.where(np.isfinite(loss), loss, np.inf))

    def _note(self, starts: np.ndarray, loss: np.ndarray) -> None:
        """Keep the present points of these starts where they are the best so far."""
        better = loss < self.result.loss[starts]
        self.result.accept(starts[better], self.memory["at"][:, starts[better]], loss[better])

    def _go_back(self, starts: np.ndarray) -> None:
        """Return starts whose loss or gradient is not finite to their best point, with half the rate."""
        memory = self.memory
        memory["at"][:, starts] = self.result.u[:, starts]
        memory["first"][:, starts] = memory["second"][:, starts] = 0.0
        memory["epochs"][starts] = 0
        memory["retries"][starts] += 1
        hopeless = starts[memory["retries"][starts] > _RETRIES]
        self.result.stop(hopeless, Status.STOPPED_EARLY, Cause.SENSITIVITY_NOT_FINITE)

    def _step(self, starts: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        memory = self.memory
        # Scaled by a power of two, which changes no digit, so that no square is beyond what a number holds.
        _, exponent = np.frexp(np.abs(gradient).max(axis=0, initial=0.0))
        norm = np.ldexp(np.sqrt(np.sum(np.ldexp(gradient, -exponent) ** 2, axis=0)), exponent)
        gradient = gradient * (self.clip_norm / np.maximum(norm, self.clip_norm))
        memory["epochs"][starts] += 1
        first = _MEMORY * memory["first"][:, starts] + (1 - _MEMORY) * gradient
        second = _MEMORY_OF_SQUARES * memory["second"][:, starts] + (1 - _MEMORY_OF_SQUARES) * gradient**2
        memory["first"][:, starts], memory["second"][:, starts] = first, second
        epochs = memory["epochs"][starts]
        mean = first / (1 - _MEMORY**epochs)
        spread = np.sqrt(second / (1 - _MEMORY_OF_SQUARES**epochs))
        memory["at"][:, starts] -= rate * 0.5 ** memory["retries"][starts] * mean / (spread + _EPSILON)
