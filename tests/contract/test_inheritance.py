"""Models derived from a model of the library, as users of the original library made theirs."""

import numpy as np

from odynn.fitting.starts import draw_starts
from odynn.models import experiment_parameters
from odynn.models.celegans import CElegansNeuron
from odynn.models.equations import Current, Membrane
from odynn.models.kinetics import stack
from odynn.models.leaky import LeakyIntegrate
from odynn.models.pospischil import Pospischil
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator


class Colder(CElegansNeuron):
    """Other defaults, nothing else."""

    default_params = {**CElegansNeuron.default_params, "E_K": -80.0}


class Buffered(CElegansNeuron):
    """One more state and one more parameter, and a step of its own."""

    default_params = {**CElegansNeuron.default_params, "k_b": 0.05}
    default_init_state = np.append(CElegansNeuron.default_init_state, 0.5)

    def step(self, X, i):
        state = self.membrane.advance(tuple(X[place] for place in range(7)), i, self._param, self.dt)
        return stack([*state, X[7] + self.dt * self._param["k_b"] * (state[6] - X[7])])


class FastSpiking(Pospischil):
    """A table with another default, which moves the steady state that simulations start from."""

    parameters = tuple(
        row.changed(default=-56.2) if row.name == "V_T" else row for row in Pospischil.parameters
    )


class Punctured(LeakyIntegrate):
    """A declaration extended: a second leak."""

    parameters = (
        *LeakyIntegrate.parameters,
        *(row.changed(name=f"{row.name}2") for row in LeakyIntegrate.parameters[1:]),
    )
    membrane = Membrane(currents={"L": Current("g_L", "E_L"), "P": Current("g_L2", "E_L2")})


def test_the_parent_is_left_alone():
    assert CElegansNeuron.default_params["E_K"] == -60.0
    assert len(CElegansNeuron.table()) == 28
    assert Pospischil.default_params["V_T"] == -61.5


def test_instances_take_the_defaults_of_their_class():
    assert Colder()._param["E_K"] == -80.0
    assert FastSpiking()._param["V_T"] == -56.2
    assert Buffered()._param["k_b"] == 0.05


def test_an_extended_declaration():
    assert Punctured.parameter_names == ["C_m", "g_L", "E_L", "g_L2", "E_L2"]
    found = Punctured(dt=0.1).calculate(np.full(30, 1.0))
    # Two equal leaks are one of twice the conductance.
    alone = LeakyIntegrate({"C_m": 1.0, "g_L": 0.2, "E_L": -60.0}, dt=0.1).calculate(np.full(30, 1.0))
    np.testing.assert_allclose(found, alone, rtol=1e-13)
    assert set(Punctured().currents(found)) == {"I_L", "I_P"}


def test_the_table_has_the_defaults_of_its_class():
    assert Colder.table()["E_K"].default == -80.0
    assert experiment_parameters(Colder, {"free": ["g_L"]})["E_K"].default == -80.0
    np.testing.assert_array_equal(
        draw_starts(Colder, experiment_parameters(Colder, {"free": ["g_L"]}), [0], 0).values["E_K"], [-80.0]
    )


def test_defaults_assigned_after_the_class_body_reach_the_table():
    class Later(LeakyIntegrate):
        pass

    Later.default_params = {**LeakyIntegrate.default_params, "E_L": -70.0}
    assert Later.table()["E_L"].default == Later()._param["E_L"] == -70.0


def test_a_table_with_other_defaults_starts_from_their_steady_state():
    rest = FastSpiking.membrane.steady_state(-70.0, FastSpiking.default_params)
    np.testing.assert_allclose(FastSpiking.default_init_state, rest, rtol=1e-12)


def test_more_states_and_a_step_of_its_own():
    assert len(Buffered.states) == 8
    assert list(Buffered.table()) == list(Buffered.default_params)
    given = {name: np.array([value]) for name, value in Buffered.default_params.items()}
    stimulus = np.full((20, 1), 10.0)
    traces = Simulator(Dynamics(Buffered, 0.5, precision="float64")).traces(given, stimulus)
    wanted = Buffered(dt=0.5).calculate(stimulus[:, 0])
    for place, state in enumerate(Buffered.states):
        np.testing.assert_allclose(traces[state][:, 0, 0], wanted[:, place], rtol=1e-10)
