"""What a user's own code or choice breaks inside the compiled computations ends in one odynn error."""

import numpy as np
import pytest

from odynn.data import Target
from odynn.errors import FitError, ModelError
from odynn.fitting.losses import make_loss
from odynn.fitting.problem import Problem
from odynn.models import experiment_parameters, load_model
from odynn.models.model import BioNeuron
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator


class Faulty(BioNeuron):
    default_params = {"a": 1.0}
    default_init_state = np.array([0.0, 1.0])


class NumpyOnly(Faulty):
    def step(self, X, i):
        return np.exp(X)


class OneStateShort(Faulty):
    def step(self, X, i):
        return X[:1]


class Misspelt(Faulty):
    def step(self, X, i):
        return X * self._param["b"]


@pytest.mark.parametrize("model", [NumpyOnly, OneStateShort, Misspelt])
def test_a_faulty_step_names_its_class(model):
    with pytest.raises(ModelError, match=rf"{model.__name__}.step\(X, i\) must return the new state"):
        Simulator(Dynamics(model, 0.1)).traces({"a": np.ones(2)}, np.zeros((4, 1)))


def test_nudging_needs_a_recorded_voltage():
    model, time = load_model("celegans"), np.arange(1.0, 5.0)
    calcium = {"Ca": np.zeros((4, 1))}
    target = Target(time, np.zeros((4, 1)), calcium, {"Ca": "a.u."}, np.arange(1), np.ones(1, bool))
    problem = Problem(Dynamics(model, 1.0), target, make_loss({"Ca": 1.0}), model.table(), 1)
    values = np.array([[value] for value in model.default_params.values()])
    assert np.isfinite(problem.errors(values)[0]).all()
    with pytest.raises(FitError, match="nudge: pulls the voltage to its recording, and the target has no"):
        problem.errors(values, nudge=1.0)


def test_bounds_and_scale_change_together():
    changes = {"bounds": {"g_L": [0, 1]}, "scales": {"g_L": "linear"}}
    row = experiment_parameters(load_model("leaky"), changes)["g_L"]
    assert (row.bounds, row.scale) == ((0.0, 1.0), "linear")
    with pytest.raises(ModelError, match="a log scale needs a positive lower bound"):
        experiment_parameters(load_model("leaky"), {"bounds": {"g_L": [0, 1]}})
