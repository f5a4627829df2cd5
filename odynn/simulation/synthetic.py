"""Synthetic targets: a model with known parameters, simulated and made noisy."""

from collections.abc import Mapping

import numpy as np

from odynn.data import Target, split_sweeps
from odynn.models import load_model
from odynn.models.clamp import ClampedMembrane, model_under
from odynn.models.initial import initial_name
from odynn.models.model import BioNeuron
from odynn.stimuli import stimulus, time_grid


def synthetic_target(
    name: str,
    settings: Mapping,
    dt: float,
    solver: str,
    steady_state: bool,
    fitted: bool = False,
) -> Target:
    """Simulate a ground truth.

    Args:
        name: of the model, as in a config.
        settings: the block ``target.synthetic`` of an experiment.
        dt: time step, ms.
        solver: of a declared model.
        steady_state: whether gates start at their steady state for the model's initial voltage, or in
            voltage clamp for the first of the sweep.
        fitted: whether the truth tells the initial states too.

    Returns:
        The target, with its truth and its noise. Computed in float64 by the numpy path.
    """
    model = model_under(load_model(name), "voltage" if "I" in settings["observed"] else "current")
    clamped = isinstance(model.membrane, ClampedMembrane)
    given = {} if settings["parameters"] == "default" else settings["parameters"]
    truth = {key: float(value) for key, value in {**model.default_params, **given}.items()}
    neuron = model(dict(truth), dt=dt)
    neuron.solver = solver
    initial = None
    stimuli = np.stack([stimulus(pieces, settings["duration"], dt) for pieces in settings["sweeps"]], axis=1)
    if steady_state:
        start = float(np.atleast_1d(model.default_init_state)[model.V_pos])
        initial = stimuli[0].copy() if clamped else np.full(stimuli.shape[1], start)
    states = _calculate(neuron, stimuli, initial)
    units = {parameter: row.unit for parameter, row in model.table().items()}
    if fitted:
        start = dict(zip(model.states, np.atleast_1d(neuron._init_state), strict=True))
        start = {
            state: value for state, value in start.items() if state != "V" and not (clamped and state == "I")
        }
        truth |= {initial_name(state): float(value) for state, value in start.items()}
        units |= {initial_name(state): model.state_unit(state) for state in start}
    units |= {"stimulus": "mV"} if clamped else {}
    observed = {state: states[:, model.states.index(state)] for state in settings["observed"]}
    # One stream of noise a state, so that the noise of one does not depend on that of another.
    for state, deviation in settings["noise"].items():
        place = model.states.index(state)
        generator = np.random.default_rng(np.random.SeedSequence(settings["seed"], spawn_key=(place,)))
        observed[state] = observed[state] + deviation * generator.standard_normal(observed[state].shape)
    numbers = np.arange(stimuli.shape[1])
    train, test = split_sweeps(numbers.tolist(), settings["train"], settings["test"])
    target = Target(
        time=time_grid(settings["duration"], dt),
        stimulus=stimuli,
        observed=observed,
        units={state: model.state_unit(state) for state in observed} | units,
        sweeps=numbers,
        train=np.isin(numbers, train),
        initial=initial,
        truth=truth,
        noise={state: float(value) for state, value in settings["noise"].items()},
        source={"kind": "synthetic", "model": model.__name__},
    )
    return target.select(np.isin(numbers, train + test))


def _calculate(neuron: BioNeuron, stimuli: np.ndarray, initial: np.ndarray | None) -> np.ndarray:
    """Return the states [time, state, sweep], from rest at each sweep's initial voltage if there is one."""
    if initial is None or neuron.membrane is None:
        return neuron.calculate(stimuli)
    runs = []
    for voltage, sweep in zip(initial, stimuli.T, strict=True):
        rest = neuron.membrane.steady_state(np.float64(voltage), neuron._param)
        neuron._init_state = np.array([float(value) for value in rest])
        runs.append(neuron.calculate(sweep))
    return np.stack(runs, axis=2)
