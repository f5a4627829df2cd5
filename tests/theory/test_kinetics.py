"""The formulas that gates are made of, in value and gradient, on arrays and on tensors."""

import numpy as np
import pytest
import tensorflow as tf

from odynn.models import kinetics

# Both signs, from where 0 / 0 lurks over the seam at 0.1 to where the exponential is all there is.
SIZES = np.concatenate([[0.0], 10.0 ** np.linspace(-300, -16, 12), 10.0 ** np.linspace(-15, 1.4, 200)])
AROUND_THE_SEAM = np.nextafter(0.1, [0.0, 1.0])
X = np.unique(np.concatenate([-SIZES, SIZES, -AROUND_THE_SEAM, AROUND_THE_SEAM]))


def linoid(x):
    """Return x / (1 - exp(-x)) by expm1 in extended precision, and its derivative."""
    x = x.astype(np.longdouble)
    away = np.where(x == 0, 1, x)
    gap = -np.expm1(-away)
    value = np.where(x == 0, 1, away / gap)
    slope = (gap - away * np.exp(-away)) / gap**2
    # Below 1e-3 the difference cancels; the next term of the series is then below 1e-17.
    series = 0.5 + x / 6 - x**3 / 180 + x**5 / 5040
    return value, np.where(np.abs(x) < 1e-3, series, slope)


def gradient(function, x, dtype):
    x = tf.constant(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return y.numpy(), tape.gradient(y, x).numpy()


def test_the_reference_agrees_with_itself_where_its_forms_meet():
    near = np.array([0.9999e-3, 1.0001e-3])
    value, slope = linoid(near)
    assert np.diff(slope)[0] == pytest.approx(np.diff(near)[0] / 6, rel=1e-6)
    assert value[0] == pytest.approx(1 + near[0] / 2 + near[0] ** 2 / 12, rel=1e-15)


def test_linoid_of_arrays():
    found = kinetics.linoid(X)
    np.testing.assert_allclose(found, linoid(X)[0].astype(float), rtol=1e-14)
    assert kinetics.linoid(0.0) == 1.0


@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-14), ("float32", 4e-6)])
def test_linoid_of_tensors(dtype, rounding):
    x = X.astype(dtype)
    value, slope = (part.astype(float) for part in linoid(x))
    found, found_slope = gradient(kinetics.linoid, x, dtype)
    assert found.dtype == found_slope.dtype == dtype
    np.testing.assert_allclose(found, value, rtol=rounding)
    # The derivative loses two digits more on both sides of the seam.
    np.testing.assert_allclose(found_slope, slope, rtol=200 * rounding, atol=1e-30)


@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-14), ("float32", 4e-6)])
def test_linoid_in_a_compiled_program(dtype, rounding):
    # Compilers rewrite quotients and exponentials; the guard must survive that.
    compiled = tf.function(lambda x: gradient_graph(x), jit_compile=True, autograph=False)

    def gradient_graph(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = kinetics.linoid(x)
        return y, tape.gradient(y, x)

    x = X.astype(dtype)
    value, slope = (part.astype(float) for part in linoid(x))
    found, found_slope = compiled(tf.constant(x))
    np.testing.assert_allclose(found.numpy(), value, rtol=rounding)
    np.testing.assert_allclose(found_slope.numpy(), slope, rtol=200 * rounding, atol=1e-30)


def test_linoid_is_smooth_over_its_seam():
    found = kinetics.linoid(np.array([*-AROUND_THE_SEAM, *AROUND_THE_SEAM]))
    assert abs(found[0] - found[1]) < 1e-14
    assert abs(found[2] - found[3]) < 1e-14


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_linoid_far_out(dtype):
    # A voltage can jump while a fit searches; neither end may become not a number.
    x = np.array([-80.0, -30.0, 30.0, 1e4], dtype)
    found, slope = gradient(kinetics.linoid, x, dtype)
    np.testing.assert_allclose(found, [80 * np.exp(-80.0), 30 * np.exp(-30.0), 30.0, 1e4], rtol=1e-5)
    np.testing.assert_allclose(slope[-2:], 1.0, rtol=1e-5)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid(dtype):
    x = np.array([-1e4, -50.0, -1.0, 0.0, 1.0, 50.0, 1e4], dtype)
    wanted = np.array([0, np.exp(-50.0), 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1, 1])
    np.testing.assert_allclose(kinetics.sigmoid(x), wanted, rtol=1e-6 if dtype == "float32" else 1e-15)
    found, slope = gradient(kinetics.sigmoid, x, dtype)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(slope, wanted * (1 - wanted), rtol=1e-5, atol=1e-20)


@pytest.mark.parametrize("exponent", range(1, 9))
def test_power(exponent):
    x = np.array([-1.5, 0.0, 0.3, 2.0])
    np.testing.assert_allclose(kinetics.power(x, exponent), x**exponent, rtol=1e-15)


def test_boltzmann_is_the_original_gate():
    P = {"x__mdp": -20.0, "x__scale": -5.0, "x__tau": 12.0}
    steady, tau = kinetics.boltzmann("x")(np.array([-20.0, -60.0, 20.0]), P)
    np.testing.assert_allclose(steady, [0.5, 1 / (1 + np.exp(-8.0)), 1 / (1 + np.exp(8.0))], rtol=1e-14)
    assert tau == 12.0


def test_rates_are_a_steady_state_and_a_time_constant():
    gate = kinetics.rates(lambda V, P: 3.0, lambda V, P: P["b"], "speed")
    steady, tau = gate(0.0, {"b": 1.0, "speed": 2.0})
    assert (steady, tau) == (0.75, 0.125)
    assert kinetics.rates(lambda V, P: 3.0, lambda V, P: 1.0)(0.0, {}) == (0.75, 0.25)


def test_functions_follow_their_arguments():
    for function in (kinetics.exp, kinetics.sigmoid, kinetics.linoid, lambda x: kinetics.where(x > 0, x, -x)):
        arrays = function(np.array([-0.3, 0.05, 2.0]))
        tensors = function(tf.constant([-0.3, 0.05, 2.0], tf.float64))
        assert isinstance(arrays, np.ndarray)
        assert tf.is_tensor(tensors)
        np.testing.assert_allclose(tensors.numpy(), arrays, rtol=1e-14)
    stacked = kinetics.stack([tf.ones(3), 2.0])
    np.testing.assert_array_equal(stacked.numpy(), [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(kinetics.stack([np.ones(3), 2.0]), stacked.numpy())
