"""What several of these tests build: a target made of a simulation, and the problem of fitting it."""

from pathlib import Path

import numpy as np
import pytest

from odynn.data import Target
from odynn.fitting.losses import Loss, make_loss
from odynn.fitting.problem import Problem
from odynn.models import load_model
from odynn.simulation.dynamics import Dynamics

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def load():
    """Load a model by name; Class alone means one of the template or of the contract's user models."""

    def load(name):
        if not name[0].isupper():
            return load_model(name)
        own = name in {"MorrisLecar", "ResonantMembrane"}
        file = ROOT / ("odynn/models/template.py" if own else "tests/contract/user_models.py")
        return load_model(f"{file}:{name}")

    return load


@pytest.fixture(scope="session")
def make_target():
    """Return a target of given sweeps: the numpy run of a model, away from where fits begin."""

    def make_target(model, dt, stimulus, states=("V",), initial=None, solver="implicit_euler", scale=1.1):
        # Conductances and time constants a tenth up: the truth is then none of the starts.
        truth = {
            name: value * (scale if name.startswith(("g_", "C_m")) else 1.0)
            for name, value in model.default_params.items()
        }
        neuron = model(truth, dt=dt)
        neuron.solver = solver
        if initial is not None:
            rest = [model.membrane.steady_state(np.float64(V), truth) for V in initial]
            columns = [np.array(one) for one in rest]  # a state for each sweep
            runs = []
            for place, column in enumerate(columns):
                neuron._init_state = column
                runs.append(neuron.calculate(stimulus[:, place]))
            traces = np.stack(runs, axis=2)
        else:
            traces = neuron.calculate(stimulus)
        sweeps = np.arange(stimulus.shape[1])
        return Target(
            time=np.arange(1, len(stimulus) + 1) * dt,
            stimulus=stimulus,
            observed={state: traces[:, model.states.index(state)] for state in states},
            units={state: model.state_unit(state) for state in states},
            sweeps=sweeps,
            train=np.ones(len(sweeps), dtype=bool),
            initial=None if initial is None else np.asarray(initial, dtype=float),
            truth=truth,
        )

    return make_target


@pytest.fixture(scope="session")
def make_problem():
    """Return a problem, with some parameters held fixed."""

    def make_problem(
        model,
        target,
        loss,
        *,
        solver="implicit_euler",
        precision="float64",
        fixed=(),
        starts=16,
        threads=1,
    ):
        table = {
            name: row.changed(free=row.free and name not in fixed) for name, row in model.table().items()
        }
        dynamics = Dynamics(model, target.dt, solver, precision)
        loss = loss if isinstance(loss, Loss) else make_loss(loss)
        return Problem(dynamics, target, loss, table, starts, threads)

    return make_problem


@pytest.fixture(scope="session")
def columns():
    """Return parameters near the defaults, [parameter, start], every start its own."""

    def columns(model, number, seed=0, spread=0.1):
        generator = np.random.default_rng(seed)
        values = np.array(list(model.default_params.values()), dtype=float)[:, None]
        values = values * generator.uniform(1 - spread, 1 + spread, (len(values), number))
        bounds = np.array([row.bounds for row in model.table().values()])
        return np.clip(values, bounds[:, :1], bounds[:, 1:])

    return columns
