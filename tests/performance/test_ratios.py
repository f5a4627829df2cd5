"""Speed, by ratios measured in one run: only a gross regression fails, never a slow or a busy machine.

Time is that of the processor, so that other processes do not count, and the least of several runs in turn.
What loses the compilation of the time loop, the vectors, or the checkpoints of the adjoint is beyond these
bounds. benchmarks/throughput.py and normal_equations.py have the numbers themselves.
"""

import time

import numpy as np
import pytest

from odynn.data import Target
from odynn.fitting.losses import make_loss
from odynn.fitting.problem import Problem
from odynn.models import load_model
from odynn.simulation.dynamics import Dynamics

STARTS, STEPS, DT = 128, 2000, 0.025
SOLVER = "exponential_euler"
REPETITIONS = 7


@pytest.fixture(scope="module")
def seconds():
    """Return the least processor time of each computation of the squid axon, over the same neuron-steps."""
    model = load_model("hodgkinhuxley")
    generator = np.random.default_rng(1)
    drawn = [model.get_random(generator) for _ in range(STARTS)]
    neurons = model(drawn, dt=DT)
    neurons.solver = SOLVER
    stimulus = np.where(np.arange(STEPS) > 200, 10.0, 0.0)[:, None]
    target = Target(
        time=np.arange(1, STEPS + 1) * DT,
        stimulus=stimulus,
        observed={"V": np.full((STEPS, 1), -65.0)},
        units={"V": "mV"},
        sweeps=np.zeros(1, int),
        train=np.ones(1, bool),
    )
    problem = Problem(Dynamics(model, DT, SOLVER), target, make_loss({"V": 1.0}), model.table(), STARTS)
    base = np.array([[one[name] for one in drawn] for name in problem.names])
    u = problem.points(base)
    runs = {
        "numpy": lambda: neurons.calculate(stimulus),
        "loss": lambda: problem.losses(u, base),
        "gradient": lambda: problem.gradient(u, base),
        "normal equations": lambda: problem.normal_equations(u, base),
    }
    # The first run compiles. All must have computed the same voltages, or times say nothing.
    first = {name: run() for name, run in runs.items()}
    wanted = np.mean((first["numpy"][:, 0, 0] + 65.0) ** 2, axis=0)
    for found in (first["loss"], first["gradient"][1], first["normal equations"][2]):
        np.testing.assert_allclose(np.median(found / wanted), 1.0, rtol=1e-3)
    times = {name: [] for name in runs}
    for _ in range(REPETITIONS):
        for name, run in runs.items():
            began = time.process_time()
            run()
            times[name].append(time.process_time() - began)
    return {name: min(one) for name, one in times.items()}


@pytest.mark.parametrize(
    ("computation", "unit", "measured", "most"),
    [
        ("loss", "numpy", 0.005, 0.05),
        ("gradient", "numpy", 0.007, 0.08),
        ("normal equations", "numpy", 0.009, 0.1),
        ("gradient", "loss", 1.5, 20.0),
        ("normal equations", "loss", 1.8, 25.0),
    ],
)
def test_speed_is_in_proportion(seconds, computation, unit, measured, most):
    ratio = seconds[computation] / seconds[unit]
    assert ratio < most, f"{computation}: {ratio:.3g} times {unit}; on 2 cores with AVX-512, {measured:g}"
