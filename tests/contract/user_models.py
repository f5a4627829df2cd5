"""Models as users write them, loaded from this file by path as a config would."""

import random

import numpy as np
import tensorflow as tf

from odynn.models.kinetics import exp, stack
from odynn.models.model import BioNeuron


class Bare(BioNeuron):
    """The least that there is: default_params, default_init_state and step."""

    default_params = {"C_m": 2.0, "g_L": 0.2, "E_L": -65.0, "g_r": 0.3, "r__mdp": -50.0, "r__scale": 8.0}
    default_init_state = np.array([-65.0, 0.1])

    def step(self, X, i):
        P = self._param
        V, r = X[0], X[1]
        conductance = P["g_L"] + P["g_r"] * r
        V = (V * P["C_m"] / self.dt + i + conductance * P["E_L"]) / (P["C_m"] / self.dt + conductance)
        steady = 1.0 / (1.0 + exp((P["r__mdp"] - V) / P["r__scale"]))
        return stack([V, r + (steady - r) * (1.0 - np.exp(-self.dt / 20.0))])


class Original(BioNeuron):
    """As models of the original library are written, calcium last and counted from the end."""

    default_params = {
        "C_m": 1.0,
        "g_L": 0.1,
        "E_L": -60.0,
        "g_Ca": 0.05,
        "E_Ca": 40.0,
        "a__mdp": -40.0,
        "a__scale": 10.0,
        "a__tau": 5.0,
        "decay": 50.0,
    }
    default_init_state = np.array([-60.0, 0.0, 1e-3])
    _ions = {"Ca": -1}
    _constraints_dic = {
        "C_m": [0.5, 40.0],
        "g_L": [1e-9, 10.0],
        "g_Ca": [1e-9, 10.0],
        "a__scale": [1.0, 200.0],
        "a__tau": [1.0, np.inf],
    }

    def __init__(self, init_p, tensors=False, dt=0.1):
        BioNeuron.__init__(self, init_p=init_p, tensors=tensors, dt=dt)

    def _i_Ca(self, a, V):
        return self._param["g_Ca"] * a**2 * (self._param["E_Ca"] - V)

    def step(self, X, i_inj):
        V = X[self.V_pos]
        a = X[1]
        ca = X[-1]
        leak = self._param["g_L"] * (self._param["E_L"] - V)
        V = V + self.dt * (i_inj + leak + self._i_Ca(a, V)) / self._param["C_m"]
        a = self._update_gate(a, "a", V)
        ca = ca + self.dt * (0.01 * self._i_Ca(a, V) - ca / self._param["decay"])
        if self._tensors:
            return tf.stack([V, a, ca], 0)
        else:
            return np.array([V, a, ca])

    @staticmethod
    def get_random():
        return {
            "C_m": random.uniform(0.5, 40.0),
            "g_L": random.uniform(1e-5, 10.0),
            "E_L": random.uniform(-70.0, -45.0),
            "g_Ca": random.uniform(1e-5, 0.3),
            "E_Ca": random.uniform(20.0, 60.0),
            "a__mdp": random.uniform(-50.0, 0.0),
            "a__scale": np.random.uniform(1.0, 50.0),  # noqa: NPY002 - as the original library does
            "a__tau": np.random.uniform(1.0, 40.0),  # noqa: NPY002
            "decay": random.uniform(10.0, 100.0),
        }


class AssignedLater(BioNeuron):
    """Its parameters and its initial state are assigned after the class body."""

    def step(self, X, i):
        rate = self._param["rate"]
        return stack([X[0] + self.dt * (i - rate * X[0])])


AssignedLater.default_params = {"rate": 0.5}
AssignedLater.default_init_state = np.array([1.0])


class Fragile(BioNeuron):
    """Not a number for a negative leak, and unbounded for a large ``kick``: what must harm no neighbour."""

    default_params = {"g_L": 0.1, "E_L": -60.0, "kick": 4.0}
    default_init_state = np.array([-60.0])
    _constraints_dic = {"g_L": [-1.0, 1.0], "kick": [0.1, 2000.0]}

    def step(self, X, i):
        P = self._param
        # ** 0.5 of a negative number is not one, in numpy and in TensorFlow.
        return stack([X[0] + self.dt * P["kick"] * (i - P["g_L"] ** 0.5 * (X[0] - P["E_L"]))])
