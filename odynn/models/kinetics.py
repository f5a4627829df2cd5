"""Formulas that serve numpy arrays and TensorFlow tensors alike.

A model writes its equations once, with these functions; which library computes them is decided by
the arguments. TensorFlow is imported only when a tensor comes in.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Values = Any  # a number, an ndarray, or a tensor
Kinetics = Callable[[Values, Mapping[str, Values]], tuple[Values, Values]]


def is_tensor(*values: Values) -> bool:
    """Return whether any of the values is a TensorFlow tensor, without importing TensorFlow."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and any(tensorflow.is_tensor(value) for value in values)


def exp(x: Values) -> Values:
    """Exponential, elementwise."""
    if is_tensor(x):
        return sys.modules["tensorflow"].exp(x)
    return np.exp(x)


def log(x: Values) -> Values:
    """Natural logarithm, elementwise."""
    if is_tensor(x):
        return sys.modules["tensorflow"].math.log(x)
    return np.log(x)


def sigmoid(x: Values) -> Values:
    """Logistic function 1 / (1 + exp(-x)), without overflow in value or gradient.

    >>> float(sigmoid(0.0))
    0.5
    """
    if is_tensor(x):
        return sys.modules["tensorflow"].sigmoid(x)
    x = np.asarray(x)
    decayed = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, decayed) / (1.0 + decayed)


def softplus(x: Values) -> Values:
    """log(1 + exp(x)), a soft max(x, 0), without overflow in value or gradient.

    >>> round(float(softplus(0.0)), 6)
    0.693147
    """
    if is_tensor(x):
        return sys.modules["tensorflow"].math.softplus(x)
    return np.logaddexp(0.0, x)


def positive(x: Values) -> Values:
    """Return x where it is positive, else 0."""
    if is_tensor(x):
        return sys.modules["tensorflow"].nn.relu(x)
    return np.maximum(x, 0.0)


def where(condition: Values, yes: Values, no: Values) -> Values:
    """Elementwise choice."""
    if is_tensor(condition, yes, no):
        return sys.modules["tensorflow"].where(condition, yes, no)
    return np.where(condition, yes, no)


def constant(x: Values) -> Values:
    """Return x as something that gradients do not pass through."""
    return sys.modules["tensorflow"].stop_gradient(x) if is_tensor(x) else x


def broadcast(x: Values, like: Values) -> Values:
    """Return x in the shape of another value, of which it does not depend otherwise.

    >>> broadcast(2.0, np.zeros(3)).tolist()
    [2.0, 2.0, 2.0]
    """
    if is_tensor(x, like):
        return sys.modules["tensorflow"].broadcast_to(x, like.shape)
    return np.broadcast_to(x, np.shape(like)) + 0.0


def stack(values: list[Values]) -> Values:
    """Stack values along a new first axis, broadcasting them to one shape."""
    if is_tensor(*values):
        tf = sys.modules["tensorflow"]
        shape = tf.shape(sum(values))
        return tf.stack([tf.broadcast_to(value, shape) for value in values])
    return np.array(np.broadcast_arrays(*values))


def power(x: Values, exponent: int) -> Values:
    """Raise to a small positive whole power by multiplication, several times faster than ``pow``.

    >>> power(3.0, 4)
    81.0
    """
    if exponent == 1:
        return x
    half = power(x, exponent // 2)
    return half * half * x if exponent % 2 else half * half


def linoid(x: Values) -> Values:
    """Return x / (1 - exp(-x)), the voltage dependence of many opening rates, whole at x = 0.

    Near zero a Taylor series takes over (truncation error below 1e-14), so that value and gradient
    are finite and exact there: the quotient is never evaluated where it is 0 / 0.

    >>> float(linoid(0.0))
    1.0
    """
    if not is_tensor(x):
        x = np.asarray(x)
    near = abs(x) < 0.1
    away = where(near, x * 0 + 1.0, x)
    square = x * x
    series = 1.0 + x / 2.0 + square / 12.0 * (1.0 - square / 60.0 * (1.0 - square / 42.0))
    return where(near, series, away / (1.0 - exp(-away)))


def boltzmann(gate: str) -> Kinetics:
    """Kinetics of a gate with a sigmoid steady state and a constant time constant.

    x_inf(V) = 1 / (1 + exp((mdp - V) / scale)), from the parameters ``{gate}__mdp``,
    ``{gate}__scale`` and ``{gate}__tau``. A negative scale closes with depolarisation.
    """

    def kinetics(V, P):
        return sigmoid((V - P[f"{gate}__mdp"]) / P[f"{gate}__scale"]), P[f"{gate}__tau"]

    return kinetics


def rates(opening: Callable, closing: Callable, factor: str | None = None) -> Kinetics:
    """Kinetics of a gate from its opening and closing rates, functions of (V, P) per ms.

    The steady state is a / (a + b) and the time constant 1 / (a + b), divided by the parameter
    ``factor`` (a temperature factor) if one is named.
    """

    def kinetics(V, P):
        alpha, beta = opening(V, P), closing(V, P)
        total = alpha + beta
        speed = total * P[factor] if factor else total
        return alpha / total, 1.0 / speed

    return kinetics
