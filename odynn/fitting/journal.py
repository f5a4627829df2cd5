"""What several searches, one after the other, keep so that a killed process goes on where it was."""

import logging
from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from odynn.fitting.result import StageResult
from odynn.fitting.search import Keeper

log = logging.getLogger(__name__)


class Journal:
    """Keeps the results of searches that are done, by name, beside the state of the one that runs."""

    def __init__(self, keeper: Keeper):
        self._keeper = keeper
        saved = keeper.load()
        self._done = {name: array for name, array in saved.items() if not name.startswith("running/")}
        self._running = {
            name.partition("/")[2]: array for name, array in saved.items() if name.startswith("running/")
        }
        if saved:
            log.info(
                "going on from a checkpoint: %d searches done",
                len({name.partition("/")[0] for name in self._done}),
            )

    def result(self, name: str) -> StageResult | None:
        """Return the result of what is done under this name."""
        if f"{name}/u" not in self._done:
            return None
        return StageResult(
            **{field.name: self._done[f"{name}/{field.name}"] for field in fields(StageResult)}
        )

    def end(self, name: str, part: StageResult) -> None:
        """Keep the result of what has just ended."""
        self._done |= {f"{name}/{field.name}": getattr(part, field.name) for field in fields(StageResult)}
        self._keeper.save(self._done, now=True)

    def load(self) -> dict[str, np.ndarray]:
        """Return the state of the stage that was running; it serves once."""
        running, self._running = self._running, {}
        return running

    def save(self, arrays: Mapping[str, np.ndarray], now: bool = False) -> None:
        """Save the state of the running stage."""
        self._keeper.save(self._done | {f"running/{name}": array for name, array in arrays.items()}, now)
