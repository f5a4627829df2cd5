"""Each solver converges to the equations of its model, with the order that it promises.

The equations are written out here once more, from the papers and in their own form, and solved by
SciPy's LSODA to ten digits: a mistake in a model's declaration, or a dt forgotten in an update, shows
as a solution that does not converge to these, whatever the step.
"""

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from odynn.models import load_model

TEMPLATE = Path(__file__).parents[2] / "odynn" / "models" / "template.py"
exp = np.exp


def relaxation(gate, x, V, P):
    steady = 1.0 / (1.0 + exp((P[f"{gate}__mdp"] - V) / P[f"{gate}__scale"]))
    return (steady - x) / P[f"{gate}__tau"]


def leaky(t, y, I, P):
    return [(I - P["g_L"] * (y[0] - P["E_L"])) / P["C_m"]]


def hodghuxsimple(t, y, I, P):
    V, a, b = y
    flow = P["g_L"] * (V - P["E_L"]) + P["g_K"] * a**3 * b * (V - P["E_K"])
    return [(I - flow) / P["C_m"], relaxation("a", a, V, P), relaxation("b", b, V, P)]


def celegans(t, y, I, P):
    V, p, q, n, e, f, Ca = y
    h = 1.0 + (1.0 / (1.0 + exp((P["h__mdp"] - Ca) / P["h__scale"])) - 1.0) * P["h__alpha"]
    calcium = P["g_Ca"] * e**2 * f * h * (V - P["E_Ca"])
    potassium = (P["g_Kf"] * p**4 * q + P["g_Ks"] * n) * (V - P["E_K"])
    dV = (I - calcium - potassium - P["g_L"] * (V - P["E_L"])) / P["C_m"]
    gates = [relaxation(gate, x, V, P) for gate, x in zip("pqnef", y[1:6], strict=True)]
    return [dV, *gates, -P["rho_ca"] * calcium - Ca / P["decay_ca"]]


def hodgkinhuxley(t, y, I, P):
    V, m, h, n = y
    sodium = P["g_Na"] * m**3 * h * (V - P["E_Na"])
    potassium = P["g_K"] * n**4 * (V - P["E_K"])
    return [
        (I - sodium - potassium - P["g_L"] * (V - P["E_L"])) / P["C_m"],
        P["q10"] * (0.1 * (V + 40) / (1 - exp(-(V + 40) / 10)) * (1 - m) - 4 * exp(-(V + 65) / 18) * m),
        P["q10"] * (0.07 * exp(-(V + 65) / 20) * (1 - h) - h / (1 + exp(-(V + 35) / 10))),
        P["q10"] * (0.01 * (V + 55) / (1 - exp(-(V + 55) / 10)) * (1 - n) - 0.125 * exp(-(V + 65) / 80) * n),
    ]


def pospischil(t, y, I, P):
    V, m, h, n, p = y
    v = V - P["V_T"]
    sodium = P["g_Na"] * m**3 * h * (V - P["E_Na"])
    potassium = (P["g_Kd"] * n**4 + P["g_M"] * p) * (V - P["E_K"])
    a_m, b_m = -0.32 * (v - 13) / (exp(-(v - 13) / 4) - 1), 0.28 * (v - 40) / (exp((v - 40) / 5) - 1)
    a_h, b_h = 0.128 * exp(-(v - 17) / 18), 4 / (1 + exp(-(v - 40) / 5))
    a_n, b_n = -0.032 * (v - 15) / (exp(-(v - 15) / 5) - 1), 0.5 * exp(-(v - 10) / 40)
    tau_p = P["tau_max"] / (3.3 * exp((V + 35) / 20) + exp(-(V + 35) / 20))
    return [
        (I - sodium - potassium - P["g_L"] * (V - P["E_L"])) / P["C_m"],
        a_m * (1 - m) - b_m * m,
        a_h * (1 - h) - b_h * h,
        a_n * (1 - n) - b_n * n,
        (1 / (1 + exp(-(V + 35) / 10)) - p) / tau_p,
    ]


def cortical(t, y, I, P):
    V = y[0]
    gate = dict(zip("mhnpwq", y[1:], strict=True))

    def relaxation(name):
        # Opening and closing rates of a barrier in the middle of the field, and the least time constant.
        z = (V - P[f"{name}__mdp"]) / P[f"{name}__scale"]
        opening, closing = (exp(s * z / 2) / (2 * P[f"{name}__tau"]) for s in (1, -1))
        least = {"m": 0.02, "h": 0.1, "n": 0.2, "p": 1.0, "q": 1.0}.get(name)
        tau = P["w__tau"] if least is None else least + 1 / (opening + closing)
        return (opening / (opening + closing) - gate[name]) / tau

    potassium = P["g_Kd"] * gate["n"] ** 2 + P["g_M"] * gate["p"] + P["g_AHP"] * gate["w"]
    flow = P["g_Na"] * gate["m"] ** 3 * gate["h"] * (V - P["E_Na"]) + potassium * (V - P["E_K"])
    flow += P["g_H"] * gate["q"] * (V - P["E_H"]) + P["g_L"] * (V - P["E_L"])
    return [(I - flow) / P["C_m"], *(relaxation(name) for name in gate)]


def cortical(t, y, I, P):
    V = y[0]
    gate = dict(zip("mhnpwq", y[1:], strict=True))

    def relaxation(name):
        # Opening and closing rates of a barrier in the middle of the field, and the least time constant.
        z = (V - P[f"{name}__mdp"]) / P[f"{name}__scale"]
        opening, closing = (exp(s * z / 2) / (2 * P[f"{name}__tau"]) for s in (1, -1))
        least = {"m": 0.02, "h": 0.1, "n": 0.2, "p": 1.0, "q": 1.0}.get(name)
        tau = P["w__tau"] if least is None else least + 1 / (opening + closing)
        return (opening / (opening + closing) - gate[name]) / tau

    potassium = P["g_Kd"] * gate["n"] ** 2 + P["g_M"] * gate["p"] + P["g_AHP"] * gate["w"]
    flow = P["g_Na"] * gate["m"] ** 3 * gate["h"] * (V - P["E_Na"]) + potassium * (V - P["E_K"])
    flow += P["g_H"] * gate["q"] * (V - P["E_H"]) + P["g_L"] * (V - P["E_L"])
    return [(I - flow) / P["C_m"], *(relaxation(name) for name in gate)]


def morris_lecar(t, y, I, P):
    # The paper's V1 … V4, with tanh and cosh.
    V, w = y
    V1, V2, V3, V4 = P["m__mdp"], 2 * P["m__scale"], P["w__mdp"], 2 * P["w__scale"]
    m = 0.5 * (1 + np.tanh((V - V1) / V2))
    flow = P["g_L"] * (V - P["E_L"]) + P["g_Ca"] * m * (V - P["E_Ca"]) + P["g_K"] * w * (V - P["E_K"])
    slope = P["phi"] * np.cosh((V - V3) / (2 * V4))
    return [(I - flow) / P["C_m"], slope * (0.5 * (1 + np.tanh((V - V3) / V4)) - w)]


def resonant(t, y, I, P):
    V, w = y
    return [
        (I - P["g_L"] * (V - P["E_L"]) - P["g_w"] * w) / P["C_m"],
        (V - P["E_L"] - w) / P["tau_w"],
    ]


# model, equations, initial state (none of it at rest), stimulus, duration (ms), largest step (ms)
CASES = {
    "leaky": ("leaky", leaky, [-50.0], 2.0, 20.0, 0.5),
    "hodghuxsimple": ("hodghuxsimple", hodghuxsimple, [-40.0, 0.6, 0.4], 1.5, 40.0, 0.4),
    "celegans": ("celegans", celegans, [-30.0, 0.2, 0.5, 0.3, 0.4, 0.9, 4.0], 15.0, 40.0, 0.4),
    "hodgkinhuxley": ("hodgkinhuxley", hodgkinhuxley, [-60.0, 0.1, 0.5, 0.4], 12.0, 12.0, 0.01),
    "pospischil": ("pospischil", pospischil, [-50.0, 0.3, 0.5, 0.2, 0.3], 3.0, 10.0, 0.01),
    "cortical": ("cortical", cortical, [-50.0, 0.1, 0.5, 0.1, 0.2, 0.1, 0.3], 4.0, 10.0, 0.01),
    "cortical": ("cortical", cortical, [-50.0, 0.1, 0.5, 0.1, 0.2, 0.1, 0.3], 4.0, 10.0, 0.01),
    "MorrisLecar": (f"{TEMPLATE}:MorrisLecar", morris_lecar, [-10.0, 0.3], 90.0, 40.0, 0.1),
    "ResonantMembrane": (f"{TEMPLATE}:ResonantMembrane", resonant, [-50.0, 3.0], 1.0, 40.0, 0.2),
}
# A step of one's own is its own solver, and the exponential solver is exact for a leak.
RUNS = [
    (name, solver)
    for name in CASES
    for solver in ("implicit_euler", "exponential_euler")
    if (name, solver) not in {("leaky", "exponential_euler"), ("ResonantMembrane", "exponential_euler")}
]
POINTS = 20


@pytest.fixture(scope="module")
def solutions():
    """Give the solution of a case at POINTS times, computed once, [time, state]."""
    kept = {}

    def solution(name):
        if name not in kept:
            path, equations, start, I, duration, _ = CASES[name]
            times = np.linspace(0.0, duration, POINTS + 1)
            parameters = load_model(path).default_params
            found = solve_ivp(
                equations, (0, duration), start, "LSODA", times, args=(I, parameters), rtol=1e-10, atol=1e-12
            )
            kept[name] = found.y.T[1:]
        return kept[name]

    return solution


def simulated(name, solver, dt, start=None):
    path, _, first, I, duration, _ = CASES[name]
    neuron = load_model(path)(dt=dt)
    neuron.solver = solver
    neuron._init_state = np.array(first if start is None else start)
    steps = round(duration / dt)
    return neuron.calculate(np.full(steps, I))[steps // POINTS - 1 :: steps // POINTS]


@pytest.mark.parametrize(("name", "solver"), RUNS)
def test_order_of_convergence(name, solver, solutions):
    reference, largest = solutions(name), CASES[name][-1]
    steps = largest / 2.0 ** np.arange(3)
    scale = np.ptp(reference, axis=0)
    assert (scale > 0).all()
    runs = [simulated(name, solver, dt) for dt in steps]
    errors = np.array([np.abs(run - reference).max(axis=0) / scale for run in runs])
    assert errors.shape == (3, len(scale))
    # The error of every state falls at least as dt, that of the worst state just as dt.
    slopes = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert (slopes > 0.9).all(), dict(zip(load_model(CASES[name][0]).states, slopes, strict=True))
    worst = np.polyfit(np.log(steps), np.log(errors.max(axis=1)), 1)[0]
    assert 0.9 < worst < 1.15
    # And it falls towards nothing: half of it, twice, is what extrapolation leaves.
    best = 2 * runs[2] - runs[1]
    assert (np.abs(best - reference).max(axis=0) / scale < 0.1 * errors[2].max() + 1e-6).all()


@pytest.mark.parametrize("name", ["hodgkinhuxley", "pospischil"])
def test_exponential_euler_has_a_voltage_of_second_order_from_rest(name):
    # V and the gates take turns, as on a staggered grid: what is of first order is where the gates begin,
    # and at rest that is everywhere the same.
    path, equations, _, I, duration, largest = CASES[name]
    model = load_model(path)
    times = np.linspace(0.0, duration, POINTS + 1)
    reference = solve_ivp(
        equations,
        (0, duration),
        model.default_init_state,
        "LSODA",
        times,
        args=(I, model.default_params),
        rtol=1e-10,
        atol=1e-12,
    ).y[0, 1:]
    steps = 2 * largest / 2.0 ** np.arange(3)
    errors = [
        np.abs(simulated(name, "exponential_euler", dt, model.default_init_state)[:, 0] - reference).max()
        for dt in steps
    ]
    assert 1.8 < np.polyfit(np.log(steps), np.log(errors), 1)[0] < 2.2


@pytest.mark.parametrize("solver", ["implicit_euler", "exponential_euler"])
def test_calcium_has_the_same_limit_for_every_step(solver):
    # With V and the gates still, calcium relaxes: Ca(t) = s + (Ca(0) - s) exp(-t / decay), where the
    # inactivation that depends on calcium is put out. A gain of the calcium current without dt would make
    # s depend on dt.
    model = load_model("celegans")
    # Nothing moves V (a huge capacitance) nor the gates (huge time constants).
    still = {name: 1e15 for name in model.parameter_names if name == "C_m" or name.endswith("__tau")}
    P = {**model.default_params, **still, "h__alpha": 0.0}
    start = np.array([-20.0, 0.5, 0.5, 0.5, 0.4, 0.7, 2.0])
    inflow = -P["rho_ca"] * P["g_Ca"] * 0.4**2 * 0.7 * (-20.0 - P["E_Ca"])
    steady = inflow * P["decay_ca"]
    errors = []
    for dt in (4.0, 2.0, 1.0):
        neuron = model(P, dt=dt)
        neuron.solver, neuron._init_state = solver, start
        found = neuron.calculate(np.zeros(round(200 / dt)))[-1]
        np.testing.assert_allclose(found[:-1], start[:-1], rtol=1e-9)
        errors.append(abs(found[-1] - (steady + (2.0 - steady) * np.exp(-200 / P["decay_ca"]))) / steady)
    if solver == "exponential_euler":
        assert max(errors) < 1e-9
    else:
        assert errors[0] < 0.02
        np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 1.0, atol=0.05)
