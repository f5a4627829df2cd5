"""What a stage of a fit leaves behind, kept up to date while it runs."""

from dataclasses import dataclass

import numpy as np

from odynn.data import Cause, Status
from odynn.fitting.transforms import Transform


@dataclass
class StageResult:
    """The best point of every start, and how it got there.

    Attributes:
        u: [free, start] best point so far.
        loss: [start] its loss, as the stage defines it; not finite for a start that never ran.
        status: [start] Status; NOT_FITTED while a start is active.
        cause: [start] Cause.
        iterations: [start] iterations done.
        history: [iteration, start] best loss so far; NaN after a start has stopped.
    """

    u: np.ndarray
    loss: np.ndarray
    status: np.ndarray
    cause: np.ndarray
    iterations: np.ndarray
    history: np.ndarray

    @classmethod
    def begin(cls, u: np.ndarray, loss: np.ndarray, iterations: int) -> "StageResult":
        """Return a result in which every start whose loss is finite is active."""
        number = u.shape[1]
        result = cls(
            u=u.copy(),
            loss=np.array(loss, dtype=float),
            status=np.full(number, Status.NOT_FITTED, dtype=np.int8),
            cause=np.full(number, Cause.NONE, dtype=np.int8),
            iterations=np.zeros(number, dtype=np.int64),
            history=np.full((iterations, number), np.nan),
        )
        result.stop(np.flatnonzero(~np.isfinite(loss)), Status.DIVERGED, Cause.START_NOT_FINITE)
        return result

    @property
    def active(self) -> np.ndarray:
        """[start] true where the work goes on."""
        return self.status == Status.NOT_FITTED

    def accept(self, starts: np.ndarray, u: np.ndarray, loss: np.ndarray) -> None:
        """Move these starts to better points u [free, start] with their losses."""
        self.u[:, starts] = u
        self.loss[starts] = loss

    def stop(self, starts: np.ndarray, status: Status, cause: Cause = Cause.NONE) -> None:
        """End the work on these starts."""
        self.status[starts] = status
        self.cause[starts] = cause

    def end(self, transform: Transform) -> "StageResult":
        """Close the stage: what is still active hit the limit; what converged on a bound says so."""
        self.status[self.active] = Status.ITERATION_LIMIT
        self.status[(self.status == Status.CONVERGED) & transform.at_bound(self.u)] = Status.AT_BOUND
        return self
