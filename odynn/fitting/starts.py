"""Random starts, each from its own stream of random numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

from odynn.data import Parameter, Starts
from odynn.models.model import BioNeuron, draw


def draw_starts(
    model: type[BioNeuron], parameters: Mapping[str, Parameter], ids: Sequence[int], seed: int
) -> Starts:
    """Draw the starts of these numbers.

    Start i depends on the seed and on i alone, so that more starts can be added later.

    Args:
        model: the model, whose ``get_random`` is called.
        parameters: the table of the experiment; a parameter whose range differs from the model's is
            drawn anew from that range, one that is not free takes its value.
        ids: numbers of the starts.
        seed: of the experiment.

    Returns:
        The starts, inside the bounds.
    """
    table = model.table()
    drawn = {name: np.empty(len(ids)) for name in parameters}
    for place, start in enumerate(ids):
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(start,)))
        values = draw(model, generator)
        for name, row in parameters.items():
            share = generator.random()  # taken whether used or not: ranges of others must not matter
            value = values[name] if row.start == table[name].start else _from_range(row, share)
            drawn[name][place] = np.clip(value, *row.bounds)
    return Starts(np.array(ids), drawn, dict(parameters))


def _from_range(row: Parameter, share: float) -> float:
    lower, upper = row.start
    if row.scale == "log":
        return lower * (upper / lower) ** share
    return lower + (upper - lower) * share
