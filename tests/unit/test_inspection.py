"""A look at a recording: measures against closed forms, each doubt against a recording that deserves it."""

import logging
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest

from odynn import cli, config, plotting, recordings
from odynn.data import Recording
from odynn.findings import ERROR, NOTE, WARNING
from odynn.recordings.inspection import inspect
from odynn.recordings.steps import find_segments

INTERVAL = 0.1  # ms
TIME = INTERVAL * np.arange(8000)
ONSET, END = 200.0, 600.0  # ms
LEVELS = (-40.0, -20.0, 0.0, 20.0, 40.0)  # pA
R, TAU, REST, NOISE = 0.2, 20.0, -65.0, 0.3  # GΩ, ms, mV, mV


def leaky(levels=LEVELS, resistance=R, tau=TAU, rest=REST, noise=NOISE, holding=0.0, series=0.0, seed=3):
    """Return a recording of a passive cell under steps, from its closed form."""
    on = ((TIME >= ONSET) & (TIME < END))[:, None]
    stimulus = holding + on * np.asarray(levels)
    since = TIME[:, None] - ONSET
    rise = np.where(since > 0, 1 - np.exp(-np.maximum(since, 0) / tau), 0.0)
    fall = np.exp(-np.maximum(TIME[:, None] - END, 0) / tau)
    steady = 1 - np.exp(-(END - ONSET) / tau)
    course = np.where(TIME[:, None] < END, rise, steady * fall)
    V = rest + np.asarray(levels) * (resistance * course + series * on)
    V = V + noise * np.random.default_rng(seed).normal(size=V.shape)
    return make(stimulus, V)


def make(stimulus, V, unit="pA", interval=INTERVAL, response="V", **units):
    return Recording(
        time=interval * np.arange(len(V)),
        stimulus=np.asarray(stimulus, dtype=float),
        responses={response: np.asarray(V, dtype=float)},
        units={"stimulus": unit, response: "mV"} | units,
        sweeps=np.arange(V.shape[1]),
        source={"file": "cell.h5"},
    )


def with_spikes(recording, sweep, times, height=90.0):
    """Return the recording with spikes of 1 ms in one sweep."""
    V = recording.responses["V"].copy()
    for at in times:
        V[:, sweep] += height * np.exp(-(((TIME - at) / 0.4) ** 2))
    return replace(recording, responses={"V": V})


def texts(found, weight=None):
    return [remark.text for remark in found.remarks if weight in (None, remark.weight)]


def said(found, *parts, weight=WARNING):
    """Check that one remark of this weight has these parts, in this order, and return it."""
    matches = [text for text in texts(found, weight) if re.search(".*".join(parts), text)]
    assert len(matches) == 1, texts(found)
    return matches[0]


def write(path, recording):
    with h5py.File(path, "w") as file:
        file["time"], file["stimulus"], file["voltage"] = (
            recording.time,
            recording.stimulus,
            recording.responses["V"],
        )
        units = {"time": "ms", "stimulus": recording.units["stimulus"], "voltage": recording.units["V"]}
        for name, unit in units.items():
            file[name].attrs["units"] = unit
    return path


# Measures


def test_passive_cell_gives_back_what_it_is_made_of():
    found = inspect(leaky())
    assert found.window == (ONSET, END)
    assert [sweep.level for sweep in found.sweeps] == list(LEVELS)
    assert found.slope.value == pytest.approx(R, rel=0.01)
    assert abs(found.slope.value - R) < 4 * found.slope.error
    assert found.relaxation.tau == pytest.approx(TAU, rel=0.05)
    assert abs(found.relaxation.tau - TAU) < 4 * found.relaxation.error < 2.0
    assert found.relaxation.level == -20
    assert found.capacitance == pytest.approx(TAU / R, rel=0.05)  # 100 pF
    assert found.area == pytest.approx(100 * TAU / R, rel=0.05)  # µm², at 1 µF/cm²
    for sweep in found.sweeps:
        assert sweep.noise == pytest.approx(NOISE, rel=0.1)
        assert sweep.rest == pytest.approx(REST, abs=0.05)
        assert sweep.plateau == pytest.approx(REST + R * sweep.level, abs=0.1)
        assert sweep.spikes.size == 0
    assert found.sag == pytest.approx(0, abs=0.1)
    assert abs(found.drift) < 0.1 and found.holding == 0 and found.rheobase is None
    assert not texts(found, ERROR) and not texts(found, WARNING)


@pytest.mark.parametrize("seed", range(5))
def test_errors_of_the_time_constant_are_of_the_right_size(seed):
    fits = [inspect(leaky(levels=[-20.0], seed=100 * seed + k)).relaxation for k in range(8)]
    scores = np.array([(fit.tau - TAU) / fit.error for fit in fits])
    assert np.abs(scores).max() < 4
    assert np.abs(scores).max() > 0.3


def test_without_noise_the_measures_are_exact():
    found = inspect(leaky(noise=0.0))
    assert found.slope.value == pytest.approx(R, rel=1e-6)
    assert found.relaxation.tau == pytest.approx(TAU, rel=1e-6)
    assert found.relaxation.jump == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("nA", 1e-3), ("A", 1e-12), ("pA", 1.0)], ids=["nA", "A", "pA"])
def test_units_of_the_file_do_not_matter(unit, factor):
    plain = leaky()
    other = replace(
        plain,
        stimulus=plain.stimulus * factor,
        responses={"V": plain.responses["V"] / 1000},
        units={"stimulus": unit, "V": "V"},
    )
    found = inspect(other)
    assert found.recording.units == {"stimulus": "pA", "V": "mV"}
    assert found.slope.value == pytest.approx(inspect(plain).slope.value, rel=1e-9)
    assert found.ranges["stimulus"] == pytest.approx((-40, 0, 40))


def test_a_density_gives_specific_resistance_and_capacitance():
    plain = leaky()
    found = inspect(replace(plain, stimulus=plain.stimulus / 20, units={"stimulus": "uA/cm^2", "V": "mV"}))
    assert found.slope.value == pytest.approx(20 * R, rel=0.01)  # kΩ·cm²
    assert found.capacitance == pytest.approx(TAU / (20 * R), rel=0.05)  # µF/cm²
    assert found.area is None


def test_drift_does_not_bend_the_line():
    drifting = leaky(levels=[40.0, -40.0, 20.0, -20.0, 0.0])
    shift = np.linspace(0, 4, 5)
    drifting.responses["V"][...] += shift
    found = inspect(drifting)
    assert found.drift == pytest.approx(4, abs=0.1)
    assert found.slope.value == pytest.approx(R, rel=0.02)


def test_depolarising_steps_serve_where_there_are_no_others():
    found = inspect(leaky(levels=[10.0, 20.0, 30.0]))
    assert found.slope.value == pytest.approx(R, rel=0.02)
    assert found.slope.levels.min() == 0  # the voltage at rest is a point of the line
    assert found.relaxation.tau == pytest.approx(TAU, rel=0.05)
    assert np.isnan(found.sag)


def test_sag():
    V = leaky(levels=[-100.0, 0.0], noise=0.1)
    since = np.maximum(TIME - ONSET, 0)
    # A current that opens with a time constant of 80 ms takes a third of 20 mV back.
    back = 20 / 3 * (1 - np.exp(-since / 80.0)) * (TIME < END)
    V.responses["V"][:, 0] += back
    found = inspect(V)
    course = -20 * (1 - np.exp(-since / TAU)) + 20 / 3 * (1 - np.exp(-since / 80.0))
    peak = -course[TIME < END].min()
    late = -np.median(course[(TIME >= END - 80) & (TIME < END)])
    assert found.sag == pytest.approx((peak - late) / peak, abs=0.03)
    assert found.sag > 0.1


def test_spikes_rheobase_and_what_they_leave_out():
    recording = with_spikes(leaky(), 4, [300, 400, 500])
    recording = with_spikes(recording, 3, [350])
    recording = with_spikes(recording, 2, [700])  # outside the step
    found = inspect(recording)
    assert [sweep.spikes.size for sweep in found.sweeps] == [0, 0, 1, 1, 3]
    assert [sweep.spikes_within for sweep in found.sweeps] == [0, 0, 0, 1, 3]
    assert found.sweeps[4].spikes == pytest.approx([300, 400, 500], abs=0.3)
    assert found.rheobase == (0.0, 20.0)
    assert found.slope.levels.max() == 0
    assert found.spiking


def test_a_graded_depolarisation_is_no_spike():
    found = inspect(leaky(levels=[0.0, 200.0, 400.0], noise=1.0))
    assert found.sweeps[2].plateau > 0
    assert not found.spiking
    said(found, "No spikes", "graded", weight=NOTE)


def test_holding_current():
    found = inspect(leaky(holding=-30.0))
    assert found.holding == -30
    assert [step.amplitude for step in found.sweeps[0].steps] == [-40]
    said(found, "-30 pA", "held", weight=NOTE)


# Stimuli


def test_steps_in_the_noise_of_a_measured_current():
    levels = np.array([-50.0, 25.0, 100.0])
    rng = np.random.default_rng(0)
    stimulus = np.where(((TIME >= 200) & (TIME < 600))[:, None], levels, 0.0) - 20
    stimulus += 10 * rng.normal(size=stimulus.shape)
    stimulus[::2] += 30  # what alternates from sample to sample
    stimulus[1::2] -= 30
    for at in (250, 300, 450):  # artefacts of spikes
        stimulus[np.abs(TIME - at) < 1.0] += 1000
    segments, _ = find_segments(stimulus, INTERVAL)
    for sweep, level in zip(segments, levels, strict=True):
        assert [
            abs(segment.first * INTERVAL - at) < 0.5 for segment, at in zip(sweep, (0, 200, 600), strict=True)
        ] == [True] * 3
        assert [segment.level for segment in sweep] == pytest.approx([-20, level - 20, -20], abs=1.5)


@pytest.mark.parametrize(
    "trace",
    [
        np.sin(TIME / 30),
        np.cumsum(np.random.default_rng(1).normal(size=TIME.size)),
        np.interp(TIME, [200, 600], [0, 9]),
    ],
    ids=["sine", "random walk", "ramp"],
)
def test_other_waveforms_are_not_taken_for_steps(trace):
    recording = leaky(levels=[0.0])
    found = inspect(replace(recording, stimulus=10 * trace[:, None]))
    assert found.sweeps[0].constant < 0.9
    assert found.ranges["stimulus"][2] == pytest.approx(10 * trace.max())
    said(found, "not made of steps alone", weight=NOTE)


def test_two_steps_a_sweep():
    on = ((TIME >= 100) & (TIME < 200))[:, None] * -50.0
    stimulus = on + ((TIME >= 300) & (TIME < 700))[:, None] * np.array([0.0, 10.0, 20.0])
    found = inspect(make(stimulus, np.full((TIME.size, 3), -60.0)))
    assert found.window == (300, 700)
    assert [(step.start, step.end, step.level) for step in found.sweeps[2].steps] == [
        (100, 200, -50),
        (300, 700, 20),
    ]


# Doubts


def test_series_resistance():
    found = inspect(leaky(series=0.1))
    assert found.relaxation.jump == pytest.approx(-2.0, abs=0.3)
    bridge = re.search(r"(\d+) MΩ in series.*preparation: {bridge: \1}", said(found, "jumps"))
    assert int(bridge[1]) == pytest.approx(100, rel=0.15)


def test_constant_response_and_absent_stimulus():
    found = inspect(make(np.zeros((2000, 2)), np.full((2000, 2), -60.0)))
    said(found, "sweeps 0, 1", "never changes", "columns")
    said(found, "0 pA throughout", "columns")


def test_swapped_channels():
    recording = leaky()
    found = inspect(
        replace(recording, stimulus=recording.responses["V"], responses={"V": recording.stimulus})
    )
    said(found, "may be swapped", "columns")


def test_voltage_that_does_not_follow_the_stimulus():
    recording = leaky(resistance=0.0)
    said(inspect(recording), "does not seem to be the response")
    upside_down = inspect(leaky(resistance=-0.2))
    said(upside_down, "falls as the current rises", "sign")


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_a_stimulus_in_the_wrong_unit(factor):
    recording = leaky(levels=[0.0, 200.0, 400.0] if factor > 1 else LEVELS)
    said(
        inspect(replace(recording, stimulus=recording.stimulus * factor)),
        "input resistance comes out",
        "units",
    )


def test_volts_taken_for_millivolts_are_an_error():
    recording = leaky()
    found = inspect(replace(recording, responses={"V": recording.responses["V"] / 1000}))
    said(found, "cell.h5", "look like numbers in V", "units: {V: V}", weight=ERROR)
    found = inspect(replace(recording, units={"stimulus": "pA", "V": "V"}))
    said(found, "±200 mV", "units: {V: mV}", weight=ERROR)


def test_gaps_are_named_and_the_other_sweeps_measured():
    recording = leaky()
    recording.responses["V"][3000, 1] = np.nan
    recording.stimulus[50, 3] = np.inf
    found = inspect(recording)
    assert len(texts(found, ERROR)) == 2
    said(found, "sweep 1, sample 3000", weight=ERROR)
    assert [sweep.finite for sweep in found.sweeps] == [True, False, True, False, True]
    assert found.slope.value == pytest.approx(R, rel=0.02)
    assert (
        inspect(replace(recording, responses={"V": np.full_like(recording.stimulus, np.nan)})).slope is None
    )


def test_clipping():
    recording = with_spikes(leaky(), 4, [300, 400])
    assert not any("saturates" in text for text in texts(inspect(recording)))
    V = np.minimum(recording.responses["V"], 10.0)
    said(inspect(replace(recording, responses={"V": V})), "sweep 4", "saturates")


def test_transients_at_steps():
    recording = leaky()
    at = round(ONSET / INTERVAL)
    recording.responses["V"][at : at + 3, 1] += [-40, -25, -10]
    said(inspect(recording), "sweep 1:", "transients")


@pytest.mark.parametrize("frequency", [50.0, 60.0])
def test_mains_hum(frequency):
    recording = leaky()
    recording.responses["V"][...] += 0.8 * np.sin(2 * np.pi * frequency * TIME / 1000 + 1)[:, None]
    assert f"{frequency:g} Hz with an amplitude of 0.8" in said(inspect(recording), "hum")
    calm = leaky()
    calm.responses["V"][...] += 0.8 * np.sin(2 * np.pi * 37.0 * TIME / 1000)[:, None]
    assert not any("hum" in text for text in texts(inspect(calm)))


def test_drift():
    recording = leaky()
    recording.responses["V"][...] += np.linspace(0, 12, 5)
    said(inspect(recording), "drifts", r"\+12 mV", "sweeps")


def test_rest_that_no_cell_has():
    said(inspect(leaky(rest=15.0)), "voltage at rest is 15", "units")


def test_short_steps():
    found = inspect(leaky(tau=250.0))
    assert found.relaxation.tau == pytest.approx(250, rel=0.2)
    said(found, "short beside the time constant")


def test_a_step_that_begins_with_the_recording():
    whole = leaky()
    late = TIME >= ONSET
    cut = replace(
        whole,
        time=whole.time[late],
        stimulus=whole.stimulus[late],
        responses={"V": whole.responses["V"][late]},
    )
    said(inspect(cut), "begins with the recording", "aligned")


def test_lost_spikes_and_coarse_samples():
    recording = with_spikes(leaky(levels=[-40.0, 0.0, 10.0, 30.0, 60.0]), 2, [300, 400])
    said(inspect(recording), "sweeps 3, 4: no spike", "depolarisation block")
    coarse = replace(
        recording,
        time=recording.time[::3],
        stimulus=recording.stimulus[::3],
        responses={"V": recording.responses["V"][::3]},
    )
    said(inspect(coarse), "a sample every 0.3 ms")


def test_measured_stimulus():
    recording = leaky()
    noisy = recording.stimulus + 10 * np.random.default_rng(0).normal(size=recording.stimulus.shape)
    said(inspect(replace(recording, stimulus=noisy)), "fluctuates by 10 pA", "2[4567] %")


def test_voltage_clamp_and_calcium_are_described_as_far_as_they_go():
    steps = np.where((TIME > 200) & (TIME < 600), 20.0, -80.0)[:, None]
    clamp = inspect(make(steps, steps / 10 + 8, unit="mV", response="I", I="nA"))
    assert clamp.response == "I" and clamp.slope is None
    assert clamp.recording.units == {"stimulus": "mV", "I": "pA"}
    said(clamp, "voltage-clamp", weight=NOTE)
    imaging = make(
        np.zeros((300, 1)), np.random.default_rng(0).random((300, 1)), interval=344.0, response="Ca", Ca="1"
    )
    found = inspect(imaging)
    assert found.slope is None and found.sweeps[0].spikes.size == 0
    plotting.png(plotting.inspection(clamp), 40)
    plotting.png(plotting.inspection(found), 40)


@pytest.mark.parametrize("samples", [2, 3, 5, 12, 60, 500])
@pytest.mark.parametrize("sweeps", [1, 3])
@pytest.mark.parametrize("kind", ["zeros", "noise", "ramp", "steps"])
def test_any_recording_can_be_looked_at(samples, sweeps, kind):
    rng = np.random.default_rng(samples)
    shape = (samples, sweeps)
    stimulus = {
        "zeros": np.zeros(shape),
        "noise": rng.normal(size=shape),
        "ramp": np.linspace(0, 1, samples)[:, None] * np.ones(sweeps),
        "steps": np.repeat(rng.normal(size=(2, sweeps)), [samples // 2, samples - samples // 2], axis=0),
    }[kind]
    recording = make(stimulus, -60 + rng.normal(size=shape))
    found = inspect(recording)
    assert len(found.sweeps) == sweeps
    if sweeps == 3 and samples in (2, 500):
        assert plotting.png(plotting.inspection(found), 20)
    assert recordings.suggest_config(found, {"file": "a.h5"})


# What is printed and pasted


def test_the_block_is_a_configuration_that_fits(tmp_path, caplog):
    path = write(tmp_path / "a cell, 3 {b}.h5", leaky())
    found = recordings.inspect(recordings.read(path))
    block = recordings.suggest_config(found, {"file": str(path)})
    (tmp_path / "pasted.yaml").write_text(block, "utf-8")
    with caplog.at_level(logging.WARNING):
        (settings,) = config.load(tmp_path / "pasted.yaml").experiments.values()
    assert not caplog.records
    assert settings["model"] == "leaky"
    assert settings["target"]["area"] == pytest.approx(1e4, rel=0.05)
    assert (settings["target"]["train"], settings["target"]["test"]) == ([0, 2, 4], [1, 3])
    target = recordings.load_target(settings["target"], settings["dt"], steady_state=True)
    # 1 pA over 10000 µm² is 0.01 µA/cm².
    assert target.stimulus.max() == pytest.approx(0.4, rel=0.05)


@pytest.mark.parametrize(
    ("recording", "model", "most"),
    [
        (with_spikes(leaky(), 4, [300, 400]), "cortical", 0.1),
        (leaky(levels=[-10.0, 0.0, 200.0, 300.0]), "leaky", 2.0),
    ],
    ids=["spiking", "passive"],
)
def test_models_and_time_steps_are_suggested(tmp_path, recording, model, most):
    path = write(tmp_path / "cell.h5", recording)
    found = recordings.inspect(recordings.read(path))
    (tmp_path / "pasted.yaml").write_text(recordings.suggest_config(found, {"file": str(path)}), "utf-8")
    settings = config.load(tmp_path / "pasted.yaml").experiments["cell"]
    assert settings["model"] == model
    assert 0 < settings["dt"] <= most
    assert (settings["dt"] / INTERVAL) % 1 == pytest.approx(0, abs=1e-9) or INTERVAL / settings["dt"] % 1 == 0


def test_a_guess_is_called_one(tmp_path):
    flat = make(np.zeros((2000, 1)), -60 + np.random.default_rng(0).normal(size=(2000, 1)))
    block = recordings.suggest_config(inspect(flat), {"file": "x.h5"})
    assert "A GUESS" in block and "test: []" in block
    assert "A GUESS" not in recordings.suggest_config(inspect(flat), {"file": "x.h5", "area": 50.0})


def test_many_sweeps_are_thinned_and_sweeps_with_gaps_left_out():
    recording = leaky(levels=np.linspace(-50, 50, 41))
    recording.responses["V"][5, 7] = np.nan
    train, test = recordings.suggestion.suggest_split(inspect(recording))
    assert len(train) == len(test) == 6 and not set(train) & set(test)
    assert 7 not in train + test
    assert 40 in train


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recording = with_spikes(leaky(), 4, [300, 400, 500])
    recording.responses["V"][...] += np.linspace(0, 12, 5)
    write(tmp_path / "cell.dat", recording)
    words = ["inspect", "cell.dat", "--format", "hdf5", "--area", "9000", "--figure", "looked/at.png"]
    assert cli.main([*words, "--units", "stimulus=pA", "--units", "V=mV"]) == 0
    printed = capsys.readouterr().out
    for part in (
        "0.1 ms (10 kHz)",
        "200–600: −40",
        "MΩ",
        "pF",
        "rheobase",
        "Warning: The voltage at rest drifts",
        "Note: ",
    ):
        assert part in printed, part
    assert (tmp_path / "looked" / "at.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "pasted.yaml").write_text(printed[printed.index("experiments:") :], "utf-8")
    settings = config.load("pasted.yaml").experiments["cell"]
    assert settings["target"]["area"] == 9000 and settings["target"]["format"] == "hdf5"
    assert settings["target"]["units"] == {"V": "mV", "stimulus": "pA"}

    assert cli.main(["inspect", "nothing.h5"]) == 1
    assert capsys.readouterr().err.startswith("Error: nothing.h5: ")
    with pytest.raises(SystemExit):
        cli.main(["inspect", "cell.dat", "--units", "pA"])


def test_command_on_a_configuration(tmp_path, capsys):
    write(tmp_path / "cell.h5", leaky(series=0.1))
    target = "{file: cell.h5, area: 10000, preparation: {bridge: 100, blank: {after: 1}}}"
    text = f"experiments:\n  a: {{model: leaky, dt: 0.5, target: {target}}}\n"
    (tmp_path / "one.yaml").write_text(text, "utf-8")
    assert cli.main(["inspect", str(tmp_path / "one.yaml")]) == 0
    printed = capsys.readouterr().out
    assert "200–600: −40" in printed and "jumps" not in printed and "experiments:" not in printed
    (tmp_path / "two.yaml").write_text(text + text.partition("\n")[2].replace(" a:", " b:"), "utf-8")
    assert cli.main(["inspect", str(tmp_path / "two.yaml")]) == 1
    assert "--experiment. Received: none; there are a, b." in capsys.readouterr().err
    assert cli.main(["inspect", str(tmp_path / "two.yaml"), "--experiment", "b"]) == 0


def test_check_says_each_warning_once(tmp_path, capsys, caplog):
    recording = leaky()
    recording.responses["V"][...] += np.linspace(0, 12, 5)
    path = write(tmp_path / "cell.h5", recording)
    target = f"{{file: {path.name}, area: 10000}}"
    text = "".join(
        f"  {name}: {{model: leaky, dt: {dt}, target: {target}}}\n" for name, dt in (("a", 0.5), ("b", 1))
    )
    (tmp_path / "two.yaml").write_text("experiments:\n" + text, "utf-8")
    assert cli.main(["check", str(tmp_path / "two.yaml")]) == 0
    warned = capsys.readouterr().err.splitlines()
    assert len(warned) == 1
    assert warned[0].startswith("Warning: cell.h5: the voltage at rest drifts")

    caplog.clear()
    settings = {"file": str(path), "area": 1e4}
    assert recordings.preflight(settings, 0.5) == []
    assert [record.getMessage() for record in caplog.records] == [warned[0].removeprefix("Warning: ")]
    caplog.clear()
    # Of sweeps that are not used nothing is said, nor of a recording that cannot be used at all.
    assert recordings.preflight(settings | {"sweeps": [0, 1]}, 0.5) == []
    assert len(recordings.preflight({"file": str(path)}, 0.5)) == 1
    assert not caplog.records


# The figure


def test_figure_shows_what_there_is():
    found = inspect(with_spikes(leaky(), 4, [300, 400, 500]))
    figure = plotting.inspection(found)
    titles = [
        axes.get_title(loc="left") for axes in figure.findobj(lambda artist: hasattr(artist, "get_xlabel"))
    ]
    for part in ("cell.h5: 5 sweeps", "I–V", "Step to −20 pA", "F–I"):
        assert any(part in title for title in titles), part
    (rates,) = (
        a
        for a in figure.findobj(lambda artist: hasattr(artist, "get_xlabel"))
        if "F–I" in a.get_title(loc="left")
    )
    np.testing.assert_allclose(rates.lines[0].get_ydata(), [0, 0, 0, 0, 3 / 0.4])
    assert plotting.png(figure, 30) == plotting.png(plotting.inspection(found), 30)
    lone = plotting.inspection(inspect(make(np.zeros((2000, 1)), np.full((2000, 1), -60.0))))
    assert len([a for a in lone.findobj(lambda artist: hasattr(artist, "get_xlabel"))]) == 2
