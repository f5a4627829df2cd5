"""Voltage clamp from a recording to a target, its units, and what is refused before a run."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from odynn import plotting, recordings
from odynn.config import from_mapping
from odynn.data import Best, Recording
from odynn.errors import ConfigError, ModelError, RecordingError
from odynn.models import load_model
from odynn.models.clamp import ClampedMembrane, clamped, model_under
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator
from odynn.stages import make_target
from odynn.storage import read_target

TIME = np.arange(0, 60.0, 0.5)
COMMAND = np.where((TIME >= 20) & (TIME < 40), 20.0, -80.0)[:, None] + np.array([0.0, 10.0])


def make(current=0.25, unit="nA", command=COMMAND, stimulus="mV"):
    """Return two sweeps of a command and a constant current."""
    return Recording(
        time=TIME,
        stimulus=command,
        responses={"I": np.full(command.shape, current)},
        units={"stimulus": stimulus, "I": unit},
        sweeps=np.arange(2),
        source={"file": "memory"},
    )


def test_a_command_and_a_current_become_a_target():
    target = recordings.prepare(make(), dt=0.5, initial=True)
    assert target.clamp == "voltage"
    assert target.units == {"I": "nA", "stimulus": "mV"}
    np.testing.assert_array_equal(target.stimulus, COMMAND[:-1])
    np.testing.assert_array_equal(target.initial, [-80.0, -70.0])
    assert (target.observed["I"] == 0.25).all()
    assert target.source["stimulus"] == "the command voltage, in mV"
    assert recordings.prepare(make(), dt=0.5).initial is None


@pytest.mark.parametrize(
    ("unit", "current", "options", "wanted", "value"),
    [
        ("pA", 250.0, {}, "nA", 0.25),
        ("nA", 0.25, {"current": "pA"}, "pA", 250.0),
        # 250 pA over 1000 µm² are 250e-6 µA over 1e-5 cm².
        ("nA", 0.25, {"area": 1000.0}, "µA/cm²", 25.0),
        ("nA", 0.25, {"capacitance": 10.0}, "µA/cm²", 25.0),
        ("nA", 0.25, {"area": 1000.0, "current": "µA/cm²"}, "µA/cm²", 25.0),
        ("A/m^2", 0.25, {}, "µA/cm²", 25.0),
    ],
)
def test_units_of_the_current(unit, current, options, wanted, value):
    target = recordings.prepare(make(current, unit), dt=0.5, **options)
    assert target.units["I"] == wanted
    np.testing.assert_allclose(target.observed["I"], value, rtol=1e-12)


def test_a_command_in_volts():
    target = recordings.prepare(make(command=COMMAND / 1000, stimulus="V"), dt=0.5)
    np.testing.assert_allclose(target.stimulus, COMMAND[:-1], rtol=1e-12)
    assert target.source["stimulus"] == "V converted to mV"


@pytest.mark.parametrize(
    ("recording", "options", "words"),
    [
        (make(), {"current": "µA/cm²"}, ["area: the recorded current", "nA", "density"]),
        (make(), {"current": "nA", "area": 100.0}, ["whole cell", "without an area", "Remove area"]),
        (make(1.0, "uA/cm^2"), {"current": "nA"}, ["whole cell", "uA/cm^2"]),
        (make(stimulus="pA"), {}, ["a command in mV", "pA", "units: {stimulus: mV}"]),
        (make(command=COMMAND / 1000), {}, ["the command voltage", "numbers in V", "units: {stimulus: V}"]),
        (make(command=COMMAND * 1000), {}, ["within ±300 mV", "units: {stimulus: …}"]),
    ],
)
def test_what_cannot_be_right_is_refused(recording, options, words):
    with pytest.raises(RecordingError) as refusal:
        recordings.prepare(recording, dt=0.5, **options)
    for word in words:
        assert word in str(refusal.value), word


def test_a_current_beside_a_voltage_is_left_out():
    recording = make(stimulus="pA")
    both = {"V": np.full(COMMAND.shape, -60.0), "I": recording.responses["I"]}
    recording = replace(recording, responses=both, units=dict(recording.units) | {"V": "mV"})
    target = recordings.prepare(recording, dt=0.5, area=100.0)
    assert set(target.observed) == {"V"} and target.clamp == "current"
    assert "voltage clamp alone" in target.source["I"]


def test_blanked_edges_do_not_count():
    target = recordings.prepare(make(), dt=0.5, preparation={"blank": {"after": 2.0}})
    gone = target.time[np.isnan(target.observed["I"]).any(axis=1)]
    assert set(gone) == {20, 20.5, 21, 21.5, 22, 40, 40.5, 41, 41.5, 42}


def test_a_model_in_voltage_clamp():
    herg, leaky = clamped(load_model("herg")), clamped(load_model("leaky"))
    assert herg.states == ("V", "a", "r", "I") and leaky.states == ("V", "I")
    assert [herg.state_unit(state) for state in herg.states] == ["mV", "1", "1", "nA"]
    assert leaky.current_unit == "µA/cm²" and load_model("herg").current_unit == "nA"
    assert clamped(load_model("herg")) is herg and clamped(herg) is herg
    assert isinstance(herg.membrane, ClampedMembrane)
    assert model_under(load_model("leaky"), "current") is load_model("leaky")
    assert clamped(load_model("celegans")).ions == load_model("celegans").ions
    with pytest.raises(ModelError, match=r"step of its own.*voltage clamp.*membrane = Membrane"):
        clamped(
            load_model(
                f"{load_model.__globals__['__file__'].replace('registry', 'template')}:ResonantMembrane"
            )
        )


def experiment(tmp_path, **keys):
    path = tmp_path / "clamp.h5"
    with h5py.File(path, "w") as file:
        for name, values, unit in (
            ("time", TIME, "ms"),
            ("stimulus", COMMAND, "mV"),
            ("recorded_current", np.full(COMMAND.shape, 0.25), "nA"),
        ):
            file[name] = values
            file[name].attrs["units"] = unit
    settings = {"model": "herg", "dt": 0.5, "target": {"file": str(path)}, "loss": {"I": 1.0}} | keys
    return from_mapping({"experiments": {"x": settings}}, tmp_path, "my.yaml").experiments["x"]


def test_an_experiment_in_voltage_clamp(tmp_path):
    settings = experiment(tmp_path)
    make_target(settings, tmp_path / "target.h5")
    target = read_target(tmp_path / "target.h5")
    assert target.clamp == "voltage" and target.units["I"] == "nA"
    np.testing.assert_array_equal(target.initial, [-80.0, -70.0])
    dense = experiment(tmp_path, model="leaky", target={"file": str(tmp_path / "clamp.h5"), "area": 1000.0})
    make_target(dense, tmp_path / "dense.h5")
    assert read_target(tmp_path / "dense.h5").units["I"] == "µA/cm²"


SYNTHETIC = {"duration": 10, "sweeps": [[{"step": -60, "from": 0, "to": 10}]]}
PULLED = {"stages": [{"method": "levenberg_marquardt", "nudge": 4.0}]}


@pytest.mark.parametrize(
    ("keys", "pattern"),
    [
        ({"model": "leaky"}, r"x\.target\.area: the recorded current is a current \(nA\)"),
        ({"model": "leaky", "loss": "default"}, r"loss: {I: 1\.0}"),
        ({"loss": {"V": 1.0}}, r"the loss needs, V\. Received: the recorded current\. .*loss: {I: 1\.0}"),
        ({"fit": PULLED}, r"x\.fit\.stages\[0\]\.nudge: .*prescribed.*Write nudge: 0"),
        (
            {"target": {"synthetic": SYNTHETIC}, "loss": {"V": 1.0}},
            r"x\.target\.synthetic\.observed: HERG .*in nA.*Write observed: \[I\]",
        ),
        (
            {"target": {"synthetic": SYNTHETIC | {"observed": ["I"]}}, "loss": {"V": 1.0}},
            r"x\.loss\.V: the synthetic target does not record 'V'",
        ),
    ],
)
def test_experiments_that_are_refused(tmp_path, keys, pattern):
    with pytest.raises(ConfigError, match=pattern):
        experiment(tmp_path, **keys)


def test_a_current_clamp_recording_for_a_model_of_a_whole_cell(tmp_path):
    with h5py.File(tmp_path / "current.h5", "w") as file:
        for name, values, unit in (
            ("time", TIME, "ms"),
            ("stimulus", COMMAND, "pA"),
            ("voltage", COMMAND, "mV"),
        ):
            file[name] = values
            file[name].attrs["units"] = unit
    with pytest.raises(ConfigError, match=r"current in nA, in voltage clamp.*a stimulus in pA"):
        experiment(tmp_path, target={"file": str(tmp_path / "current.h5"), "area": 100.0}, loss={"V": 1.0})


def test_figures_say_the_units():
    target = recordings.prepare(make(), dt=0.5, initial=True)
    model = clamped(load_model("herg"))
    values = {name: np.array([value]) for name, value in model.default_params.items()}
    states = Simulator(Dynamics(model, 0.5)).traces(values, target.stimulus, target.initial)
    best = Best(
        ids=np.array([0]),
        time=target.time,
        states=states,
        currents={"I_Kr": states["I"]},
        scores={},
        units={state: model.state_unit(state) for state in states} | {"I_Kr": "nA"},
        sweeps=target.sweeps,
        train=target.train,
    )
    for figure in (plotting.traces(target, best), plotting.details(target, best)):
        labels = [axes.get_ylabel() for axes in figure.axes]
        assert "current (nA)" in labels and "stimulus\n(mV)" in labels
        assert not any("µA" in label for label in labels)
    assert "voltage (mV)" not in labels and "currents\n(nA)" in labels
