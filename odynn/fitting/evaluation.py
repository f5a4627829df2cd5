"""From the settings of an experiment, its target and its starts to simulated and fitted starts."""

from collections.abc import Mapping

import numpy as np

from odynn.data import Fit, Simulated, Starts, Status, Target
from odynn.fitting.losses import make_loss
from odynn.fitting.problem import Problem
from odynn.fitting.schedules import default_stages
from odynn.fitting.search import Keeper
from odynn.fitting.staged import fit_stages
from odynn.models import load_model
from odynn.models.clamp import model_under
from odynn.simulation.dynamics import experiment_dynamics


def experiment_problem(settings: Mapping, target: Target, starts: Starts, threads: int = 1) -> Problem:
    """Return the problem of fitting these starts to this target.

    Args:
        settings: model, solver, dt, precision, loss.
        target: the sweeps to fit.
        starts: gives the table of parameters, and how many are to come.
        threads: cores to use.
    """
    loss = make_loss(settings["loss"])
    dynamics = experiment_dynamics(settings, target.clamp)
    return Problem(dynamics, target, loss, starts.parameters, len(starts.ids), threads)


def simulated_starts(problem: Problem, starts: Starts, target: Target) -> Simulated:
    """Return the loss of every start before the fit, by the free run."""
    loss, squares = problem.errors(_columns(starts))
    finite = np.isfinite(loss)
    return Simulated(
        starts.ids,
        loss,
        dict(zip(problem.observed_states, np.sqrt(squares), strict=True)),
        np.where(finite, Status.NOT_FITTED, Status.DIVERGED).astype(np.int8),
        _units(problem, target),
    )


def fitted_starts(
    settings: Mapping,
    target: Target,
    starts: Starts,
    before: Simulated,
    threads: int = 1,
    keeper: Keeper | None = None,
) -> Fit:
    """Fit starts by the stages of an experiment, and score them by the free run.

    Args:
        settings: model, solver, dt, precision, loss, fit, and the seed and the pool of the starts.
        target: all sweeps; the training sweeps are fitted, the others only scored.
        starts: the starts to fit.
        before: the forward pass of at least these starts.
        threads: cores to use.
        keeper: of the state of the fit while it runs.
    """
    problem = experiment_problem(settings, target.select(target.train), starts, threads)
    place = {int(start): where for where, start in enumerate(before.ids)}
    start_loss = before.loss[[place[int(start)] for start in starts.ids]]
    stages = settings["fit"]["stages"]
    if stages == "default":
        model = model_under(load_model(settings["model"]), target.clamp)
        stages = default_stages(model.spiking, target.truth is None, settings["starts"]["pool"])
    base = _columns(starts)
    result = fit_stages(
        problem, problem.points(base), base, start_loss, stages, keeper, ids=starts.ids, **_choice(settings)
    )
    # A start that no stage improved keeps its own values, not what the way there and back made of them.
    improved = result.loss < np.where(np.isfinite(start_loss), start_loss, np.inf)
    values = np.where(improved, problem.values(result.u, base), base)
    found = dict(zip(starts.values, values, strict=True))
    parts, train = problem.evaluate(values)
    test = {}
    if not target.train.all():
        held_out = experiment_problem(settings, target.select(~target.train), starts, threads)
        test = dict(zip(held_out.observed_states, np.sqrt(held_out.errors(values)[1]), strict=True))
    return Fit(
        ids=starts.ids,
        parameters=starts.parameters,
        start_values=starts.values,
        values=found,
        start_loss=start_loss,
        loss=np.where(np.isfinite(result.loss), result.loss, np.nan),
        loss_parts=dict(zip((one.name for one in problem.loss.terms), parts, strict=True)),
        rmse_train=dict(zip(problem.observed_states, np.sqrt(train), strict=True)),
        rmse_test=test,
        status=result.status,
        cause=result.cause,
        iterations=result.iterations,
        history=result.history,
        stage=result.stage,
        units=_units(problem, target),
    )


def _choice(settings: Mapping) -> dict:
    """Return what says which starts are fitted, and their random numbers, as far as the settings have it."""
    found = {**settings.get("starts", {}), **settings["fit"]}
    return {key: found[key] for key in ("seed", "pool", "hopeless") if key in found}


def _columns(starts: Starts) -> np.ndarray:
    return np.array(list(starts.values.values()))


def _units(problem: Problem, target: Target) -> dict[str, str]:
    """Return the units of the observed states and of the loss."""
    units = {state: target.units[state] for state in target.observed}
    return {**units, "loss": problem.loss.unit(units)}
