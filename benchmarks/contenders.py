"""The same neurons simulated by odynn, Jaxley, NEURON, a plain numpy loop, and loops in C.

All of them take the same parameter sets and the same stimulus on the same time grid. Each function
makes one contender in the process that calls it; libraries are imported there.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measuring import FOLDER, Contender

from odynn.data import Target
from odynn.models import load_model
from odynn.stimuli import stimulus, time_grid

DURATION, DT = 100.0, 0.025  # ms, of the squid axon
SQUID = [[{"step": 10.0, "from": 10, "to": 90}]]
REST = -65.0  # mV
CELEGANS = [
    [{"step": 10, "from": 200, "to": 600}, {"step": 20, "from": 800, "to": 1000}],
    [{"step": 5, "from": 200, "to": 300}, {"step": 30, "from": 500, "to": 1000}],
]
CELEGANS_DURATION, CELEGANS_DT = 1200.0, 1.0

# Of the squid axon: the free ones, in the order of its table.
FREE = ("C_m", "g_Na", "g_K", "g_L", "E_Na", "E_K", "E_L")
_JAXLEY = {
    "C_m": ("capacitance", 1.0),
    "g_Na": ("HH_gNa", 1e-3),  # mS/cm² in S/cm²
    "g_K": ("HH_gK", 1e-3),
    "g_L": ("HH_gLeak", 1e-3),
    "E_Na": ("HH_eNa", 1.0),
    "E_K": ("HH_eK", 1.0),
    "E_L": ("HH_eLeak", 1.0),
}


def parameter_sets(model: str, number: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Return random parameters of a model, name to [start], from where its fits begin."""
    generator = np.random.default_rng(seed)
    drawn = [load_model(model).get_random(generator) for _ in range(number)]
    return {name: np.array([one[name] for one in drawn]) for name in drawn[0]}


def make_target(model: str, solver: str, pieces=None, duration=None, dt=None) -> Target:
    """Return the voltage of a model's default parameters under a protocol, by numpy in float64."""
    if pieces is None:
        squid = model == "hodgkinhuxley"
        pieces = SQUID if squid else CELEGANS
        duration = duration or (DURATION if squid else CELEGANS_DURATION)
        dt = dt or (DT if squid else CELEGANS_DT)
    made = load_model(model)
    neuron = made(dt=dt)
    neuron.solver = solver
    stimuli = np.stack([stimulus(one, duration, dt) for one in pieces], axis=1)
    sweeps = np.arange(len(pieces))
    return Target(
        time=time_grid(duration, dt),
        stimulus=stimuli,
        observed={"V": neuron.calculate(stimuli)[:, made.states.index("V")]},
        units={"V": "mV"},
        sweeps=sweeps,
        train=np.ones(len(sweeps), dtype=bool),
    )


def odynn_problem(
    model: str, target: Target, solver: str, sets: int, cores: int, free=None, precision="float32"
):
    """Return a problem of odynn with its points u [free, start] and values [parameter, start].

    Args:
        model: name in the library.
        target: what is fitted.
        solver: of the model.
        sets: parameter sets.
        cores: blocks of starts computed at once.
        free: names of the free parameters; None: those of the model's table.
        precision: "float32" or "float64".
    """
    from odynn.fitting.losses import make_loss
    from odynn.fitting.problem import Problem
    from odynn.simulation.device import set_up_device
    from odynn.simulation.dynamics import Dynamics

    set_up_device()
    table = load_model(model).table()
    if free is not None:
        table = {name: row.changed(free=name in free) for name, row in table.items()}
    dynamics = Dynamics(load_model(model), target.dt, solver, precision)
    problem = Problem(dynamics, target, make_loss({"V": 1.0}), table, sets, cores)
    base = np.array(list(parameter_sets(model, sets).values()))
    return problem, problem.points(base), base


def by_odynn(cores: int, model: str, solver: str, sets: int, dt: float | None = None, precision="float32"):
    """odynn: voltage traces (of all states, it gives no others), loss, adjoint gradient."""
    from odynn.simulation.dynamics import Dynamics
    from odynn.simulation.simulator import Simulator

    target = make_target(model, solver, dt=dt)
    problem, u, base = odynn_problem(model, target, solver, sets, cores, precision=precision)
    simulator = Simulator(Dynamics(load_model(model), target.dt, solver, precision), cores)
    values = parameter_sets(model, sets)

    def gradient():
        # By the values themselves, as others have it.
        return problem.gradient(u, base)[0] / problem.transform.slope(u)

    return Contender(
        {
            "traces": lambda: simulator.traces(values, target.stimulus, states=["V"])["V"],
            "loss": lambda: problem.losses(u, base),
            "gradient": gradient,
        },
        float(sets * target.stimulus.size),
    )


def by_jaxley(cores: int, solver: str, sets: int, dt: float = DT):
    """Jaxley: vmap and jit, and value_and_grad, the sets divided among the cores by threads."""
    import jax
    import jaxley
    from jaxley.channels import HH

    target = make_target("hodgkinhuxley", "exponential_euler", dt=dt)
    cell = jaxley.Compartment()
    cell.insert(HH())
    cell.set("v", REST)
    cell.init_states(dt)
    cell.record(verbose=False)
    if solver == "exp_euler":
        # Nothing flows along a cell of one compartment; Jaxley 0.14 cannot work that out by itself.
        cell.customize_solver_exp_euler(exp_euler_transition=jax.numpy.eye(1)[None])
    area = float((2 * np.pi * cell.nodes.radius * cell.nodes.length).iloc[0])  # µm²
    injected = jax.numpy.asarray(target.stimulus[:, 0] * area * 1e-5)  # nA
    observed = jax.numpy.asarray(target.observed["V"][:, 0], jax.numpy.float32)
    steps = len(observed)
    drawn = parameter_sets("hodgkinhuxley", sets)
    theta = np.array([drawn[name] * _JAXLEY[name][1] for name in FREE], np.float32)

    def voltage(point):
        state = None
        for place, name in enumerate(FREE):
            state = cell.data_set(_JAXLEY[name][0], point[place], state)
        trace = jaxley.integrate(
            cell,
            param_state=state,
            data_stimuli=cell.data_stimulate(injected),
            delta_t=dt,
            t_max=steps * dt,
            solver=solver,
        )
        return trace[0, 1 : steps + 1]

    def loss(point):
        return jax.numpy.mean((voltage(point) - observed) ** 2)

    def compiled(function):
        return jax.jit(jax.vmap(function, in_axes=1))

    functions = {
        "traces": compiled(voltage),
        "loss": compiled(loss),
        "gradient": compiled(jax.value_and_grad(loss)),
    }
    parts = np.array_split(np.arange(sets), cores)
    pool = ThreadPoolExecutor(cores)

    def run(task):
        points = [theta[:, part] for part in parts]
        found = list(pool.map(lambda part: jax.block_until_ready(functions[task](part)), points))
        if task == "gradient":
            scale = np.array([_JAXLEY[name][1] for name in FREE])[:, None]
            return np.concatenate([np.asarray(one[1]) for one in found]).T * scale
        found = np.concatenate([np.asarray(one) for one in found])
        return found.T[:, None] if task == "traces" else found

    return Contender({task: lambda task=task: run(task) for task in functions}, float(sets * steps))


def by_neuron(cores: int, sets: int, dt: float = DT):
    """NEURON: one compartment, its own hh mechanism, fixed step, one set after the other."""
    from neuron import h

    h.load_file("stdrun.hoc")
    target = make_target("hodgkinhuxley", "exponential_euler", dt=dt)
    drawn = parameter_sets("hodgkinhuxley", sets)
    soma = h.Section(name="soma")
    soma.L = soma.diam = np.sqrt(1e4 / np.pi)
    soma.nseg = 1
    soma.insert("hh")
    segment = soma(0.5)
    h.celsius = 6.3
    h.usetable_hh = 0  # the formulas themselves, as the others compute them
    clamp = h.IClamp(segment)
    clamp.delay, clamp.dur = SQUID[0][0]["from"], SQUID[0][0]["to"] - SQUID[0][0]["from"]
    trace = h.Vector().record(segment._ref_v)
    h.cvode_active(0)
    h.steps_per_ms, h.dt = 1 / dt, dt

    def run():
        clamp.amp = SQUID[0][0]["step"] * segment.area() * 1e-5  # nA
        found = []
        for place in range(sets):
            one = {name: float(column[place]) for name, column in drawn.items()}
            soma.cm, soma.ena, soma.ek = one["C_m"], one["E_Na"], one["E_K"]
            segment.hh.gnabar, segment.hh.gkbar = one["g_Na"] * 1e-3, one["g_K"] * 1e-3
            segment.hh.gl, segment.hh.el = one["g_L"] * 1e-3, one["E_L"]
            h.finitialize(REST)
            h.continuerun(DURATION)
            found.append(trace.as_numpy()[1 : len(target.time) + 1].copy())
        return np.array(found).T[:, None]

    return Contender({"traces": run}, float(sets * len(target.time)))


def by_numpy(cores: int, sets: int, dt: float = DT):
    """A plain loop over time in numpy: every operation on all sets at once, in float32."""
    target = make_target("hodgkinhuxley", "exponential_euler", dt=dt)
    drawn = parameter_sets("hodgkinhuxley", sets)
    C, gNa, gK, gL, ENa, EK, EL = (drawn[name].astype(np.float32) for name in FREE)
    injected, observed = (one[:, 0].astype(np.float32) for one in (target.stimulus, target.observed["V"]))
    step, exp = np.float32(dt), np.exp

    def rates(V):
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = (V + 40) / 10, (V + 55) / 10
            am = np.where(np.abs(x) < 1e-3, 1 + x / 2, x / (1 - exp(-x)))
            an = np.where(np.abs(y) < 1e-3, 1 + y / 2, y / (1 - exp(-y))) * np.float32(0.1)
        bm, bn = 4 * exp((V + 65) / -18), np.float32(0.125) * exp((V + 65) / -80)
        ah, bh = np.float32(0.07) * exp((V + 65) / -20), 1 / (1 + exp((V + 35) / -10))
        return (am, bm), (ah, bh), (an, bn)

    def run(traces):
        V = np.full(sets, REST, np.float32)
        m, h, n = (a / (a + b) for a, b in rates(V))
        squares, kept = np.zeros_like(V), np.empty((len(injected), sets), np.float32) if traces else None
        for t in range(len(injected)):
            Na, K = gNa * m**3 * h, gK * n**4
            G = Na + K + gL
            rest = (injected[t] + Na * ENa + K * EK + gL * EL) / G
            V = rest + (V - rest) * exp(-step * G / C)
            (am, bm), (ah, bh), (an, bn) = rates(V)
            m = am / (am + bm) + (m - am / (am + bm)) * exp(-step * (am + bm))
            h = ah / (ah + bh) + (h - ah / (ah + bh)) * exp(-step * (ah + bh))
            n = an / (an + bn) + (n - an / (an + bn)) * exp(-step * (an + bn))
            if traces:
                kept[t] = V
            else:
                squares += (V - observed[t]) ** 2
        return kept[:, None] if traces else squares / len(injected)

    return Contender({"traces": lambda: run(True), "loss": lambda: run(False)}, float(sets * len(injected)))


_BLOCK = 64


def by_c(cores: int, model: str, sets: int, dt: float | None = None):
    """The loops of loops.c, compiled here for this machine; of its two ways to an exponential the faster."""
    squid = model == "hodgkinhuxley"
    target = make_target(model, "exponential_euler" if squid else "implicit_euler", dt=dt)
    drawn, made = parameter_sets(model, sets), load_model(model)
    names = FREE if squid else tuple(made.default_params)
    # Whole blocks: the last is filled up with copies of the last set.
    places = np.minimum(np.arange(-(-sets // _BLOCK) * _BLOCK), sets - 1)
    parameters, injected, observed, start = (
        np.ascontiguousarray(array, np.float32)
        for array in (
            np.array([drawn[name] for name in names])[:, places],
            target.stimulus,
            target.observed["V"],
            made.default_init_state,
        )
    )
    steps, sweeps = injected.shape
    loss = np.empty(len(places), np.float32)
    traces = np.empty((steps, sweeps, len(places)), np.float32)

    def call(function, kept_loss, kept_traces):
        function(
            *map(_pointer, (parameters, injected, observed)),
            _pointer(loss) if kept_loss else None,
            _pointer(traces) if kept_traces else None,
            *(len(places), sweeps, steps),
            ctypes.c_float(target.dt),
            _pointer(start),
            cores,
        )

    def trial(function):
        call(function, True, False)
        began = time.perf_counter()
        call(function, True, False)
        return time.perf_counter() - began

    name = "squid" if squid else "celegans"
    function = min((getattr(library, name) for library in _compiled()), key=trial)

    def run_loss():
        call(function, True, False)
        return loss[:sets].copy()

    def run_traces():
        call(function, False, True)
        return traces[..., :sets]

    return Contender({"traces": run_traces, "loss": run_loss}, float(sets * injected.size))


def _pointer(array: np.ndarray):
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def _compiled() -> list[ctypes.CDLL]:
    """Return loops.c compiled with its own exponential, and with that of glibc where there is one."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        raise SystemExit("loops.c needs a C compiler, cc or what CC names. Install one, gcc for instance.")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for exponential in ((), ("-DLIBMVEC",)):
            library = Path(folder) / f"loops{len(found)}.so"
            flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC"]
            wide = ["-mprefer-vector-width=512"] if os.uname().machine == "x86_64" else []
            source = [f"-DBLOCK={_BLOCK}", *exponential, "-o", library, FOLDER / "loops.c", "-lm"]
            subprocess.run([compiler, *flags, *wide, *source], check=True)
            found.append(ctypes.CDLL(str(library)))
    return found
