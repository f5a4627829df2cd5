"""Weights of sweeps and times, from a configuration to the report: an artefact that no fit should follow."""

import numpy as np
import pytest

from odynn import config, stages, storage
from odynn.models import load_model

TRUTH = {"C_m": 1.4, "g_L": 0.08, "E_L": -62.0}
DT, ARTEFACT = 0.5, (100.0, 130.0)
SHARD = "000000-000001"


def recording(path):
    """Write a recording of a leaky neuron in four sweeps, with an artefact in all of them."""
    time = np.arange(0, 200.0, DT)
    stimulus = ((time >= 20) & (time < 160))[:, None] * np.array([1.0, -1.0, 2.0, -0.5])
    model = load_model("leaky")
    neuron = model(TRUTH, dt=DT)
    neuron._init_state = np.array([TRUTH["E_L"]])
    V = np.concatenate([np.full((1, 4), TRUTH["E_L"]), neuron.calculate(stimulus)[:-1, 0]])
    V = V + np.random.default_rng(2).normal(0, 0.1, V.shape)
    V[(time >= ARTEFACT[0]) & (time <= ARTEFACT[1])] += 25.0
    columns = [f"{name}_{sweep}" for sweep in range(4) for name in ("stimulus_uA/cm2", "voltage_mV")]
    values = np.stack([stimulus, V], axis=2).reshape(len(time), 8)
    np.savetxt(
        path,
        np.column_stack([time, values]),
        delimiter=",",
        header=",".join(["time_ms", *columns]),
        comments="",
    )


def run(folder, weights):
    """Run the stages up to the figures, and give the folder of the results."""
    raw = {
        "model": "leaky",
        "dt": DT,
        "precision": "float64",
        "target": {"file": "cell.csv", "train": [0, 1, 2], "preparation": {"weights": weights}},
        "starts": {"number": 2, "shard_size": 2, "regression": True},
        "plot": {"dpi": 40},
    }
    checked = config.from_mapping({"experiments": {"x": raw}}, folder, "config.yaml")

    def settings(stage):
        return checked.settings("x", stage)

    out = folder / f"{len(weights)} weights"
    path = {name: out / f"{name}.h5" for name in ("target", "starts", "simulated", "fit", "best", "errors")}
    fits = [out / "fits" / f"{SHARD}.h5"]
    stages.make_target(settings("make_target"), path["target"])
    stages.get_random(settings("get_random"), SHARD, path["starts"], path["target"])
    inputs = path["target"], path["starts"]
    stages.simulate_starts(settings("simulate_starts"), *inputs, SHARD, path["simulated"])
    stages.fit(settings("fit"), *inputs, path["simulated"], SHARD, fits[0])
    stages.merge_fits(settings("merge_fits"), fits, path["fit"], out / "fit.csv")
    if weights:
        stages.simulate_best(settings("simulate_best"), path["target"], path["fit"], path["best"])
        stages.uncertainty(settings("uncertainty"), path["target"], path["fit"], path["errors"])
        made = path["target"], path["fit"], path["best"], path["errors"]
        figures, tables = out / "figures", out / "tables"
        stages.plot_results(settings("plot_results"), *made, figures, tables)
        stages.report(settings("report"), *made, figures, tables, out / "report.html")
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    recording(folder / "cell.csv")
    return folder


@pytest.fixture(scope="module")
def weighed(folder):
    weights = [{"weight": 0, "times": [list(ARTEFACT)]}, {"weight": 3, "sweeps": [2]}]
    return run(folder, weights)


def test_the_fit_ignores_what_has_no_weight(folder, weighed):
    found = storage.read_fit(weighed / "fit.h5")
    starts = storage.read_starts(weighed / "starts.h5")
    for name, value in TRUTH.items():
        assert found.values[name][0] == pytest.approx(value, rel=0.02), name
    assert starts.values["g_L"] == pytest.approx(found.values["g_L"][0], rel=0.5)  # by regression
    assert found.loss[0] == pytest.approx(0.1**2, rel=0.1)
    misled = storage.read_fit(run(folder, []) / "fit.h5")
    assert abs(misled.values["E_L"][0] - TRUTH["E_L"]) > 1


def test_scores_know_no_weights(weighed):
    target, found = storage.read_target(weighed / "target.h5"), storage.read_fit(weighed / "fit.h5")
    share = np.mean(target.weights[:, 0] == 0)
    assert share == pytest.approx(61 / 399)
    for errors in (found.rmse_train, found.rmse_test):
        assert errors["V"][0] == pytest.approx(25 * share**0.5, rel=0.01)
    best = storage.read_best(weighed / "best.h5")
    np.testing.assert_allclose(best.scores["rmse_V"][:, 0], 25 * share**0.5, rtol=0.01)


def test_the_uncertainty_is_that_of_what_was_fitted(weighed):
    errors = storage.read_uncertainty(weighed / "errors.h5")
    assert errors.samples[0] == 3 * 338
    # The noise of a sample of the mean weight: a sweep of weight 3 is as noisy as the others here.
    assert errors.noise[0] == pytest.approx(0.1, rel=0.05)
    for name, value in TRUTH.items():
        assert abs(errors.values[name][0] - value) < 6 * errors.naive_errors[name][0], name


def test_the_report_says_so(weighed):
    text = (weighed / "report.html").read_text("utf-8")
    assert "0 for 100 to 130 ms; 3 for sweeps 2" in text
