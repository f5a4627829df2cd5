"""The terms of a loss that compare spikes."""

from dataclasses import fields, replace

import numpy as np
import pytest

from odynn import spikes
from odynn.config import from_mapping
from odynn.config.keys import experiment_schema
from odynn.data import Target
from odynn.errors import ConfigError, FitError, OdynnError
from odynn.fitting.losses.combination import make_loss
from odynn.fitting.losses.registry import KINDS
from odynn.fitting.losses.spikes import SpikeCount, SpikeFeatures, SpikeTimes
from odynn.fitting.problem import Problem
from odynn.models import load_model
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator
from odynn.spikes import features as module
from odynn.spikes.detection import PROMINENCE, WIDTH

TIME = 0.1 * np.arange(1, 3001)
TRAINS = ([100.0], [60.0, 150.0, 240.0], [])


def traces(*starts, rest=-65.0):
    """Return [time, sweep, start] with spikes of 1 ms at these times of each sweep of each start."""
    found = np.full((len(TIME), len(starts[0]), len(starts)), rest)
    for start, trains in enumerate(starts):
        for sweep, train in enumerate(trains):
            for peak in train:
                found[:, sweep, start] += 100 * np.exp(-0.5 * ((TIME - peak) / 0.5) ** 2)
    return found


@pytest.fixture
def target():
    stimulus = np.where((TIME > 50) & (TIME <= 250), 1.0, 0.0)[:, None] * np.arange(1.0, 4.0)
    observed = {"V": traces(TRAINS)[:, :, 0]}
    return Target(TIME, stimulus, observed, {"V": "mV"}, np.arange(3), np.ones(3, dtype=bool))


def shifted(by):
    return tuple([peak + by for peak in train] for train in TRAINS)


@pytest.mark.parametrize("kind", ["spike_times", "spike_count", "spike_features"])
def test_the_recording_itself_has_no_loss(target, kind):
    term = KINDS[kind]().prepare(target)
    values = term.values({"V": traces(TRAINS, shifted(3.0))})
    assert values.shape == (3, 2)
    assert values[:, 0] == pytest.approx(0.0)
    assert KINDS[kind]()._target is None  # the term of the configuration is as it was


@pytest.mark.parametrize("kind", ["spike_times", "spike_count", "spike_features"])
def test_each_start_is_by_itself(target, kind):
    voltage = traces(TRAINS, shifted(3.0), ([], [70.0], [30.0]), ([20.0, 30.0],) * 3).astype(np.float32)
    term = KINDS[kind]().prepare(target)
    together = term.values({"V": voltage})
    assert np.isfinite(together).all()
    for start in range(4):
        assert np.array_equal(together[:, [start]], term.values({"V": voltage[:, :, [start]]}))


def test_spike_times_are_worth_approaching(target):
    shifts = (0.0, 0.5, 2.0, 5.0, 10.0, 25.0)
    term = SpikeTimes().prepare(target)
    values = term.values({"V": traces(*map(shifted, shifts), ([],) * 3)})
    assert values[0, :6] == pytest.approx([shift / (shift + 10) for shift in shifts])
    assert values[1, :6] == pytest.approx([shift / (shift + 10) for shift in shifts])
    assert (np.diff(values[:2], axis=1) > 0).all()  # a silent cell comes last
    assert (values[2] == 0).all()
    slow = SpikeTimes(time_constant=30.0).prepare(target)
    assert slow.values({"V": traces(shifted(10.0))})[0, 0] == pytest.approx(0.25)
    recorded, simulated = target.observed["V"], traces(*map(shifted, shifts))
    gamma = spikes.gamma(spikes.spike_times(recorded, TIME), spikes.spike_times(simulated, TIME), 300.0)
    assert len(set(gamma[0, 3:])) == 1  # what Γ cannot tell apart


@pytest.mark.parametrize("term", [SpikeTimes(), SpikeCount()])
def test_silence_leads_to_the_threshold(target, term):
    silent = np.concatenate([traces(([],) * 3, rest=rest) for rest in (-90.0, -60.0, -40.0, -20.0)], axis=2)
    values = term.prepare(target).values({"V": silent})
    assert values[:2] == pytest.approx(np.tile(1 + np.array([1.0, 1.0, 0.6, 0.2]), (2, 1)))
    assert (values[2] == 0).all()
    plateau = traces(([],) * 3, rest=15.0)  # a block of depolarisation is no way there
    assert term.prepare(target).values({"V": plateau})[0, 0] == pytest.approx(1.5)


def test_spike_count_by_hand(target):
    found = (
        SpikeCount()
        .prepare(target)
        .values(
            {"V": traces(([10.0, 20.0, 30.0], [10.0, 40.0], [50.0, 70.0]), ([200.0], [5.0, 10.0, 15.0], []))}
        )
    )
    assert found == pytest.approx(np.array([[4.0, 0.0], [1 / 9, 0.0], [4.0, 0.0]]))


def test_the_threshold_counts(target):
    small = traces(shifted(0.0))
    small = -65 + 0.7 * (small + 65)  # peaks at 5 mV
    assert SpikeCount().prepare(target).values({"V": small}) == pytest.approx(0.0)
    assert (SpikeCount(threshold=10.0).prepare(target).values({"V": small})[:2] > 1).all()


def test_features_by_hand(target):
    pytest.importorskip("efel", reason="needs the extra 'features'")
    term = SpikeFeatures(features=["time_to_first_spike", "spike_count"]).prepare(target)
    latencies = np.array([50.0, 10.0])
    sd = latencies.std(ddof=1)
    values = term.values({"V": traces(TRAINS, shifted(7.0), ([],) * 3)})
    assert values[:2, 1] == pytest.approx((7.0 / sd) ** 2 / 2, rel=0.01)
    counts = np.array([1.0, 3.0, 0.0])
    missing = 10.0**2, (counts / counts.std(ddof=1)) ** 2
    assert values[:2, 2] == pytest.approx((missing[0] + missing[1][:2]) / 2)
    assert values[2] == pytest.approx(0.0)


def test_features_that_are_not_known_or_not_there(monkeypatch):
    pytest.importorskip("efel", reason="needs the extra 'features'")
    with pytest.raises(FitError, match="no feature 'AHP_deph'. Did you mean 'AHP_depth'"):
        SpikeFeatures(features=["AHP_deph"])
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(OdynnError, match="extra 'features'"):
        make_loss([{"kind": "spike_features", "weight": 1.0}])


@pytest.mark.parametrize("kind", ["spike_times", "spike_count", "spike_features"])
def test_options_and_defaults_are_those_of_the_schema(kind):
    forms = experiment_schema()["properties"]["loss"]["anyOf"]
    (branches,) = (form["items"]["allOf"] for form in forms if "items" in form)
    (entry,) = (one["then"] for one in branches if one["if"]["properties"]["kind"].get("const") == kind)
    options = {name: node for name, node in entry["properties"].items() if name not in ("kind", "weight")}
    known = {field.name: field.default for field in fields(KINDS[kind]) if field.init}
    assert set(options) == set(known)
    for name, node in options.items():
        assert node["default"] == (list(known[name]) if name == "features" else known[name])
    said = options["threshold"]["description"]
    assert f"{PROMINENCE:.0f} mV from what lies within {WIDTH:.0f} ms" in said
    if kind == "spike_features":
        assert options["features"]["items"]["enum"] == list(module.FEATURES)


def test_a_problem_sums_them_up(target):
    model = load_model("pospischil")
    names = ("spike_times", "spike_count")
    loss = make_loss(
        [{"kind": kind, "weight": weight} for kind, weight in zip(names, (2.0, 0.5), strict=True)]
    )
    problem = Problem(Dynamics(model, 0.1), target, loss, model.table(), 3)
    columns = {name: np.full(3, row.default) for name, row in model.table().items()}
    columns["g_Na"] = np.array([50.0, 20.0, 0.1])
    parts = problem.parts(np.array(list(columns.values())))
    voltage = Simulator(Dynamics(model, 0.1)).traces(columns, target.stimulus)["V"]
    for kind, weight in zip(names, (2.0, 0.5), strict=True):
        alone = KINDS[kind]().prepare(target).values({"V": voltage})
        assert parts[kind] == pytest.approx(weight * alone.mean(axis=0), rel=1e-6)
    assert len(set(np.round(parts["spike_times"], 6))) == 3


def test_methods_that_go_by_derivatives_are_refused(tmp_path):
    synthetic = {"duration": 10, "sweeps": [[{"step": 1.0, "from": 1, "to": 5}]] * 2}
    stage = {"method": "adam", "loss": [{"kind": "spike_times"}]}
    target = {"synthetic": synthetic}
    experiment = {"model": "pospischil", "dt": 0.1, "target": target, "fit": {"stages": [stage]}}
    with pytest.raises(ConfigError, match=r"stages\[0\]\.loss: adam goes by derivatives, .*spike_times"):
        from_mapping({"experiments": {"x": experiment}}, folder=tmp_path, name="c.yaml")


def test_the_truth_of_a_cell_has_the_lowest_loss(target):
    model = load_model("pospischil")
    truth = {"g_Na": 50.0, "g_Kd": 5.0, "g_L": 0.1, "g_M": 0.07, "E_L": -70.0, "V_T": -60.0}
    columns = {name: np.full(9, truth.get(name, row.default)) for name, row in model.table().items()}
    columns["g_L"] = 0.1 * 1.15 ** np.arange(-4.0, 5.0)
    simulator = Simulator(Dynamics(model, 0.1))
    voltage = simulator.traces(columns, target.stimulus)["V"]
    own = replace(target, observed={"V": voltage[:, :, 4].astype(float)})
    assert len(spikes.spike_times(own.observed["V"], TIME)) > 3
    values = SpikeTimes().prepare(own).values({"V": voltage}).mean(axis=0)
    assert values[4] == pytest.approx(0.0)
    assert (np.diff(values[4:]) > 0).all() and (np.diff(values[:5]) < 0).all()
