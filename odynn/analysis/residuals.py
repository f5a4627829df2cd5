"""The residuals of a loss over time, at some parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from odynn.data import Target
from odynn.fitting.losses import Loss
from odynn.fitting.losses.weighting import weighted_channels


@dataclass(frozen=True)
class Residuals:
    """Residuals that a loss sums the squares of.

    Attributes:
        series: one [time, sweep, start] for each residual of each term, as the loss weighs it.
        number: how many of them count.
        scale: what squared residuals of the only term are multiplied with on average; 1 if there are
            several.
    """

    series: list[np.ndarray]
    number: int
    scale: float


def residuals_of(loss: Loss, traces: Mapping[str, np.ndarray], target: Target) -> Residuals:
    """Return the residuals of the elementwise terms of a loss.

    The running variables of a term begin at its first sample rather than a step before, which is of no
    weight where only correlations are asked for.

    Args:
        loss: the loss.
        traces: every state name to [time, sweep, start].
        target: the sweeps that were simulated.
    """
    series, number, scales = [], 0, []
    for one in loss.elementwise:
        found = weighted_channels(one.term, target)
        channels = {name: np.asarray(array)[..., None] for name, array in found.items()}
        memory = one.term.memory({state: trace[0] for state, trace in traces.items()})
        counts = np.asarray(channels.get("weight", np.ones((*target.stimulus.shape, 1))))
        steps = []
        for t in range(len(target.time)):
            simulated = {state: trace[t] for state, trace in traces.items()}
            now = {name: array[t] for name, array in channels.items()}
            memory, found = one.term.residuals(simulated, memory, now)
            steps.append([np.asarray(residual, dtype=float) for residual in found])
        shape = next(iter(traces.values())).shape
        for column in zip(*steps, strict=True):
            every = np.stack([np.broadcast_to(step, shape[1:]) for step in column])
            series.append(every * counts * one.weight**0.5)
            number += int((counts > 0).sum())
        scales.append(one.weight * float(np.mean(counts[counts > 0] ** 2)))
    return Residuals(series, number, scales[0] if len(scales) == 1 else 1.0)
