"""Preparation of recordings: corrections in closed form, repeats, and samples that do not count."""

import numpy as np
import pytest

from odynn import recordings, storage
from odynn.data import Recording
from odynn.errors import RecordingError
from odynn.recordings.preparation import correct, find_jumps, find_uncounted

TIME = np.arange(0, 100.0, 0.5)


def make(amplitudes=(0.0, 100.0, 200.0), unit="pA", V=-65.0, voltage="mV"):
    """Return steps of current from 20 to 60 ms and a constant voltage."""
    on = (TIME >= 20) & (TIME < 60)
    stimulus = on[:, None] * np.array(amplitudes)
    return Recording(
        time=TIME,
        stimulus=stimulus,
        responses={"V": np.full(stimulus.shape, V)},
        units={"stimulus": unit, "V": voltage},
        sweeps=np.arange(len(amplitudes)) + 3,
        source={"file": "memory"},
        labels=tuple("abcdefgh"[: len(amplitudes)]),
    )


def test_nothing_asked_changes_nothing():
    recording = make()
    assert correct(recording, None) is recording
    assert correct(recording, {"repeats": [], "baseline": {}, "holding": None, "mask": []}) is recording
    uncounted, notes = find_uncounted(recording, {"blank": {"before": 0, "after": 0, "jump": None}})
    assert not uncounted.any() and notes == {}


@pytest.mark.parametrize(("unit", "scale"), [("pA", 1.0), ("nA", 1e-3), ("A", 1e-12)])
@pytest.mark.parametrize(("voltage", "fold"), [("mV", 1.0), ("V", 1e-3)])
def test_corrections_in_any_unit(unit, scale, voltage, fold):
    """-65 − 14.4 − 20 MΩ · (100 + 50) pA = −82.4 mV."""
    recording = make(np.array([0.0, 100.0, 200.0]) * scale, unit, -65 * fold, voltage)
    found = correct(recording, {"junction_potential": 14.4, "bridge": 20.0, "holding": 50.0})
    during = TIME.searchsorted(40)
    np.testing.assert_allclose(found.stimulus[during], np.array([50, 150, 250]) * scale, rtol=1e-12)
    np.testing.assert_allclose(
        found.responses["V"][during], np.array([-80.4, -82.4, -84.4]) * fold, rtol=1e-12
    )
    np.testing.assert_allclose(found.responses["V"][0], -80.4 * fold, rtol=1e-12)
    assert found.source["holding"] == "50 pA added to the stimulus"
    assert found.source["bridge"] == "20 MΩ times the stimulus subtracted from the voltage"
    assert found.source["junction potential"] == "14.4 mV subtracted from the voltage"
    assert recording.stimulus[0, 0] == 0  # what was read is left as it is


def test_baseline_of_each_sweep():
    recording = make()
    drifting = Recording(
        **{**vars(recording), "stimulus": recording.stimulus + np.array([-26.0, -25.0, 4.0])}
    )
    found = correct(drifting, {"baseline": {"stimulus": [0, 19.5]}})
    np.testing.assert_allclose(found.stimulus, recording.stimulus, atol=1e-12)
    assert found.source["baseline of stimulus"].startswith("the mean of 0 to 19.5 ms, -26 to 4 pA")
    with pytest.raises(RecordingError, match="baseline.stimulus: expected times within memory, 0 to 99.5 ms"):
        correct(recording, {"baseline": {"stimulus": [200, 300]}})
    with pytest.raises(RecordingError, match="expected a channel of memory.*Received: 'Ca'"):
        correct(recording, {"baseline": {"Ca": [0, 10]}})


def test_repeats_are_averaged():
    recording = make((100.0, 100.0, 200.0))
    noisy = Recording(**{**vars(recording), "responses": {"V": np.full((200, 3), [-64.0, -66.0, -50.0])}})
    found = correct(noisy, {"repeats": [[4, 3]]})
    assert found.sweeps.tolist() == [4, 5]
    assert found.labels == ("b", "c")
    assert found.responses["V"][0].tolist() == [-65.0, -50.0]
    target = recordings.prepare(noisy, dt=0.5, area=100.0, preparation={"repeats": [[4, 3]]}, train=[4])
    assert target.sweeps.tolist() == [4, 5] and target.train.tolist() == [True, False]
    assert target.source["repeats"] == "averaged: 4, 3"
    for groups, received in (([[3, 9]], "no sweep 9"), ([[3, 4], [4, 5]], "twice 4")):
        with pytest.raises(RecordingError, match=f"preparation.repeats: .*3, 4, 5.*Received: {received}"):
            correct(noisy, {"repeats": groups})


def test_jumps_are_found_in_noise():
    recording = make((0.0, 40.0, 400.0))
    noise = np.random.default_rng(1).normal(0, 0.6, recording.stimulus.shape)
    noisy = Recording(**{**vars(recording), "stimulus": recording.stimulus + noise})
    samples, sweeps = np.nonzero(find_jumps(noisy))
    assert TIME[samples].tolist() == [20, 20, 60, 60]
    assert sorted(sweeps) == [1, 1, 2, 2]
    assert np.nonzero(find_jumps(noisy, 100.0))[1].tolist() == [2, 2]


def test_masked_samples_do_not_count(tmp_path):
    preparation = {"mask": [[80, 85]], "blank": {"before": 0.5, "after": 1.0}}
    recording = make()
    recording.responses["V"][TIME.searchsorted(82), 1] = np.nan  # a gap where it does not matter
    with pytest.raises(RecordingError, match="sweep 4, sample 164"):
        recordings.prepare(recording, dt=0.5, area=100.0)
    target = recordings.prepare(recording, dt=0.5, capacitance=1.0, preparation=preparation, initial=True)
    gone = [target.time[np.isnan(column)] for column in target.observed["V"].T]
    masked = np.arange(80, 85.25, 0.5).tolist()
    assert gone[0].tolist() == masked  # a sweep without a step has no jump
    assert gone[1].tolist() == [19.5, 20, 20.5, 21, 59.5, 60, 60.5, 61, *masked]
    assert target.stimulus[:, 1].max() == 100.0  # 100 pA over 1 pF, at 1 µF/cm²
    assert target.source["mask"] == "80 to 85 ms do not count"
    assert "4 jumps of the stimulus" in target.source["blank"]
    assert target.source["stimulus"] == "pA over 100 µm² (1 pF at 1 µF/cm²) converted to µA/cm²"
    storage.write_target(tmp_path / "target.h5", target, {})
    stored = storage.read_target(tmp_path / "target.h5")
    np.testing.assert_array_equal(np.isnan(stored.observed["V"]), np.isnan(target.observed["V"]))
    assert dict(stored.source) == dict(target.source)


@pytest.mark.parametrize(("dt", "resample"), [(0.5, "mean"), (2.0, "mean"), (0.2, "mean"), (2.0, "sample")])
def test_a_step_counts_where_all_its_samples_do(dt, resample):
    recording = make()
    recording.responses["V"][:, 0] = np.linspace(-80, 20, TIME.size)
    preparation = {"mask": [[30.0, 33.0]]}
    whole = recordings.prepare(recording, dt=dt, area=1e2, resample=resample).observed["V"]
    found = recordings.prepare(recording, dt=dt, area=1e2, resample=resample, preparation=preparation)
    seen = ~np.isnan(found.observed["V"])
    np.testing.assert_allclose(found.observed["V"][seen], whole[seen], rtol=1e-12)
    assert not seen[(found.time >= 30) & (found.time <= 33)].any()
    half = dt / 2 + 0.5
    assert seen[(found.time < 30 - half) | (found.time > 33 + half)].all()


def test_simulations_start_from_the_first_voltage_that_counts():
    recording = make()
    recording.responses["V"][:] = np.linspace(-80, 20, TIME.size)[:, None]
    preparation = {"mask": [[0, 5]]}
    target = recordings.prepare(recording, dt=0.5, area=1e2, preparation=preparation, initial=True)
    np.testing.assert_allclose(target.initial, recording.responses["V"][11])


def weighed(entries, **changes):
    given = {"dt": 0.5, "area": 1e2, "train": [3, 5]} | changes
    return recordings.prepare(make(), preparation={"weights": entries}, **given)


def test_weights_of_sweeps_and_times(tmp_path):
    entries = [
        {"weight": 2.0, "sweeps": [5]},
        {"weight": 3.0, "times": [[40, 45], [44, 50]]},
        {"weight": 0.0, "sweeps": [3], "times": [[48, 60]]},
    ]
    target = weighed(entries, window=[20, 80])
    assert target.weights.shape == target.stimulus.shape
    time = target.time + 20  # of the recording
    thrice, never = (time >= 40) & (time <= 50), (time >= 48) & (time <= 60)
    assert thrice.sum() == 21 and never.sum() == 25
    np.testing.assert_array_equal(target.weights[:, 0], np.where(never, 0.0, np.where(thrice, 3.0, 1.0)))
    np.testing.assert_array_equal(target.weights[:, 2], np.where(thrice, 6.0, 2.0))
    assert (target.weights[:, 1] == 1).all()  # held out
    assert not np.isnan(target.observed["V"]).any()  # what the fit ignores is still there
    assert (
        target.source["weights"] == "2 for sweeps 5; 3 for 40 to 45, 44 to 50 ms; 0 for sweeps 3, 48 to 60 ms"
    )
    assert target.select(target.train).weights.shape == (120, 2)
    storage.write_target(tmp_path / "target.h5", target, {})
    np.testing.assert_array_equal(storage.read_target(tmp_path / "target.h5").weights, target.weights)


def test_no_weights():
    target = weighed([])
    assert target.weights is None and target.select(target.train).weights is None
    assert "weights" not in target.source


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"sweeps": [3, 4]}, r"weights\[1\].sweeps: .*fitted, which are 3, 5; .*Received: 4\. Take it out"),
        ({"sweeps": [9]}, r"weights\[1\].sweeps: .*Received: 9"),
        ({"times": [[10, 20], [0.7, 0.9]]}, r"weights\[1\].times: .*0.5 to 99.5 ms. Received: \[0.7, 0.9\]"),
        ({"times": [[200, 300]]}, r"weights\[1\].times: expected times within the part of the recording"),
        ({"weight": -1.0}, r"weights\[1\].weight: expected a number ≥ 0. Received: -1.0"),
        ({"weight": None}, r"weights\[1\].weight: expected a number ≥ 0. Received: None"),
        ({"weight": 0.0, "sweeps": [5]}, r"preparation.weights: .*in every sweep.*Received: none in sweep 5"),
    ],
)
def test_weights_that_cannot_be(entry, message):
    with pytest.raises(RecordingError, match=message):
        weighed([{"weight": 2.0, "times": [[10, 20]]}, {"weight": 2.0} | entry])


def test_weights_of_a_part_that_is_too_short():
    with pytest.raises(RecordingError, match=r"dt: expected a step that fits at least twice") as caught:
        weighed([{"weight": 2.0, "times": [[20, 21]]}], window=[20, 20.5])
    assert "weights" not in str(caught.value)


def test_a_sweep_of_which_nothing_counts_is_refused():
    with pytest.raises(RecordingError, match="at least one sample of every sweep.*none in sweep 3"):
        recordings.prepare(make(), dt=0.5, area=1e2, preparation={"mask": [[-1, 1000]]})


def test_corrections_that_do_not_fit():
    dense = make(unit="uA/cm^2", amplitudes=(0.0, 1.0))
    assert correct(dense, {"holding": 2.0}).stimulus[0].tolist() == [2, 2]
    with pytest.raises(RecordingError, match="preparation.bridge: .*Received: a density"):
        correct(dense, {"bridge": 10.0})
    calcium = Recording(
        **{**vars(dense), "responses": {"Ca": dense.stimulus}, "units": dict(dense.units) | {"Ca": "1"}}
    )
    with pytest.raises(RecordingError, match="preparation.junction_potential: expected a recorded voltage"):
        correct(calcium, {"junction_potential": 10.0})


def test_area_or_capacitance_and_not_both():
    with pytest.raises(RecordingError, match="capacitance: .*Received: both"):
        recordings.prepare(make(), dt=0.5, area=100.0, capacitance=20.0)
    with pytest.raises(RecordingError, match="capacitance: expected a positive number in pF. Received: -1"):
        recordings.prepare(make(), dt=0.5, capacitance=-1)
    with pytest.raises(RecordingError, match="area: .*the capacitance in pF"):
        recordings.prepare(make(), dt=0.5)
