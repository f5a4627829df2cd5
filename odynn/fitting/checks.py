"""What is wrong with the losses of an experiment, found before any job starts."""

from collections.abc import Iterator, Mapping

from odynn.errors import OdynnError, did_you_mean, listed
from odynn.fitting.losses.combination import entries_of, make_loss
from odynn.fitting.losses.registry import make_term
from odynn.fitting.losses.terms import SweepTerm
from odynn.fitting.schedules import default_loss, default_stages
from odynn.models import load_model
from odynn.models.clamp import clamped
from odynn.models.model import DENSITY, BioNeuron

# Methods that go by derivatives, which a term that is computed per sweep does not have.
_BY_DERIVATIVES = ("levenberg_marquardt", "adam")


def chosen_loss(settings: Mapping) -> dict | list[dict]:
    """Return the loss that an experiment gives, or else the default for its model and target.

    Args:
        settings: model, target and loss; the model is sound.
    """
    if settings["loss"] != "default":
        return settings["loss"]
    synthetic = settings["target"].get("synthetic")
    whole_cell = load_model(settings["model"]).current_unit != DENSITY  # for voltage clamp alone
    if whole_cell or (synthetic and "I" in synthetic["observed"]):
        return {"I": 1.0}
    return default_loss(load_model(settings["model"]).spiking, "file" in settings["target"])


def check_losses(settings: Mapping) -> list[str]:
    """Return what is wrong with the losses of an experiment and of its stages.

    Args:
        settings: a resolved experiment, as ``Config.experiments`` holds it; its model is sound.

    Returns:
        One message a problem, each beginning with the key; empty if all is well.
    """
    model, problems = load_model(settings["model"]), []
    synthetic = settings["target"].get("synthetic")
    if _weighs_current(settings):
        model = clamped(model)
    per_sweep: dict[str, list[str]] = {}
    in_voltage_clamp: set[str] = set()
    losses = {"loss": settings["loss"]}
    stages = settings["fit"]["stages"]
    if stages == "default":
        pool = settings["starts"]["pool"]
        stages = default_stages(model.spiking, "file" in settings["target"], pool)
        if pool > 1 and not any("keep" in stage for stage in stages):
            problems.append(
                "starts.pool: the starts of a pool compete only where a stage keeps some of them. Received: "
                f"{pool}, and the default stages of {model.__name__}, which keep all. Write fit.stages, the "
                f"first with keep: {max(1, pool // 4)}, or no pool."
            )
    for number, stage in enumerate(stages):
        if stage.get("loss") is not None:
            losses[f"fit.stages[{number}].loss"] = stage["loss"]
    for key, loss in losses.items():
        per_sweep[key] = []
        for place, entry in enumerate(entries_of(loss)):
            if not entry.get("weight", 1.0) > 0:
                continue
            try:
                term = make_term(entry)
            except OdynnError as error:
                problems.append(f"{key}[{place}].kind: {str(error).removeprefix('loss: ')}")
                continue
            here = (
                f"{key}.{{}}"
                if isinstance(loss, Mapping)
                else f"{key}[{place}].{'state' if 'state' in entry else 'kind'}"
            )
            problems += _check_states(here, term.states, model, synthetic)
            if "I" in term.states:
                in_voltage_clamp.add(key)
            if isinstance(term, SweepTerm):
                per_sweep[key].append(entry["kind"])
    for number, stage in enumerate(stages):
        key = f"fit.stages[{number}].loss" if stage.get("loss") is not None else "loss"
        if stage["method"] in _BY_DERIVATIVES and per_sweep[key]:
            problems.append(
                f"{key}: {stage['method']} goes by derivatives, which {listed(per_sweep[key])} does not have "
                f"(a number for a whole sweep). Received: stage {number} of fit.stages minimises it. "
                "Give the stage a loss of other terms, or a method that needs no derivatives."
            )
        if key in in_voltage_clamp and stage.get("nudge", 0.0) > 0:
            problems.append(
                f"fit.stages[{number}].nudge: pulls the voltage to its recording, and in voltage clamp the "
                f"voltage is prescribed. Received: {stage['nudge']:g} per ms. Write nudge: 0."
            )
    return problems


def _weighs_current(settings: Mapping) -> bool:
    """Return whether an experiment is in voltage clamp; of a recording, only its loss tells here."""
    if "synthetic" in settings["target"]:
        return "I" in settings["target"]["synthetic"]["observed"]
    return any(entry.get("state") == "I" for entry in entries_of(settings["loss"]))


def fitted_states(settings: Mapping) -> list[str]:
    """Return the states that the loss of an experiment needs; its settings are sound."""
    return list(make_loss(settings["loss"]).states)


def _check_states(
    key: str, states: tuple[str, ...], model: type[BioNeuron], synthetic: Mapping | None
) -> Iterator[str]:
    for state in states:
        if state not in model.states:
            yield (
                f"{key.format(state)}: {model.__name__} has no state '{state}'."
                f"{did_you_mean(state, model.states)} It has: {listed(model.states)}."
            )
        elif synthetic and state not in synthetic["observed"]:
            yield (
                f"{key.format(state)}: the synthetic target does not record '{state}'. Add it to "
                f"target.synthetic.observed, now {listed(synthetic['observed'])}."
            )
