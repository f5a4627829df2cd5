"""Standard errors, spectra and profiles: central differences, repeated experiments, exact theory."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.signal import lfilter

from odynn.analysis.information import correlation_time, information
from odynn.analysis.uncertainty import estimated_uncertainty
from odynn.data import Fit, Status, Target, Verdict
from odynn.models import load_model
from odynn.models.leaky import LeakyIntegrate

STEPS, NOISE = 120, 0.4
OPTIONS = {"number": 1, "profiles": [], "points": 5, "width": 3.0}
SETTINGS = {"model": "leaky", "solver": "implicit_euler", "dt": 1.0, "loss": {"V": 1.0}}
TRUTH = {"C_m": 8.0, "g_L": 0.4, "E_L": -62.0}
USER = '''
import numpy as np

from odynn.data import Parameter
from odynn.fitting.losses import SweepTerm
from odynn.models.equations import Current, Membrane
from odynn.models.kinetics import stack
from odynn.models.model import BioNeuron

LEAK = Parameter("g_L", 0.4, "mS/cm²", (0.01, 10.0), scale="log")


class Twice(BioNeuron):
    """Two leaks with one reversal potential: only the sum of their conductances acts."""

    parameters = (
        Parameter("C_m", 8.0, "µF/cm²", (0.5, 40.0)),
        LEAK,
        Parameter("g_2", 0.2, "mS/cm²", (0.01, 10.0), scale="log"),
    )
    membrane = Membrane(currents={"L": Current("g_L", "E_L"), "2": Current("g_2", "E_L")})
    parameters += (Parameter("E_L", -62.0, "mV", (-120.0, 0.0)),)
    default_init_state = np.array([-60.0])


class Idle(BioNeuron):
    """A step written by hand, with a parameter that does nothing."""

    parameters = (LEAK, Parameter("E_L", -62.0, "mV", (-120.0, 0.0)), Parameter("idle", 1.0, "1", (0.0, 2.0)))
    default_init_state = np.array([-60.0])

    def step(self, X, i):
        P = self._param
        return stack([X[0] + self.dt * (i - P["g_L"] * (X[0] - P["E_L"])) / 8.0 + 0.0 * P["idle"]])


class Peak(SweepTerm):
    """A number a sweep, and no residual."""

    def values(self, traces):
        return traces["V"].max(axis=0)


class Broken(Idle):
    """Not finite, wherever it starts."""

    def step(self, X, i):
        return stack([X[0] + 1e300 * 1e10 * self._param["g_L"]])
'''


@pytest.fixture(scope="module")
def stimulus():
    stimulus = np.zeros((STEPS, 2))
    stimulus[10:70, 0], stimulus[40:, 1] = 4.0, -3.0
    return stimulus


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """The path of a file with models of one's own."""
    path = tmp_path_factory.mktemp("models") / "own.py"
    path.write_text(USER, "utf-8")
    return path


def simulate(model, values, stimulus):
    return model(dict(values), dt=1.0).calculate(stimulus)[:, 0]


def target_of(trace, stimulus, truth):
    number = stimulus.shape[1]
    return Target(
        time=np.arange(1.0, len(stimulus) + 1),
        stimulus=stimulus,
        observed={"V": trace},
        units={"V": "mV"},
        sweeps=np.arange(number),
        train=np.ones(number, dtype=bool),
        truth=None if truth is None else dict(truth),
    )


def fit_of(rows, columns, loss, status=Status.CONVERGED):
    """Return a fit of these values [parameter, start]."""
    values = {name: np.array(column, dtype=float) for name, column in zip(rows, columns, strict=True)}
    loss = np.array(loss, dtype=float)
    number = len(loss)
    return Fit(
        ids=np.arange(number),
        parameters=rows,
        start_values=values,
        values=values,
        start_loss=loss,
        loss=loss,
        rmse_train={"V": np.sqrt(loss)},
        rmse_test={},
        status=np.full(number, status, dtype=np.int8),
        cause=np.zeros(number, dtype=np.int8),
        iterations=np.ones(number, dtype=int),
        history=np.ones((1, number)),
        stage=np.zeros(1, dtype=int),
        units={"V": "mV", "loss": "(mV)²"},
    )


def fitted(rows, target, model=LeakyIntegrate, start=None):
    """Return the least-squares fit of a target by scipy, from the truth or from values given."""
    start = np.array([(start or target.truth)[name] for name in rows])
    bounds = np.array([row.bounds for row in rows.values()]).T

    def residuals(values):
        return (
            simulate(model, zip(rows, values, strict=True), target.stimulus) - target.observed["V"]
        ).ravel()

    best = least_squares(
        residuals, start, bounds=bounds, x_scale=np.abs(start), jac="3-point", xtol=1e-14, ftol=1e-14
    )
    return fit_of(rows, best.x[:, None], [np.mean(best.fun**2)])


@pytest.fixture(scope="module")
def noisy(stimulus):
    """Return a noisy target of the leaky neuron, and its fit."""
    clean = simulate(LeakyIntegrate, TRUTH, stimulus)
    trace = clean + np.random.default_rng(3).normal(0, NOISE, clean.shape)
    target = target_of(trace, stimulus, TRUTH)
    return target, fitted(LeakyIntegrate.table(), target)


def test_errors_are_those_of_least_squares_by_central_differences(noisy, stimulus):
    target, fit = noisy
    known = estimated_uncertainty({**SETTINGS, "uncertainty": OPTIONS}, target, fit)
    values = {name: float(column[0]) for name, column in fit.values.items()}
    columns = []
    for name, value in values.items():
        step = 1e-5 * abs(value)
        ends = [simulate(LeakyIntegrate, {**values, name: value + sign * step}, stimulus) for sign in (1, -1)]
        columns.append((ends[0] - ends[1]).ravel() / (2 * step))
    J = np.array(columns).T
    residuals = (simulate(LeakyIntegrate, values, stimulus) - target.observed["V"]).ravel()
    variance = residuals @ residuals / (len(residuals) - 3)
    covariance = variance * np.linalg.inv(J.T @ J)
    errors = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose([known.naive_errors[name][0] for name in values], errors, rtol=1e-5)
    assert known.noise[0] == pytest.approx(variance**0.5, rel=1e-8)
    assert (known.samples[0], known.rank[0]) == (2 * STEPS, 3)
    found = np.array([known.correlations[name][:, 0] for name in values])
    np.testing.assert_allclose(found, covariance / np.outer(errors, errors), atol=1e-5)
    # White noise: nothing to correct.
    ratio = known.corrected_errors["C_m"][0] / known.naive_errors["C_m"][0]
    assert 1 <= ratio < 1.1
    distance = (values["E_L"] - TRUTH["E_L"]) / known.corrected_errors["E_L"][0]
    assert known.truth_distances["E_L"][0] == pytest.approx(distance)
    distance = np.log(values["g_L"] / TRUTH["g_L"]) * values["g_L"] / known.corrected_errors["g_L"][0]
    assert known.truth_distances["g_L"][0] == pytest.approx(distance)
    assert {verdicts[0] for verdicts in known.verdicts.values()} == {Verdict.DETERMINED}
    assert known.decrement[0] < 1e-3
    # The spectrum is that of a covariance in other coordinates: the same directions, whole.
    components = np.array([known.directions[name][:, 0] for name in values])
    np.testing.assert_allclose(components.T @ components, np.eye(3), atol=1e-10)
    scaled = components @ np.diag(1 / known.eigenvalues[:, 0]) @ components.T
    np.testing.assert_allclose(
        np.sqrt(np.diagonal(scaled)), [known.scaled_errors[name][0] for name in values], rtol=1e-10
    )


def test_the_truth_is_within_two_errors_in_95_percent_of_experiments(stimulus):
    clean = simulate(LeakyIntegrate, TRUTH, stimulus)
    rows = LeakyIntegrate.table()
    distances = []
    for seed in range(40):
        trace = clean + np.random.default_rng(seed).normal(0, NOISE, clean.shape)
        target = target_of(trace, stimulus, TRUTH)
        distances.append(_distances(target, rows, stimulus))
    distances = np.array(distances)
    assert distances.shape == (40, 3)
    # 120 draws of which 95 % lie within; fewer than 106 or more than 119 has a chance below 1 in 500.
    assert 106 <= (np.abs(distances) < 1.96).sum() <= 119
    assert np.abs(distances.mean(axis=0)).max() < 3 / np.sqrt(40)


def _distances(target, rows, stimulus):
    """Return (estimate - truth) / error by Gauss–Newton in numpy and the errors of ``information``."""
    names = list(TRUTH)
    at = dict(TRUTH)
    for _ in range(4):
        clean = simulate(LeakyIntegrate, at, stimulus)
        J = np.array(
            [
                (simulate(LeakyIntegrate, {**at, name: at[name] * (1 + 1e-6)}, stimulus) - clean).ravel()
                / (1e-6 * at[name])
                for name in names
            ]
        ).T
        r = (clean - target.observed["V"]).ravel()
        at = {name: at[name] - d for name, d in zip(names, np.linalg.solve(J.T @ J, J.T @ r), strict=True)}
    theory = information(J.T @ J, J.T @ r, r @ r, len(r), np.ones(3, dtype=bool))
    time = correlation_time([r.reshape(-1, 2)])
    return [(at[name] - TRUTH[name]) / (theory.errors[k] * time**0.5) for k, name in enumerate(names)]


def test_correlated_noise_is_corrected_for(stimulus):
    # An autoregressive noise of coefficient a has a correlation time of (1 + a) / (1 - a).
    noise = lfilter([1.0], [1.0, -0.6], np.random.default_rng(0).normal(size=(20000, 3)), axis=0)
    assert correlation_time([noise]) == pytest.approx(4.0, rel=0.1)
    assert correlation_time([noise[:9000], noise[9000:]]) == pytest.approx(4.0, rel=0.1)
    assert correlation_time([np.random.default_rng(1).normal(size=20000)]) == pytest.approx(1.0, abs=0.1)
    assert correlation_time([np.zeros((5, 2))]) == 1.0
    clean = simulate(LeakyIntegrate, TRUTH, stimulus)
    target = target_of(clean + noise[: len(clean), :2] * NOISE, stimulus, TRUTH)
    known = estimated_uncertainty(
        {**SETTINGS, "uncertainty": OPTIONS}, target, fitted(LeakyIntegrate.table(), target)
    )
    worth = known.effective_samples[0] / known.samples[0]
    assert 0.15 < worth < 0.5
    for name in TRUTH:
        ratio = known.corrected_errors[name][0] / known.naive_errors[name][0]
        assert ratio == pytest.approx(worth**-0.5)


def test_a_profile_of_a_nearly_linear_problem_is_that_of_the_errors(noisy):
    target, fit = noisy
    options = {**OPTIONS, "profiles": ["E_L", "g_L"], "points": 6}
    known = estimated_uncertainty({**SETTINGS, "uncertainty": options}, target, fit)
    for name in ("E_L", "g_L"):
        value, error = fit.values[name][0], known.corrected_errors[name][0]
        assert known.profile_lower[name] == pytest.approx(value - 1.96 * error, abs=0.08 * error)
        assert known.profile_upper[name] == pytest.approx(value + 1.96 * error, abs=0.08 * error)
        losses = known.profile_losses[name]
        assert losses.shape == known.points.shape == (13,)
        assert losses.argmin() == 6
        assert losses[6] == pytest.approx(fit.loss[0], rel=1e-6)
    # Each of these losses is the lowest there: scipy's minimum with E_L held where the grid has it.
    place = 2
    held = known.profile_values["E_L"][place]
    start = [fit.values["C_m"][0], fit.values["g_L"][0]]

    def residuals(p):
        values = {"C_m": p[0], "g_L": p[1], "E_L": held}
        return (simulate(LeakyIntegrate, values, target.stimulus) - target.observed["V"]).ravel()

    lowest = 2 * least_squares(residuals, start, x_scale=start, xtol=1e-12, ftol=1e-12).cost / (2 * STEPS)
    assert known.profile_losses["E_L"][place] == pytest.approx(lowest, rel=1e-5)


def test_a_grid_that_is_too_narrow_or_meets_a_bound_says_so(noisy):
    target, fit = noisy
    options = {**OPTIONS, "profiles": ["E_L"], "points": 1, "width": 0.5}
    known = estimated_uncertainty({**SETTINGS, "uncertainty": options}, target, fit)
    assert np.isnan(known.profile_lower["E_L"])
    assert np.isnan(known.profile_upper["E_L"])
    value, error = fit.values["E_L"][0], known.naive_errors["E_L"][0]
    rows = dict(fit.parameters)
    rows["E_L"] = rows["E_L"].changed(bounds=(-120.0, value + error), start=(-70.0, -65.0))
    options |= {"points": 4, "width": 3.0}
    known = estimated_uncertainty({**SETTINGS, "uncertainty": options}, target, replace(fit, parameters=rows))
    assert np.isfinite(known.profile_lower["E_L"])
    assert known.profile_upper["E_L"] == np.inf


@pytest.mark.parametrize("name", ["Twice", "Idle"])
def test_what_does_not_act_is_not_determined(name, user, stimulus):
    model = load_model(f"{user}:{name}")
    truth = dict(model.default_params)
    clean = simulate(model, truth, stimulus)
    trace = clean + np.random.default_rng(5).normal(0, NOISE, clean.shape)
    target = target_of(trace, stimulus, truth)
    fit = fitted(model.table(), target, model)
    options = {**OPTIONS, "profiles": ["g_2"] if name == "Twice" else ["idle"]}
    settings = {**SETTINGS, "model": f"{user}:{name}", "uncertainty": options}
    known = estimated_uncertainty(settings, target, fit)
    lost = ["g_L", "g_2"] if name == "Twice" else ["idle"]
    for parameter in known.parameters:
        determined = parameter not in lost
        assert (known.verdicts[parameter][0] == Verdict.DETERMINED) == determined, parameter
        assert (known.verdicts[parameter][0] == Verdict.NOT_DETERMINED) != determined, parameter
        assert np.isfinite(known.corrected_errors[parameter][0]) == determined, parameter
    matrix = np.array([column[:, 0] for column in known.correlations.values()])
    assert np.isfinite(matrix).all()
    assert known.rank[0] == len(known.parameters) - 1
    assert known.eigenvalues[-1, 0] == 0
    places = [list(known.parameters).index(parameter) for parameter in lost]
    if name == "Twice":
        assert matrix[places[0], places[1]] == pytest.approx(-1.0, abs=1e-3)
        # Up to the sum, one can do all that the two do; beyond it the other would have to be negative.
        assert known.profile_lower["g_2"] == -np.inf
        assert 0.5 < known.profile_upper["g_2"] < 0.8
    else:
        np.testing.assert_allclose(matrix[places[0]], np.eye(3)[places[0]], atol=1e-6)
        assert (known.profile_lower["idle"], known.profile_upper["idle"]) == (-np.inf, np.inf)
    assert sorted(np.flatnonzero(np.abs([c[-1, 0] for c in known.directions.values()]) > 1e-3)) == places


def test_a_parameter_at_its_bound_is_left_out(noisy):
    target, _ = noisy
    rows = LeakyIntegrate.table()
    rows["C_m"] = rows["C_m"].changed(bounds=(10.0, 40.0), start=(10.0, 40.0))  # the truth is 8
    fit = fitted(rows, target, start={**TRUTH, "C_m": 12.0})
    fit.values["C_m"][:] = 10.0
    options = {**OPTIONS, "profiles": ["C_m"]}
    known = estimated_uncertainty({**SETTINGS, "uncertainty": options}, target, fit)
    assert known.verdicts["C_m"][0] == Verdict.AT_BOUND
    assert np.isnan(known.corrected_errors["C_m"][0])
    assert np.isnan(known.correlations["C_m"][:, 0]).all()
    assert known.rank[0] == 2
    assert np.isnan(known.eigenvalues[2, 0])
    assert (known.directions["C_m"][:2, 0] == 0).all()
    # With C_m out of the problem the errors of the others are the same.
    rows = {name: row.changed(free=name != "C_m") for name, row in rows.items()}
    fixed = estimated_uncertainty({**SETTINGS, "uncertainty": OPTIONS}, target, replace(fit, parameters=rows))
    for name in ("g_L", "E_L"):
        assert known.naive_errors[name][0] == pytest.approx(fixed.naive_errors[name][0], rel=1e-6)
    assert list(fixed.parameters) == ["g_L", "E_L"]


def test_equally_good_starts_that_differ_are_not_determined(noisy):
    target, fit = noisy
    # Two more starts: one a little off and as good as the best, one far off and worse.
    columns = np.repeat(np.array(list(fit.values.values())), 3, axis=1)
    columns[2] += [0.0, 8.0, 20.0]
    three = fit_of(fit.parameters, columns, fit.loss[0] * np.array([1.0, 1.001, 3.0]))
    known = estimated_uncertainty({**SETTINGS, "uncertainty": {**OPTIONS, "number": 3}}, target, three)
    assert known.equal_starts == 2
    assert three.loss[1] < known.equal_loss < three.loss[2]
    assert known.equal_spreads["E_L"] == pytest.approx(8.0 / np.sqrt(2))
    assert known.equal_spreads["C_m"] == 0.0
    assert known.verdicts["E_L"][0] == Verdict.WEAKLY_DETERMINED
    assert known.verdicts["C_m"][0] == Verdict.DETERMINED
    assert known.ids.tolist() == [0, 1, 2]
    # A start is judged by itself, whatever its neighbours.
    alone = estimated_uncertainty({**SETTINGS, "uncertainty": OPTIONS}, target, three)
    for name in TRUTH:
        assert known.naive_errors[name][0] == pytest.approx(alone.naive_errors[name][0], rel=1e-9)


def test_fits_of_which_all_diverged_are_a_valid_answer(user, stimulus):
    model = load_model(f"{user}:Broken")
    target = target_of(np.full((STEPS, 2), -60.0), stimulus, None)
    settings = {**SETTINGS, "model": f"{user}:Broken", "uncertainty": {**OPTIONS, "profiles": ["g_L"]}}
    columns = np.array([[1.0, 1.0]] * len(model.table()))
    columns[1] = -60.0
    lost = fit_of(model.table(), columns, [np.nan, np.nan], Status.DIVERGED)
    known = estimated_uncertainty(settings, target, lost)
    assert len(known.ids) == 0
    assert known.truth_distances is None
    assert known.eigenvalues.shape == (3, 0)
    # And a start whose loss was finite in the fit, and is not here.
    odd = replace(lost, loss=np.array([1.0, np.nan]), status=np.array([1, 5], dtype=np.int8))
    known = estimated_uncertainty({**settings, "uncertainty": OPTIONS}, target, odd)
    assert {verdicts[0] for verdicts in known.verdicts.values()} == {Verdict.NOT_ASSESSED}


def test_the_information_of_degenerate_problems():
    nothing = information(np.zeros((2, 2)), np.zeros(2), 1.0, 10, np.array([True, True]))
    assert nothing.rank == 0
    assert np.isinf(nothing.errors).all()
    np.testing.assert_array_equal(nothing.correlations, np.eye(2))
    none = information(np.eye(2), np.zeros(2), 1.0, 10, np.array([False, False]))
    assert np.isnan(none.errors).all()
    few = information(np.eye(2), np.zeros(2), 1.0, 2, np.array([True, True]))
    assert np.isnan(few.variance)
    assert np.isnan(few.errors).all()
    perfect = information(np.eye(2), np.zeros(2), 0.0, 10, np.array([True, True]))
    np.testing.assert_array_equal(perfect.errors, 0.0)


def test_terms_without_residuals_are_left_out(user, noisy):
    target, fit = noisy
    peak = {"kind": f"{user}:Peak", "weight": 0.5}
    squared = {"kind": "squared_error", "state": "V", "weight": 2.0}
    plain = estimated_uncertainty({**SETTINGS, "uncertainty": OPTIONS}, target, fit)
    both = estimated_uncertainty({**SETTINGS, "loss": [squared, peak], "uncertainty": OPTIONS}, target, fit)
    for name in TRUTH:
        # A weight changes nothing, since the noise is estimated too.
        np.testing.assert_allclose(both.naive_errors[name], plain.naive_errors[name], rtol=1e-8)
    assert both.noise[0] == pytest.approx(plain.noise[0])
    alone = estimated_uncertainty({**SETTINGS, "loss": [peak], "uncertainty": OPTIONS}, target, fit)
    assert {verdicts[0] for verdicts in alone.verdicts.values()} == {Verdict.NOT_ASSESSED}


def test_only_samples_that_count_are_counted(noisy):
    target, fit = noisy
    half = [{"kind": "squared_error", "state": "V", "windows": [[0, 60]]}]
    known = estimated_uncertainty({**SETTINGS, "loss": half, "uncertainty": OPTIONS}, target, fit)
    assert known.samples[0] == 2 * 60
    assert known.noise[0] == pytest.approx(NOISE, rel=0.2)
    short = replace(
        target,
        time=target.time[:60],
        stimulus=target.stimulus[:60],
        observed={"V": target.observed["V"][:60]},
    )
    same = estimated_uncertainty({**SETTINGS, "uncertainty": OPTIONS}, short, fit)
    for name in TRUTH:
        np.testing.assert_allclose(known.naive_errors[name], same.naive_errors[name], rtol=1e-8)
    assert known.noise[0] == pytest.approx(same.noise[0])
