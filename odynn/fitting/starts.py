"""The starting points of a fit: random ones, each from its own stream, and designs that fill the ranges."""

import inspect
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from odynn.data import Parameter, Starts
from odynn.errors import ModelError, did_you_mean
from odynn.models.initial import resting_values
from odynn.models.model import BioNeuron

DESIGNS = ("random", "latin_hypercube", "sobol", "uniform")


def draw_starts(
    model: type[BioNeuron],
    parameters: Mapping[str, Parameter],
    ids: Sequence[int],
    seed: int,
    design: str = "random",
    number: int | None = None,
) -> Starts:
    """Draw the starts of these numbers.

    Start i depends on the seed and on i alone, so that more starts can be added later; of a Latin
    hypercube it depends on the number of starts too.

    Args:
        model: the model, whose ``get_random`` is called for the design "random" alone.
        parameters: the table of the experiment. With the design "random", a parameter whose range or
            scale differs from the model's is drawn from its range. One that is not free takes its
            value, one of a group that of its leader. An initial value is that of the neuron at rest
            unless its range is narrower than its bounds.
        ids: numbers of the starts.
        seed: of the experiment.
        design: one of ``DESIGNS``; all but "random" draw every free parameter from its range, on its
            scale.
        number: of all starts, for a Latin hypercube.

    Returns:
        The starts, inside the bounds.
    """
    table = model.table()
    resting = {name for name, row in parameters.items() if name not in table and row.start == row.bounds}
    free = [name for name, row in parameters.items() if row.free and name not in resting]
    points = _points(design, len(free), ids, seed, number)
    leaders = {name: row.follows for name, row in parameters.items() if row.follows}
    drawn = {name: np.empty(len(ids)) for name in parameters}
    for place, start in enumerate(ids):
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(start,)))
        own = _draw(model, generator) if design == "random" else {}
        # One number each, whether used or not: ranges of others must not matter.
        shares = {name: generator.random() for name in parameters}
        if points is not None:
            shares |= dict(zip(free, points[place].tolist(), strict=True))
        values = {}
        for name, row in parameters.items():
            usual = name in own and (row.start, row.scale) == (table[name].start, table[name].scale)
            value = own[name] if usual else _from_range(row, shares[name])
            values[name] = float(np.clip(value, *row.bounds))
        values |= {name: values[leader] for name, leader in leaders.items()}
        if resting:
            values |= _at_rest(model, parameters, values, resting)
            values |= {name: values[leader] for name, leader in leaders.items()}
        for name, value in values.items():
            drawn[name][place] = value
    return Starts(np.array(ids), drawn, dict(parameters))


def _points(
    design: str, dimensions: int, ids: Sequence[int], seed: int, number: int | None
) -> np.ndarray | None:
    """Return points of the unit cube, [start, dimension], or None for a design that has none."""
    if design not in ("latin_hypercube", "sobol") or not dimensions or not len(ids):
        return None
    from scipy.stats import qmc  # slow to import

    generator = np.random.default_rng(np.random.SeedSequence(seed))
    places = np.asarray(ids)
    if design == "latin_hypercube":
        return qmc.LatinHypercube(dimensions, seed=generator).random(number)[places]
    engine = qmc.Sobol(dimensions, seed=generator)
    # The first point by itself: scipy warns of any number of first points that is no power of 2.
    points = [engine.random(1)]
    first, last = int(places.min()), int(places.max())
    if first > 1:
        engine.fast_forward(first - 1)
    if last > 0:
        points.append(engine.random(last - max(first, 1) + 1))
    found = np.concatenate(points)
    return found[np.where(places == 0, 0, places - max(first, 1) + 1)]


def _at_rest(
    model: type[BioNeuron],
    parameters: Mapping[str, Parameter],
    values: Mapping[str, float],
    names: Collection[str],
) -> dict[str, float]:
    rest = resting_values(model, {name: np.float64(value) for name, value in values.items()})
    return {name: float(np.clip(rest[name], *parameters[name].bounds)) for name in names}


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
