"""Random starts, each from its own stream of random numbers."""

import inspect
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from odynn.data import Parameter, Starts
from odynn.errors import ModelError, did_you_mean
from odynn.models.model import BioNeuron


def draw_starts(
    model: type[BioNeuron], parameters: Mapping[str, Parameter], ids: Sequence[int], seed: int
) -> Starts:
    """Draw the starts of these numbers.

    Start i depends on the seed and on i alone, so that more starts can be added later.

    Args:
        model: the model, whose ``get_random`` is called.
        parameters: the table of the experiment; a parameter whose range or scale differs from the
            model's is drawn anew, one that is not free takes its value.
        ids: numbers of the starts.
        seed: of the experiment.

    Returns:
        The starts, inside the bounds.
    """
    table = model.table()
    drawn = {name: np.empty(len(ids)) for name in parameters}
    for place, start in enumerate(ids):
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(start,)))
        values = _draw(model, generator)
        for name, row in parameters.items():
            share = generator.random()  # taken whether used or not: ranges of others must not matter
            own = (row.start, row.scale) == (table[name].start, table[name].scale)
            value = values[name] if own else _from_range(row, share)
            drawn[name][place] = np.clip(value, *row.bounds)
    return Starts(np.array(ids), drawn, dict(parameters))


def _from_range(row: Parameter, share: float) -> float:
    lower, upper = row.start
    if row.scale == "log":
        return lower * (upper / lower) ** share
    return lower + (upper - lower) * share


def _draw(model: type[BioNeuron], generator: np.random.Generator) -> dict[str, float]:
    """Draw random parameters of a model reproducibly, however its ``get_random`` is written.

    Args:
        model: the model class; its ``get_random`` may take a generator, or draw from the global
            sources as models of the original library do.
        generator: source of randomness.

    Returns:
        Parameter name to value.

    Raises:
        ModelError: if the keys are not those of ``default_params``.
    """
    if inspect.signature(model.get_random).parameters:
        drawn = model.get_random(generator)
    else:
        with _seeded_global_sources(int(generator.integers(2**32))):
            drawn = model.get_random()
    wrong = set(drawn or {}) ^ set(model.default_params)
    if wrong:
        name = sorted(wrong)[0]
        raise ModelError(
            f"{model.__name__}.get_random must return a dict with the keys of default_params. "
            f"Received: '{name}' on one side only.{did_you_mean(name, model.default_params)}"
        )
    return {name: float(drawn[name]) for name in model.default_params}


@contextmanager
def _seeded_global_sources(seed: int) -> Iterator[None]:
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002 - restored below
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
