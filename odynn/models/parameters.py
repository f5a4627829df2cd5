"""A model's parameter table as an experiment changes it, and the checks that need the model."""

from collections.abc import Mapping

import numpy as np

from odynn.data import Parameter
from odynn.errors import ModelError, OdynnError, did_you_mean, listed
from odynn.models.model import BioNeuron
from odynn.models.registry import load_model

# Voltages that a neuron visits, where its time constants are looked at.
_VOLTAGES = np.linspace(-80.0, 40.0, 121)
# Beyond this many of the shortest time constants no solver here follows the gate at all.
_COARSEST = 5.0


def experiment_parameters(model: type[BioNeuron], changes: Mapping) -> dict[str, Parameter]:
    """Return the table with the changes that a config's ``parameters`` block makes.

    Args:
        model: the model class.
        changes: ``fixed`` {name: value}, ``free`` "all" or names, ``bounds`` and ``ranges``
            {name: [lower, upper]}, all in the units of the table; ``scales`` {name: "linear" or "log"}.

    Returns:
        Every parameter of the model by name, in the order of the table; those that are not free
        have the value they are held at as default and range.

    Raises:
        ModelError: for a name that the model lacks, or bounds that exclude what they must hold.
    """
    table = model.table()
    fixed, free = changes.get("fixed", {}), changes.get("free", "all")
    bounds, ranges, scales = (changes.get(key, {}) for key in ("bounds", "ranges", "scales"))
    named = {
        "fixed": fixed,
        "bounds": bounds,
        "ranges": ranges,
        "scales": scales,
        "free": () if free == "all" else free,
    }
    for key, names in named.items():
        _check_names(f"parameters.{key}", names, model)
    rows = {}
    for name, row in table.items():
        if name in bounds or name in ranges or name in scales:
            lower, upper = map(float, bounds.get(name, row.bounds))
            start = ranges.get(name, _inside(row.start, lower, upper))
            row = row.changed(
                bounds=(lower, upper), start=tuple(map(float, start)), scale=scales.get(name, row.scale)
            )
        is_free = (row.free if free == "all" else name in free) and name not in fixed
        if not is_free:
            value = float(fixed.get(name, row.default))
            if not row.bounds[0] <= value <= row.bounds[1]:
                raise ModelError(
                    f"parameters.fixed.{name}: must lie inside its bounds "
                    f"[{row.bounds[0]:g}, {row.bounds[1]:g}] {row.unit}. Received: {value:g}. "
                    f"Change the value, or widen parameters.bounds.{name}."
                )
            row = row.changed(default=value, start=(value, value), free=False)
        elif not row.free:
            row = row.changed(free=True)
        rows[name] = row
    if not any(row.free for row in rows.values()):
        raise ModelError("parameters: nothing is left to fit, every parameter is fixed. Free at least one.")
    return rows


def _inside(start: tuple[float, float], lower: float, upper: float) -> tuple[float, float]:
    """Return the part of a range within bounds; all of the bounds where they do not meet."""
    first, last = max(start[0], lower), min(start[1], upper)
    return (first, last) if first <= last else (lower, upper)


def _check_names(key: str, names, model: type[BioNeuron]) -> None:
    for name in names:
        if name not in model.parameter_names:
            raise ModelError(
                f"{key}.{name}: {model.__name__} has no parameter '{name}'."
                f"{did_you_mean(name, model.parameter_names)} It has: {listed(model.parameter_names, 40)}."
            )


def check_experiment(settings: Mapping) -> list[str]:
    """Return what is wrong with an experiment as far as its model can tell.

    Args:
        settings: a resolved experiment, as ``Config.experiments`` holds it.

    Returns:
        One message a problem, each beginning with the key; empty if all is well.
    """
    try:
        model = load_model(settings["model"])
        parameters = experiment_parameters(model, settings["parameters"])
    except OdynnError as error:
        return [str(error)]
    problems = []
    synthetic = settings["target"].get("synthetic")
    if synthetic and isinstance(synthetic["parameters"], Mapping):
        try:
            _check_names("target.synthetic.parameters", synthetic["parameters"], model)
        except ModelError as error:
            problems.append(str(error))
    problems += _check_states(model, synthetic) if synthetic else []
    problems += _check_dt(model, parameters, settings["dt"])
    return problems


def _check_states(model: type[BioNeuron], synthetic: Mapping) -> list[str]:
    named = {
        "target.synthetic.observed": synthetic["observed"],
        "target.synthetic.noise": synthetic["noise"],
    }
    problems = [
        f"{key}.{state}: {model.__name__} has no state '{state}'.{did_you_mean(state, model.states)} "
        f"It has: {listed(model.states)}."
        for key, states in named.items()
        for state in states
        if state not in model.states
    ]
    return problems or [
        f"target.synthetic.noise.{state}: the synthetic target does not record '{state}'. Add it to "
        f"target.synthetic.observed, now {listed(synthetic['observed'])}."
        for state in synthetic["noise"]
        if state not in synthetic["observed"]
    ]


def _check_dt(model: type[BioNeuron], parameters: Mapping[str, Parameter], dt: float) -> list[str]:
    if model.membrane is None:
        return []
    values = {name: np.float64(row.default) for name, row in parameters.items()}
    shortest = model.membrane.time_constants(values, _VOLTAGES)
    if not shortest:
        return []
    gate = min(shortest, key=shortest.get)
    if dt <= _COARSEST * shortest[gate]:
        return []
    return [
        f"dt: must be at most {_COARSEST:g} times the shortest time constant of the model, that of gate "
        f"'{gate}', {shortest[gate]:.3g} ms. Received: {dt:g} ms. Use {shortest[gate] / 2:.2g} ms or less to "
        "resolve it."
    ]
