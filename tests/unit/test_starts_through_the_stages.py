"""Shared parameters, fitted initial states, designs and the regression, from a config to the report."""

import numpy as np
import pandas as pd
import pytest

from odynn import config, stages, storage
from odynn.models import load_model

RAW = {
    "experiments": {
        "x": {
            "model": "hodghuxsimple",
            "dt": 2.0,
            "precision": "float64",
            "initial_state": "fitted",
            "target": {
                "synthetic": {
                    "duration": 160,
                    "sweeps": [
                        [{"step": 3, "from": 20, "to": 120}],
                        [{"step": 6, "from": 40, "to": 90}],
                    ],
                    "noise": {"V": 0.2},
                }
            },
            "parameters": {
                "shared": {"tau": ["a__tau", "b__tau"]},
                "ranges": {"b__initial": [0.8, 1.0]},
                "fixed": {"E_L": -60},
            },
            "starts": {"number": 5, "shard_size": 3, "design": "latin_hypercube", "regression": True},
            "fit": {"stages": [{"method": "levenberg_marquardt", "iterations": 3}]},
            "best": {"number": 2},
            "plot": {"dpi": 40},
        }
    }
}
INITIAL = ("a__initial", "b__initial")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run every stage, and give the folder of the results and the configuration."""
    folder = tmp_path_factory.mktemp("run")
    checked = config.from_mapping(RAW, folder, "config.yaml")

    def settings(stage):
        return checked.settings("x", stage)

    target, fit, best, errors = (folder / f"{name}.h5" for name in ("target", "fit", "best", "uncertainty"))
    stages.make_target(settings("make_target"), target)
    shards = checked.shards("x")
    for shard in shards:
        starts, simulated, fitted = (
            folder / kind / f"{shard}.h5" for kind in ("starts", "simulated", "fits")
        )
        stages.get_random(settings("get_random"), shard, starts, target)
        stages.simulate_starts(settings("simulate_starts"), target, starts, shard, simulated)
        stages.fit(settings("fit"), target, starts, simulated, shard, fitted)
    fits = [folder / "fits" / f"{shard}.h5" for shard in shards]
    stages.merge_fits(settings("merge_fits"), fits, fit, folder / "fit.csv")
    stages.simulate_best(settings("simulate_best"), target, fit, best)
    stages.uncertainty(settings("uncertainty"), target, fit, errors)
    inputs = target, fit, best, errors
    figures, tables = folder / "figures", folder / "tables"
    stages.plot_results(settings("plot_results"), *inputs, figures, tables)
    stages.report(settings("report"), *inputs, figures, tables, folder / "report.html")
    return folder, checked


def test_the_starts_say_who_follows_and_where_states_begin(run):
    folder, checked = run
    parts = [storage.read_starts(folder / "starts" / f"{shard}.h5") for shard in checked.shards("x")]
    assert [part.ids.tolist() for part in parts] == [[0, 1, 2], [3, 4]]
    rows = parts[0].parameters
    assert rows == parts[1].parameters
    assert rows["b__tau"].follows == "a__tau" and not rows["b__tau"].free
    assert list(rows)[-2:] == list(INITIAL)
    for name in INITIAL:
        assert rows[name].free and rows[name].bounds == (0.0, 1.0) and rows[name].unit == "1"
    values = {name: np.concatenate([part.values[name] for part in parts]) for name in rows}
    np.testing.assert_array_equal(values["a__tau"], values["b__tau"])
    slices = np.floor(5 * (values["b__initial"] - 0.8) / 0.2)
    assert sorted(slices) == list(range(5))


def test_the_shards_do_not_matter(run, tmp_path):
    folder, checked = run
    whole = tmp_path / "all.h5"
    stages.get_random(checked.settings("x", "get_random"), "000000-000004", whole, folder / "target.h5")
    found = storage.read_starts(whole)
    for shard in checked.shards("x"):
        part = storage.read_starts(folder / "starts" / f"{shard}.h5")
        chosen = found.select(part.ids)
        for name, column in part.values.items():
            np.testing.assert_array_equal(column, chosen.values[name])


def test_starts_name_the_target_that_they_were_regressed_on(run):
    folder, checked = run
    stamp = storage.read_stamp(folder / "starts" / f"{checked.shards('x')[0]}.h5")
    assert set(stamp["inputs"]) == {"target"}
    assert stamp["settings"]["starts"]["number"] == 5


def test_the_fit_moves_groups_and_initial_values(run):
    folder, _ = run
    fit = storage.read_fit(folder / "fit.h5")
    assert len(fit.ids) == 5
    np.testing.assert_array_equal(fit.values["a__tau"], fit.values["b__tau"])
    for name in ("a__tau", *INITIAL):
        assert not np.array_equal(fit.values[name], fit.start_values[name])
    assert (fit.loss < fit.start_loss).any()


def test_the_best_runs_begin_where_the_fit_says(run):
    folder, _ = run
    fit, best = storage.read_fit(folder / "fit.h5"), storage.read_best(folder / "best.h5")
    target = storage.read_target(folder / "target.h5")
    model = load_model("hodghuxsimple")
    for rank in range(2):
        neuron = model({name: fit.values[name][rank] for name in model.parameter_names}, dt=2.0)
        begin = [fit.values[name][rank] for name in INITIAL]
        neuron._init_state = np.array([model.default_init_state[0], *begin])
        V = neuron.calculate(target.stimulus)[:, 0]
        np.testing.assert_allclose(best.states["V"][..., rank], V, atol=1e-4)
        errors = (V - target.observed["V"])[:, target.train]
        assert fit.rmse_train["V"][rank] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)


def test_the_truth_tells_the_initial_states(run):
    folder, _ = run
    target, model = storage.read_target(folder / "target.h5"), load_model("hodghuxsimple")
    assert [target.truth[name] for name in INITIAL] == model.default_init_state[1:].tolist()


def test_tables_and_report_tell_groups_from_what_is_fixed(run):
    folder, _ = run
    table = pd.read_csv(folder / "tables" / "parameters.csv").set_index("name")
    assert table.loc["b__tau", "verdict"] == "as a__tau"
    assert table.loc["b__tau", "best"] == table.loc["a__tau", "best"]
    assert not table.loc["b__tau", "free"]
    assert table.loc["E_L", "verdict"] == "fixed"
    assert table.loc["b__initial", "truth"] == load_model("hodghuxsimple").default_init_state[2]
    assert "as a__tau" in (folder / "report.html").read_text("utf-8")
