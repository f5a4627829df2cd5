"""Stepping and simulating: shapes, batches against single runs, arrays against tensors."""

import numpy as np
import pytest
import tensorflow as tf

from odynn.errors import ModelError
from odynn.models.equations import SOLVERS

TIMES, BATCH = 12, 3


@pytest.fixture
def stimulus():
    """Give [time, batch]: every batch its own, none of them symmetric in time."""
    return np.random.default_rng(2).uniform(-1.0, 3.0, (TIMES, BATCH))


def test_step_keeps_the_shape_of_the_state(model, neurons):
    one, several = model(dict(model.default_params)), model(neurons)
    X = np.asarray(model.default_init_state)
    assert np.shape(one.step(X, 1.0)) == X.shape
    batch = np.stack([X] * 7, axis=1)
    assert np.shape(one.step(batch, np.ones(7))) == batch.shape
    assert np.shape(several.step(several.init_state, 2.0)) == several.init_state.shape
    assert np.shape(several.step(several.init_state, np.ones(5))) == several.init_state.shape


def test_step_does_not_change_its_arguments(model, neurons):
    neuron = model(neurons)
    X, i = neuron.init_state.copy(), np.linspace(0, 1, 5)
    neuron.step(X, i)
    np.testing.assert_array_equal(X, neuron.init_state)
    np.testing.assert_array_equal(i, np.linspace(0, 1, 5))
    np.testing.assert_array_equal(X[:, 0], model.default_init_state)


def test_one_stimulus(model, stimulus):
    neuron = model(None)
    states = neuron.calculate(stimulus[:, 0])
    assert isinstance(states, np.ndarray)
    assert states.shape == (TIMES, len(model.default_init_state))
    X = neuron.init_state
    for time in range(TIMES):
        X = neuron.step(X, stimulus[time, 0])
        np.testing.assert_array_equal(states[time], X)
    assert not np.array_equal(states[0], states[-1])
    np.testing.assert_array_equal(neuron.calculate(stimulus[:, 0].tolist()), states)


def test_a_batch_of_stimuli(model, stimulus):
    neuron = model(None)
    states = neuron.calculate(stimulus)
    assert states.shape == (TIMES, len(model.default_init_state), BATCH)
    for place in range(BATCH):
        np.testing.assert_allclose(states[..., place], neuron.calculate(stimulus[:, place]), rtol=1e-13)


def test_several_neurons_under_one_stimulus(model, neurons, stimulus):
    states = model(neurons).calculate(stimulus[:, 0])
    assert states.shape == (TIMES, len(model.default_init_state), 5)
    for place, one in enumerate(neurons):
        np.testing.assert_allclose(states[..., place], model(one).calculate(stimulus[:, 0]), rtol=1e-13)


def test_several_neurons_under_a_batch(model, neurons, stimulus):
    states = model(neurons).calculate(stimulus)
    assert states.shape == (TIMES, len(model.default_init_state), BATCH, 5)
    for place, one in enumerate(neurons):
        np.testing.assert_allclose(states[..., place], model(one).calculate(stimulus), rtol=1e-13)


def test_as_many_stimuli_as_neurons_are_still_a_batch(model, neurons):
    # [time, 5] over 5 neurons must not pair them up.
    stimulus = np.random.default_rng(3).uniform(-1.0, 3.0, (TIMES, 5))
    states = model(neurons).calculate(stimulus)
    assert states.shape == (TIMES, len(model.default_init_state), 5, 5)
    for batch in range(5):
        np.testing.assert_allclose(
            states[:, :, batch, 4], model(neurons[4]).calculate(stimulus[:, batch]), rtol=1e-13
        )


def test_a_stimulus_for_each_neuron(model, neurons):
    stimulus = np.random.default_rng(4).uniform(-1.0, 3.0, (TIMES, BATCH, 5))
    states = model(neurons).calculate(stimulus)
    assert states.shape == (TIMES, len(model.default_init_state), BATCH, 5)
    for place, one in enumerate(neurons):
        np.testing.assert_allclose(states[..., place], model(one).calculate(stimulus[..., place]), rtol=1e-13)


def test_the_same_batch_for_each_neuron_is_the_batch(model, neurons, stimulus):
    neuron = model(neurons)
    repeated = np.repeat(stimulus[..., None], 5, axis=2)
    np.testing.assert_array_equal(neuron.calculate(repeated), neuron.calculate(stimulus))


@pytest.mark.parametrize("shape", [(TIMES, 5, BATCH), (TIMES, BATCH, 1), (TIMES, BATCH, 5, 2)])
def test_a_stimulus_of_another_number_of_neurons_is_refused(model, neurons, shape):
    with pytest.raises(ModelError, match=r"\[time, batch, neuron\].*Received: shape"):
        model(neurons).calculate(np.zeros(shape))


def test_one_batch_and_one_time(model, neurons):
    assert model(None).calculate(np.zeros((1, 1))).shape == (1, len(model.default_init_state), 1)
    assert model(neurons).calculate(np.zeros((1, 1))).shape == (1, len(model.default_init_state), 1, 5)
    assert model(neurons[0]).calculate(np.zeros(1)).shape == (1, len(model.default_init_state))


def test_simulating_twice_gives_the_same(model, neurons, stimulus):
    neuron = model(neurons)
    np.testing.assert_array_equal(neuron.calculate(stimulus), neuron.calculate(stimulus))
    np.testing.assert_array_equal(neuron.init_state[:, 0], model.default_init_state)


def test_dt_matters(model, stimulus):
    coarse, fine = model(None, dt=0.1), model(None, dt=0.05)
    assert not np.allclose(coarse.calculate(stimulus), fine.calculate(stimulus), rtol=1e-6)


@pytest.mark.parametrize("axes", ["time", "batch", "neurons", "batch_neurons"])
def test_tensors_give_what_arrays_give(model, neurons, stimulus, axes):
    given = neurons if "neurons" in axes else neurons[0]
    i = stimulus if "batch" in axes else stimulus[:, 0]
    arrays = model(given, tensors=False).calculate(i)
    tensors = model(given, tensors=True).calculate(i)
    assert isinstance(tensors, np.ndarray)
    assert tensors.shape == arrays.shape
    np.testing.assert_allclose(tensors, arrays, rtol=1e-11, atol=1e-13)


def test_a_step_on_tensors_is_a_tensor(model, neurons):
    neuron = model(neurons, tensors=True)
    found = neuron.step(tf.constant(neuron.init_state), tf.constant(np.linspace(0, 2, 5)))
    assert tf.is_tensor(found)
    assert found.shape == neuron.init_state.shape
    wanted = model(neurons).step(neuron.init_state, np.linspace(0, 2, 5))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-11, atol=1e-13)


def test_a_step_on_tensors_is_differentiable_in_the_parameters(model):
    neuron = model(None, tensors=True)
    variables = {name: tf.constant(float(value), tf.float64) for name, value in neuron._param.items()}
    neuron._param = variables
    X = tf.constant(np.asarray(model.default_init_state, dtype=float))
    with tf.GradientTape() as tape:
        tape.watch(list(variables.values()))
        for _ in range(3):
            X = neuron.step(X, tf.constant(2.0, tf.float64))
        V = X[model.V_pos]
    gradients = tape.gradient(V, list(variables.values()))
    assert len(gradients) == len(model.default_params)
    found = [value for value in gradients if value is not None]
    assert found
    assert all(np.isfinite(value.numpy()) for value in found)
    assert any(value.numpy() != 0 for value in found)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_solver_of_an_instance(declared, solver):
    neuron = declared(None)
    assert neuron.solver == "implicit_euler"
    neuron.solver = solver
    states = neuron.calculate(np.full(20, 2.0))
    assert np.isfinite(states).all()
    other = declared(None)
    other.solver = next(one for one in SOLVERS if one != solver)
    assert not np.allclose(states, other.calculate(np.full(20, 2.0)), rtol=1e-9)


def test_a_state_of_whole_numbers(own):
    # A user may well write np.array([-60, 0]).
    class Whole(own):
        default_init_state = np.asarray(own.default_init_state).round().astype(int)

    found = Whole(None).calculate(np.full(5, 0.5))
    wanted = own(None)
    wanted._init_state = Whole.default_init_state.astype(float)
    np.testing.assert_allclose(found, wanted.calculate(np.full(5, 0.5)), rtol=1e-13)
    np.testing.assert_allclose(Whole(None, tensors=True).calculate(np.full(5, 0.5)), found, rtol=1e-11)


def test_currents_of_a_declared_model_balance_the_voltage(declared):
    # C (V' - V) / dt of a small step is the stimulus less the sum of the currents.
    neuron = declared(None, dt=1e-7)
    X = np.asarray(declared.default_init_state)
    X = X + np.where(np.arange(len(X)) == 0, 20.0, 0.05)
    moved = neuron.step(X, 3.0)
    currents = neuron.currents(X[None])
    assert set(currents) == {f"I_{name}" for name in declared.membrane.currents}
    flow = neuron._param[declared.membrane.capacitance] * (moved[0] - X[0]) / neuron.dt
    assert flow == pytest.approx(3.0 - sum(values[0] for values in currents.values()), rel=1e-4)


def test_currents_have_the_shape_of_the_voltage(declared):
    pair = [dict(declared.default_params)] * 2
    states = declared(pair).calculate(np.zeros((4, 3)))
    currents = declared(pair).currents(states)
    assert currents
    assert {values.shape for values in currents.values()} == {(4, 3, 2)}


def test_a_step_of_ones_own_declares_no_currents(own):
    assert own(None).currents(np.zeros((4, len(own.default_init_state)))) == {}
