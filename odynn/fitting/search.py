"""What every optimiser shares: the loop over iterations, and its state that can be kept and restored."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Protocol

import numpy as np

from odynn.fitting.problem import Problem
from odynn.fitting.result import StageResult

Progress = Callable[[int, int, np.ndarray], None]


class Keeper(Protocol):
    """Where a fit keeps its state while it runs, so that a killed one can go on."""

    def load(self) -> dict[str, np.ndarray]:
        """Return what was saved last, or an empty dict."""

    def save(self, arrays: Mapping[str, np.ndarray], now: bool = False) -> None:
        """Save arrays by name; unless ``now``, only if the last time is some seconds ago."""


class NoKeeper:
    """Keeps nothing."""

    def load(self):
        """Return an empty dict."""
        return {}

    def save(self, arrays, now=False):
        """Do nothing."""


class Search:
    """An optimiser at work on all starts at once.

    A subclass writes ``iterate``, and keeps every array that its next iteration needs in ``memory``:
    together with the result that is its whole state.

    Attributes:
        problem: the loss and its derivatives.
        base: [parameter, start] values of all parameters.
        nudge: gain K, 1/ms.
        result: the best points so far.
        memory: name to array.
    """

    def __init__(self, problem: Problem, u: np.ndarray, base: np.ndarray, nudge: float, iterations: int):
        """Evaluate the starting points u [free, start]; those with a finite loss become active."""
        self.problem, self.base, self.nudge, self.iterations = problem, base, nudge, iterations
        self.result = StageResult.begin(u, problem.losses(u, base, nudge), iterations)
        self.memory: dict[str, np.ndarray] = {}

    def iterate(self, iteration: int, active: np.ndarray) -> None:
        """Do one iteration on the active starts (their places), and note what came of it."""
        raise NotImplementedError

    def finish(self) -> None:
        """Do what is left after the last iteration."""

    def state(self) -> dict[str, np.ndarray]:
        """Return copies of all arrays that the next iteration depends on."""
        kept = {f"memory/{name}": array.copy() for name, array in self.memory.items()}
        return kept | {
            f"result/{field.name}": getattr(self.result, field.name).copy() for field in fields(StageResult)
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what ``state`` returned."""
        self.memory = {name: state[f"memory/{name}"].copy() for name in self.memory}
        self.result = StageResult(
            **{field.name: state[f"result/{field.name}"] for field in fields(StageResult)}
        )

    def run(self, progress: Progress | None = None, keeper: Keeper | None = None) -> StageResult:
        """Iterate until no start is active or the iterations are used up.

        Args:
            progress: called after each iteration with its number, the number of active starts, and
                the best losses [start].
            keeper: holds the state of this search if it was interrupted, and gets it as it changes:
                now and then, and when an exception (a signal to stop) ends the loop.

        Returns:
            The best points found and how each start ended.
        """
        keeper = NoKeeper() if keeper is None else keeper
        saved = keeper.load()
        done = 0
        if saved:
            self.restore(saved)
            done = int(saved["done"])
        latest = {**self.state(), "done": np.array(done)}
        try:
            for iteration in range(done, self.iterations):
                active = np.flatnonzero(self.result.active)
                if not len(active):
                    break
                self.iterate(iteration, active)
                latest = {**self.state(), "done": np.array(iteration + 1)}
                keeper.save(latest)
                if progress is not None:
                    progress(iteration, int(self.result.active.sum()), self.result.loss)
            self.finish()
        except BaseException:
            keeper.save(latest, now=True)
            raise
        return self.result.end(self.problem.transform)
