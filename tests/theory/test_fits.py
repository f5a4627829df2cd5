"""Whole fits of small problems: known parameters come back, and starts do not meddle with each other."""

import numpy as np
import pytest

from odynn.data import Cause, Status
from odynn.fitting import adam, cma_es, levenberg_marquardt
from odynn.fitting.losses import make_loss
from odynn.fitting.problem import Problem
from odynn.fitting.staged import fit_stages
from odynn.fitting.starts import draw_starts
from odynn.simulation.dynamics import Dynamics

STEPS = 90
LM = {"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 30, "tolerance": 1e-8}
NUDGED = {"method": "levenberg_marquardt", "nudge": 2.0, "iterations": 5, "tolerance": 1e-4}
CMA = {"method": "cma_es", "iterations": 30}
ADAM = {
    "method": "adam",
    "nudge": 0.0,
    "iterations": 60,
    "rate": 0.1,
    "decay": 0.92,
    "decay_every": 9,
    "clip_norm": 5.0,
}


@pytest.fixture(scope="module")
def stimulus():
    stimulus = np.zeros((STEPS, 2))
    stimulus[10:50] = [3.0, -2.0]
    stimulus[60:80] = [-1.0, 5.0]
    return stimulus


@pytest.fixture(scope="module")
def leaky(load, make_target, make_problem, stimulus):
    """Give the problem of a leaky neuron, its truth [parameter] and random starts [parameter, 14]."""
    model = load("leaky")
    target = make_target(model, 1.0, stimulus)
    starts = draw_starts(model, model.table(), range(14), seed=4)
    base = np.array(list(starts.values.values()))
    return make_problem(model, target, {"V": 1.0}), np.array(list(target.truth.values())), base


@pytest.fixture(scope="module")
def fragile(load, make_target, make_problem, stimulus):
    """Give the problem of a model that breaks, and starts of which those in ``broken`` are broken."""
    model = load("Fragile")
    target = make_target(model, 0.2, stimulus)
    base = np.array(
        [
            [0.05, -0.5, 0.3, 0.2, 0.1, -0.1, 0.15],  # g_L: not a number where negative
            [-65.0, -60.0, -50.0, -55.0, -70.0, -62.0, -58.0],
            [3.0, 5.0, 2.5, 1990.0, 4.0, 5.0, 6.0],  # kick: no longer finite at 1990
        ]
    )
    return make_problem(model, target, {"V": 1.0}), base, np.array([1, 3, 5])


def start_of(problem, base):
    u = problem.points(base)
    return u, problem.losses(u, base)


def run_stages(problem, base, stages, ids=None):
    u, loss = start_of(problem, base)
    return fit_stages(problem, u, base, loss, stages, ids=ids)


def test_levenberg_marquardt_recovers_known_parameters(leaky):
    problem, truth, base = leaky
    u, start_loss = start_of(problem, base)
    result = levenberg_marquardt.minimise(problem, u, base, iterations=60, tolerance=1e-8)
    found = problem.values(result.u, base)
    np.testing.assert_allclose(found, np.repeat(truth[:, None], 14, axis=1), rtol=1e-3)
    assert (result.loss < 1e-6).all()
    assert (result.loss <= start_loss).all()
    assert (result.status == Status.CONVERGED).all()
    assert (result.iterations > 0).all()


def test_adam_recovers_known_parameters(leaky):
    problem, truth, base = leaky
    u, start_loss = start_of(problem, base)
    result = adam.minimise(problem, u, base, iterations=300, decay=0.97)
    assert (result.loss <= start_loss).all()
    np.testing.assert_allclose(result.loss, problem.losses(result.u, base), rtol=1e-9)
    assert (result.status == Status.ITERATION_LIMIT).all()
    assert (result.iterations == 300).all()
    recovered = np.abs(problem.values(result.u, base) / truth[:, None] - 1).max(axis=0) < 0.05
    assert recovered.sum() >= 10


def test_cma_es_recovers_known_parameters(leaky):
    problem, truth, base = leaky
    u, start_loss = start_of(problem, base)
    result = cma_es.minimise(problem, u, base, iterations=150)
    assert (result.loss <= start_loss).all()
    recovered = np.abs(problem.values(result.u, base) / truth[:, None] - 1).max(axis=0) < 1e-3
    assert recovered.sum() >= 12


@pytest.mark.parametrize(
    "method",
    [levenberg_marquardt.minimise, adam.minimise, cma_es.minimise],
    ids=["lm", "adam", "cma_es"],
)
def test_the_best_point_so_far_is_kept(leaky, method):
    problem, _, base = leaky
    u, start_loss = start_of(problem, base)
    kept = u.copy(), base.copy()
    options = {"rate": 3.0} if method is adam.minimise else {}  # so wild that it jumps about
    result = method(problem, u, base, iterations=25, **options)
    np.testing.assert_array_equal(u, kept[0])
    np.testing.assert_array_equal(base, kept[1])
    assert (result.loss <= start_loss).all()
    assert (result.loss < start_loss).any()
    np.testing.assert_allclose(problem.losses(result.u, base), result.loss, rtol=1e-9)
    assert result.history.shape == (25, 14)
    for start in range(14):
        done = result.history[: result.iterations[start], start]
        assert len(done) > 0
        assert (np.diff(done) <= 0).all()
        assert done[-1] >= result.loss[start]
        assert np.isnan(result.history[result.iterations[start] :, start]).all()


def test_a_fixed_parameter_stays_put(load, make_target, make_problem, stimulus):
    model = load("leaky")
    target = make_target(model, 1.0, stimulus)
    problem = make_problem(model, target, {"V": 1.0}, fixed=("g_L",))
    base = np.array(list(draw_starts(model, model.table(), range(6), seed=4).values.values()))
    base[1, :3] = target.truth["g_L"]
    result = run_stages(problem, base, [LM])
    found = problem.values(result.u, base)
    np.testing.assert_array_equal(found[1], base[1])
    assert (np.abs(found[[0, 2]] - base[[0, 2]]) > 1e-3).any(axis=0).all()
    # Where it is held at the truth the others are found, and elsewhere they cannot make up for it.
    np.testing.assert_allclose(
        found[:, :3], np.array([*target.truth.values()])[:, None] * np.ones(3), rtol=1e-3
    )
    assert (result.loss[:3] < 1e-6).all()
    assert (result.loss[3:] > 1e-3).all()


def test_a_fit_stays_inside_the_bounds(leaky):
    problem, _, base = leaky
    result = run_stages(problem, base, [ADAM])
    rows = problem.transform.parameters.values()
    bounds = np.array([row.bounds for row in rows])[:, :, None]
    found = problem.values(result.u, base)
    assert (found >= bounds[:, 0]).all()
    assert (found <= bounds[:, 1]).all()


def test_a_bound_in_the_way_is_said_to_be(load, make_target, make_problem, stimulus):
    model = load("leaky")
    target = make_target(model, 1.0, stimulus)
    table = model.table()
    # The truth, E_L = -60, is out of reach.
    table["E_L"] = table["E_L"].changed(bounds=(-50.0, -20.0), start=(-50.0, -20.0))
    problem = Problem(Dynamics(model, 1.0, precision="float64"), target, make_loss({"V": 1.0}), table, 3)
    base = np.array([[1.0, 2.0, 3.0], [0.1, 0.2, 0.1], [-45.0, -35.0, -25.0]])
    result = run_stages(problem, base, [{**LM, "iterations": 200, "tolerance": 1e-4}])
    assert (result.status == Status.AT_BOUND).all()
    np.testing.assert_allclose(problem.values(result.u, base)[2], -50.0, atol=0.05)


@pytest.mark.parametrize(
    "stages", [[LM], [ADAM], [CMA], [NUDGED, LM]], ids=["lm", "adam", "cma_es", "nudged"]
)
def test_a_start_that_diverges_has_its_status_and_harms_nobody(fragile, stages):
    problem, base, broken = fragile
    sound = np.setdiff1d(np.arange(base.shape[1]), broken)
    u, loss = start_of(problem, base)
    assert not np.isfinite(loss[broken]).any()
    assert np.isfinite(loss[sound]).all()
    result = run_stages(problem, base, stages)
    assert (result.status[broken] == Status.DIVERGED).all()
    assert (result.cause[broken] == Cause.START_NOT_FINITE).all()
    assert (result.iterations[broken] == 0).all()
    assert np.isnan(result.history[:, broken]).all()
    np.testing.assert_array_equal(result.u[:, broken], u[:, broken])
    assert not np.isin(result.status[sound], [Status.DIVERGED, Status.NOT_FITTED]).any()
    assert (result.loss[sound] < 0.2 * loss[sound]).all()

    alone = run_stages(problem, base[:, sound], stages, sound)
    for name in ("u", "loss", "status", "cause", "iterations"):
        np.testing.assert_array_equal(getattr(result, name)[..., sound], getattr(alone, name), err_msg=name)
    np.testing.assert_array_equal(result.history[:, sound], alone.history)


def test_a_fit_that_strays_where_the_model_breaks_comes_back(fragile):
    # These starts are sound, close to where the model is not, and with a rate that throws them there.
    problem, _, _ = fragile
    base = np.array([[0.02, 0.6, 0.9], [-60.0, -75.0, -40.0], [4.0, 6.0, 3.0]])
    u, loss = start_of(problem, base)
    assert np.isfinite(loss).all()
    result = run_stages(problem, base, [{**ADAM, "rate": 5.0, "iterations": 30}])
    assert np.isfinite(result.loss).all()
    assert (result.loss <= loss).all()
    np.testing.assert_allclose(problem.losses(result.u, base), result.loss, rtol=1e-9)
    assert (result.iterations <= 30).all()


@pytest.mark.parametrize(
    ("stage", "precision"),
    [(LM, "float32"), (ADAM, "float64"), (CMA, "float32"), (NUDGED, "float64")],
    ids=["lm", "adam", "cma_es", "nudged"],
)
def test_bad_neighbours_harm_nobody(load, make_target, make_problem, stimulus, stage, precision):
    # On bounds, beyond what a number holds, and where the voltage flies away: in the blocks of the others.
    model = load("Fragile")
    target = make_target(model, 0.2, stimulus)
    problem = make_problem(model, target, {"V": 1.0}, precision=precision)
    rows = list(model.table().values())
    lower, upper = (np.array([row.bounds[side] for row in rows]) for side in (0, 1))
    sound = np.array([[0.05, 0.3, 0.1], [-65.0, -50.0, -70.0], [3.0, 2.5, 4.0]])
    bad = np.array(
        [lower, upper, [np.nan, -60.0, 5.0], [1e300, -60.0, 5.0], [0.1, 1e38, 5.0], [0.1, -60.0, 1990.0]]
    )
    places = [1, 4, 7]
    base = np.insert(bad.T, [1, 3, 5], sound, axis=1)
    np.testing.assert_array_equal(base[:, places], sound)
    with np.errstate(all="ignore"):
        together = run_stages(problem, base, [{**stage, "iterations": 8}])
    alone = [
        run_stages(problem, sound[:, n : n + 1], [{**stage, "iterations": 8}], [place])
        for n, place in enumerate(places)
    ]
    for place, one in zip(places, alone, strict=True):
        for name in ("u", "loss", "status", "cause", "iterations", "history"):
            found = getattr(together, name)[..., place : place + 1]
            np.testing.assert_array_equal(found, getattr(one, name), err_msg=name)
    assert (together.status != Status.NOT_FITTED).all()
    lost = ~np.isfinite(together.loss)
    assert lost.any()
    assert (together.status[lost] == Status.DIVERGED).all()


@pytest.mark.parametrize("stages", [[LM], [NUDGED, {**ADAM, "iterations": 12}, LM]], ids=["lm", "all"])
def test_a_fit_does_not_depend_on_the_shard(load, make_target, make_problem, stimulus, stages):
    # 20 starts in blocks of 32, and 1 + 5 + 14 in blocks of 16.
    model = load("leaky")
    target = make_target(model, 1.0, stimulus)
    base = np.array(list(draw_starts(model, model.table(), range(20), seed=9).values.values()))
    together = run_stages(make_problem(model, target, {"V": 1.0}, starts=20), base, stages)
    small = make_problem(model, target, {"V": 1.0}, starts=5)
    for first, number in ((0, 1), (1, 5), (6, 14)):
        part = slice(first, first + number)
        apart = run_stages(small, base[:, part], stages)
        for name in ("u", "loss", "status", "cause", "iterations", "history"):
            np.testing.assert_array_equal(
                getattr(apart, name), getattr(together, name)[..., part], err_msg=name
            )


def test_each_kernel_is_compiled_once_however_few_starts_are_left(load, make_target, make_problem, stimulus):
    model = load("leaky")
    target = make_target(model, 1.0, stimulus)
    base = np.array(list(draw_starts(model, model.table(), range(40), seed=9).values.values()))
    problem = make_problem(model, target, {"V": 1.0}, starts=40)
    result = run_stages(problem, base, [NUDGED, {**LM, "tolerance": 1e-3}, {**CMA, "iterations": 3}])
    assert len(np.unique(result.iterations)) > 3
    kernels = [
        kernel for kernel in vars(problem._kernels).values() if hasattr(kernel, "get_concrete_function")
    ]
    counts = sorted(kernel.experimental_get_tracing_count() for kernel in kernels)
    assert counts[-2:] == [1, 1]  # the losses and the normal equations; nothing else was asked for
    assert sum(counts) == 2


def test_the_same_fit_twice_gives_the_same_bits(leaky):
    problem, _, base = leaky
    one, two = (run_stages(problem, base, [{**NUDGED, "iterations": 3}, LM]) for _ in range(2))
    np.testing.assert_array_equal(one.u, two.u)
    np.testing.assert_array_equal(one.history, two.history)


def test_the_result_of_stages_is_the_lowest_free_run(leaky):
    # A nudged stage can leave a start worse than it was as far as the free run goes.
    problem, _, base = leaky
    base = np.concatenate([base, np.array([[1.1, 0.11, -60.0]]).T * [[1.001], [1.0], [1.0]]], axis=1)
    u, loss = start_of(problem, base)
    stages = [{**ADAM, "nudge": 20.0, "iterations": 6, "rate": 1.0}, {**ADAM, "iterations": 2, "rate": 1.0}]
    result = fit_stages(problem, u, base, loss, stages)
    np.testing.assert_allclose(problem.losses(result.u, base), result.loss, rtol=1e-9)
    assert (result.loss <= loss).all()
    assert result.loss[-1] < 1e-3 * loss[:-1].min()  # the start beside the truth was not given up
    assert result.stage.tolist() == [0] * 6 + [1] * 2
    assert result.history.shape == (8, 15)
    # What the nudged stage minimised is another, smaller loss.
    assert (result.history[0] < loss).all()


@pytest.mark.parametrize("name", ["Bare", "MorrisLecar"])
def test_a_model_of_ones_own_is_fitted(name, load, make_target, make_problem, columns):
    model = load(name)
    stimulus = np.zeros((STEPS, 2))
    stimulus[10:60] = {"Bare": [2.0, -1.0], "MorrisLecar": [60.0, 110.0]}[name]
    target = make_target(model, 0.5, stimulus)
    problem = make_problem(model, target, {"V": 1.0}, precision="float32")
    base = columns(model, 8, seed=5, spread=0.3)
    u, loss = start_of(problem, base)
    result = fit_stages(problem, u, base, loss, [{**LM, "iterations": 15, "tolerance": 1e-6}])
    assert (result.loss < 0.1 * loss).sum() >= 6
    assert (result.loss <= loss).all()
