"""Free runs of the best starts, scored."""

from collections.abc import Mapping

import numpy as np

from odynn.analysis.scores import score_traces, score_units
from odynn.data import Best, Fit, Target
from odynn.simulation.dynamics import experiment_dynamics
from odynn.simulation.simulator import Simulator


def best_runs(settings: Mapping, target: Target, fit: Fit, threads: int = 1) -> Best:
    """Run the best starts of a ranked fit freely on every sweep.

    Args:
        settings: model, solver, dt, precision, best.
        target: every sweep.
        fit: ranked, best start first.
        threads: cores to use.
    """
    number = min(settings["best"]["number"], len(fit.ids))
    values = {name: column[:number] for name, column in fit.values.items()}
    dynamics = experiment_dynamics(settings, target.clamp)
    states = Simulator(dynamics, threads).traces(values, target.stimulus, target.initial)
    model = dynamics.model
    own = {name: values[name].astype(float) for name in model.parameter_names}
    neuron = model(own, dt=settings["dt"])
    stacked = np.stack([trace.astype(float) for trace in states.values()], axis=1)
    currents = neuron.currents(stacked)
    scores = score_traces(states, target)
    units = {state: model.state_unit(state) for state in states}
    units |= {current: model.current_unit for current in currents}
    units |= score_units(scores, target.units)
    return Best(fit.ids[:number], target.time, states, currents, scores, units, target.sweeps, target.train)
