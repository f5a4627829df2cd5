"""A model's parameter table as an experiment changes it, and the checks that need the model."""

from collections.abc import Mapping, Sequence

import numpy as np

from odynn.data import Parameter
from odynn.errors import ModelError, OdynnError, did_you_mean, listed
from odynn.models.clamp import clamped
from odynn.models.initial import initial_rows
from odynn.models.model import DENSITY, BioNeuron
from odynn.models.registry import load_model

# Voltages that a neuron visits, where its time constants are looked at.
_VOLTAGES = np.linspace(-80.0, 40.0, 121)
# Beyond this many of the shortest time constants no solver here follows the gate at all.
_COARSEST = 5.0


def experiment_parameters(
    model: type[BioNeuron], changes: Mapping, initial_state: str = "auto"
) -> dict[str, Parameter]:
    """Return the table with the changes that a config's ``parameters`` block makes.

    Args:
        model: the model class.
        changes: ``fixed`` {name: value}, ``free`` "all" or names, ``bounds`` and ``ranges``
            {name: [lower, upper]}, all in the units of the table; ``scales`` {name: "linear" or "log"};
            ``shared`` {group: names}, the first of them being the leader.
        initial_state: "fitted" adds the initial value of every state but the voltage.

    Returns:
        Every parameter of the model by name, in the order of the table, and initial values after
        them. Those that are held have their value as default and range; those that follow a leader
        have its default, bounds, range and scale.

    Raises:
        ModelError: for a name that the model lacks, or bounds that exclude what they must hold.
    """
    fixed, free = changes.get("fixed", {}), changes.get("free", "all")
    bounds, ranges, scales = (changes.get(key, {}) for key in ("bounds", "ranges", "scales"))
    shared = changes.get("shared", {})
    table = model.table()
    if initial_state == "fitted":
        table |= initial_rows(model, bounds)
    named = {
        "fixed": fixed,
        "bounds": bounds,
        "ranges": ranges,
        "scales": scales,
        "free": () if free == "all" else free,
        **{f"shared.{group}": names for group, names in shared.items()},
    }
    for key, names in named.items():
        _check_names(f"parameters.{key}", names, model, table)
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
    for group, (leader, *followers) in shared.items():
        for name in followers:
            _check_shared(f"parameters.shared.{group}", rows[leader], rows[name])
            rows[name] = rows[leader].changed(
                name=name, meaning=rows[name].meaning, free=False, follows=leader
            )
    if not any(row.free for row in rows.values()):
        raise ModelError("parameters: nothing is left to fit, every parameter is fixed. Free at least one.")
    return rows


def _inside(start: tuple[float, float], lower: float, upper: float) -> tuple[float, float]:
    """Return the part of a range within bounds; all of the bounds where they do not meet."""
    first, last = max(start[0], lower), min(start[1], upper)
    return (first, last) if first <= last else (lower, upper)


def _check_shared(key: str, leader: Parameter, follower: Parameter) -> None:
    if not leader.free:
        raise ModelError(
            f"{key}: the first parameter of a group must be fitted, it stands for all of them. "
            f"Received: '{leader.name}', which is held at {leader.default:g} {leader.unit}. Free it with "
            "parameters.free, or hold each parameter of the group by itself."
        )
    if leader.unit != follower.unit:
        raise ModelError(
            f"{key}: parameters that share a value must have one unit. Received: '{leader.name}' in "
            f"{leader.unit} and '{follower.name}' in {follower.unit}. Remove one of them."
        )
    lower = max(leader.bounds[0], follower.bounds[0])
    if lower > min(leader.bounds[1], follower.bounds[1]):
        raise ModelError(
            f"{key}: parameters that share a value must have bounds that overlap. Received: "
            f"'{leader.name}' within [{leader.bounds[0]:g}, {leader.bounds[1]:g}] and "
            f"'{follower.name}' within [{follower.bounds[0]:g}, {follower.bounds[1]:g}] {leader.unit}. "
            f"Change parameters.bounds.{leader.name}, or remove one of them from the group."
        )


def _check_names(key: str, names, model: type[BioNeuron], known) -> None:
    for name in names:
        if name not in known:
            place = key if key.startswith("parameters.shared.") else f"{key}.{name}"
            raise ModelError(
                f"{place}: {model.__name__} has no parameter '{name}'."
                f"{did_you_mean(name, known)} It has: {listed(known, 40)}."
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
        parameters = experiment_parameters(model, settings["parameters"], settings["initial_state"])
    except OdynnError as error:
        return [str(error)]
    problems = []
    synthetic = settings["target"].get("synthetic")
    if synthetic and isinstance(synthetic["parameters"], Mapping):
        try:
            _check_names("target.synthetic.parameters", synthetic["parameters"], model, model.parameter_names)
        except ModelError as error:
            problems.append(str(error))
    problems += _check_profiles(model, parameters, settings["uncertainty"]["profiles"])
    problems += _check_states(model, synthetic) if synthetic else []
    problems += _check_dt(model, parameters, settings["dt"])
    if settings["starts"]["regression"]:
        problems += _check_regression(model, parameters, synthetic)
    return problems


def _check_profiles(
    model: type[BioNeuron], parameters: Mapping[str, Parameter], profiles: Sequence[str]
) -> list[str]:
    try:
        _check_names("uncertainty.profiles", profiles, model, parameters)
    except ModelError as error:
        return [str(error)]
    return [
        f"uncertainty.profiles.{name}: only a free parameter has a profile. Received: '{name}', which "
        + (
            f"shares the value of '{parameters[name].follows}'. Name that one."
            if parameters[name].follows
            else f"is held at {parameters[name].default:g} {parameters[name].unit}. "
            "Free it, or leave it out here."
        )
        for name in profiles
        if not parameters[name].free
    ]


def _check_states(model: type[BioNeuron], synthetic: Mapping) -> list[str]:
    if "I" in synthetic["observed"]:
        try:
            model = clamped(model)
        except ModelError as error:
            return [str(error)]
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
    if not problems and "I" not in synthetic["observed"] and model.current_unit != DENSITY:
        return [
            f"target.synthetic.observed: {model.__name__} is of a current in {model.current_unit}, in "
            f"voltage clamp. Received: {listed(synthetic['observed'])}. Write observed: [I], and the command "
            "in mV as the stimulus."
        ]
    return problems or [
        f"target.synthetic.noise.{state}: the synthetic target does not record '{state}'. Add it to "
        f"target.synthetic.observed, now {listed(synthetic['observed'])}."
        for state in synthetic["noise"]
        if state not in synthetic["observed"]
    ]


def _check_regression(
    model: type[BioNeuron], parameters: Mapping[str, Parameter], synthetic: Mapping | None
) -> list[str]:
    if model.membrane is None or model.step is not BioNeuron.step:
        return [
            "starts.regression: needs a model that declares its currents, `membrane = Membrane(...)`. "
            f"Received: {model.__name__}, which computes its own step. Set it to false."
        ]
    conductances = [current.conductance for current in model.membrane.currents.values()]
    if not any(parameters[parameters[name].follows or name].free for name in conductances):
        return [
            "starts.regression: finds conductances, and none is fitted. "
            f"{model.__name__} has: {listed(dict.fromkeys(conductances))}. Free one, or set it to false."
        ]
    if synthetic and "V" not in synthetic["observed"]:
        return [
            "starts.regression: needs the voltage, and the synthetic target records "
            f"{listed(synthetic['observed'])}. Add V to target.synthetic.observed, or set it to false."
        ]
    return []


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
