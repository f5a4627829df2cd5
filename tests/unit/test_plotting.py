"""Figures, tables and measures: what is drawn is what the containers hold, whatever they hold."""

import subprocess
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from odynn import plotting
from odynn.data import Best, Cause, Fit, Parameter, Status, Target
from odynn.errors import ConfigError, OdynnError
from odynn.plotting import appearance, measures, spelling

TABLE = {
    row.name: row
    for row in (
        Parameter("C_m", 1.0, "µF/cm²", (0.1, 10.0), (0.5, 5.0), "log", "membrane capacitance"),
        Parameter("E_L", -60.0, "mV", (-100.0, 0.0), (-80.0, -40.0), meaning="leak reversal"),
        Parameter("g_L", 0.1, "mS/cm²", (1e-3, 1.0), (0.01, 1.0), "log", "leak conductance"),
        Parameter("q10", 2.0, "1", (1.0, 4.0), free=False, meaning="temperature factor"),
    )
}
TRUTH = {name: row.default for name, row in TABLE.items()}


def make(
    starts=12,
    sweeps=3,
    train=(0, 1),
    best=3,
    states=("V",),
    noise=1.0,
    diverged=2,
    samples=200,
    truth=True,
    seed=4,
):
    """Return a target, a fit and best simulations that belong together, without any simulator."""
    rng = np.random.default_rng(seed)
    time = np.arange(1, samples + 1) * 0.5
    stimulus = np.outer(time > 0.3 * time[-1], np.arange(1.0, sweeps + 1))
    shape = (1 - np.exp(-np.maximum(time - 0.3 * time[-1], 0) / 20))[:, None] * np.arange(1.0, sweeps + 1)
    clean = {"V": -60 + 10 * shape, "Ca": 0.2 * shape}
    scale = {"V": 1.0, "Ca": 0.02}
    units = {"V": "mV", "Ca": "a.u."}
    observed = {s: clean[s] + noise * scale[s] * rng.normal(size=clean[s].shape) for s in states}
    is_train = np.isin(np.arange(sweeps), train)
    target = Target(
        time=time,
        stimulus=stimulus,
        observed=observed,
        units={s: units[s] for s in states},
        sweeps=np.arange(sweeps),
        train=is_train,
        truth=TRUTH if truth else None,
        noise={s: noise * scale[s] for s in states} if truth and noise else None,
        source={"kind": "synthetic" if truth else "recording.csv"},
    )
    ids = rng.permutation(starts)
    loss = np.sort(1.0 + rng.random(starts) ** 4 * 100)
    if diverged:
        loss[-diverged:] = np.nan
    values = {name: row.default * (1 + 0.02 * rng.normal(size=starts)) for name, row in TABLE.items()}
    values["q10"] = np.full(starts, 2.0)
    status = np.full(starts, Status.CONVERGED)
    status[starts // 2 :] = Status.ITERATION_LIMIT
    if diverged:
        status[-diverged:] = Status.DIVERGED
    history = loss * np.linspace(3, 1, 10)[:, None]
    history[7:, :: max(starts // 2, 1)] = np.nan
    fit = Fit(
        ids=ids,
        parameters=TABLE,
        start_values={name: np.full(starts, row.start[0]) for name, row in TABLE.items()},
        values=values,
        start_loss=100 + 900 * rng.random(starts),
        loss=loss,
        rmse_train={s: np.sqrt(loss) * (1.0 if s == states[0] else 0.0) for s in states},
        rmse_test={},
        status=status,
        cause=np.full(starts, Cause.NONE),
        iterations=np.isfinite(history).sum(axis=0),
        history=history,
        stage=np.repeat([0, 1], 5),
        units={**{s: units[s] for s in states}, "loss": "mV²"},
    )
    best = min(best, starts)
    simulated = {s: clean[s][..., None] + scale[s] * 0.1 * np.arange(best) for s in ("V", "Ca")}
    simulated["n"] = np.clip(shape[..., None] / 4 + 0.01 * np.arange(best), 0, 1)
    error = {s: simulated[s] - observed[s][..., None] for s in states}
    scores = {f"rmse_{s}": np.sqrt(np.mean(error[s] ** 2, axis=0)) for s in states}
    scores |= {f"r2_{s}": 1 - np.mean(error[s] ** 2, 0) / np.var(observed[s], 0)[:, None] for s in states}
    runs = Best(
        ids=ids[:best],
        time=time,
        states={s: trace.astype(np.float32) for s, trace in simulated.items()},
        currents={"I_L": (simulated["V"] + 60).astype(np.float32)},
        scores=scores,
        units={
            "V": "mV",
            "Ca": "a.u.",
            "n": "1",
            "I_L": "µA/cm²",
            "rmse_V": "mV",
            "rmse_Ca": "a.u.",
            "r2_V": "1",
        },
        sweeps=np.arange(sweeps),
        train=is_train,
    )
    return target, fit, runs


def every_figure(target, fit, best):
    return {
        "traces": plotting.traces(target, best),
        "waterfall": plotting.waterfall(fit, target),
        "parameters": plotting.parameters(fit, target, 3),
        "history": plotting.history(fit),
        "details": plotting.details(target, best),
    }


def all_diverged(fit, value=np.nan):
    nothing = np.full(len(fit.ids), value)
    return replace(
        fit,
        loss=nothing,
        start_loss=nothing,
        status=np.full(len(fit.ids), Status.DIVERGED),
        rmse_train={state: nothing for state in fit.rmse_train},
        history=np.full_like(fit.history, value),
    )


def without_simulation(best, keep=slice(None)):
    gone = {name: np.full_like(values, np.nan)[..., keep] for name, values in best.states.items()}
    scores = {name: np.full_like(values, np.nan)[..., keep] for name, values in best.scores.items()}
    return replace(best, ids=best.ids[keep], states=gone, currents={}, scores=scores)


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text())


def y_of(figure, color):
    """Return the vertical values of every line of one colour."""
    lines = [line for axes in figure.axes for line in axes.lines]
    return [np.asarray(line.get_ydata()) for line in lines if to_hex(line.get_color()) == to_hex(color)]


# Looks, files and windows


def test_matplotlib_is_left_as_it_was():
    with matplotlib.rc_context({"font.size": 23, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        for figure in every_figure(*make()).values():
            plotting.png(figure, 40)
        assert dict(matplotlib.rcParams) == before


def test_importing_plotting_imports_no_pyplot():
    code = (
        "import sys, odynn.plotting; print('matplotlib.pyplot' in sys.modules, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_equal_figures_give_equal_bytes_whatever_the_users_settings():
    first = {name: plotting.png(figure, 60) for name, figure in every_figure(*make()).items()}
    with matplotlib.rc_context({"font.size": 23, "axes.grid": True, "lines.marker": "o"}):
        second = {name: plotting.png(figure, 60) for name, figure in every_figure(*make()).items()}
    assert len(first) == 5
    assert first == second
    for data in first.values():
        assert data.startswith(b"\x89PNG")
        assert b"tEXt" not in data and b"tIME" not in data and b"Software" not in data


def test_save_leaves_only_the_whole_file(tmp_path):
    figure = plotting.history(make()[1])
    path = plotting.save(figure, tmp_path / "new" / "history.png", 40)
    assert [file.name for file in path.parent.iterdir()] == ["history.png"]
    assert path.read_bytes() == plotting.png(plotting.history(make()[1]), 40)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OdynnError, match="taken"):
        plotting.save(figure, tmp_path / "taken" / "history.png", 40)


def test_show_or_save_writes_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figure = plotting.neuron_output(np.arange(5.0), np.zeros(5), np.zeros(5))
    assert plotting.show_or_save(figure, False, False, "out") is None
    assert not list(tmp_path.iterdir())
    wanted = {True: "out.png", "folder": "folder/out.png", "my.png": "my.png", "a/b.PNG": "a/b.PNG"}
    for save, path in wanted.items():
        assert plotting.show_or_save(figure, False, save, "out").as_posix() == path
        assert (tmp_path / path).is_file()
    with pytest.raises(OdynnError, match=r"\.png"):
        plotting.show_or_save(figure, False, "figure.pdf", "out")


def test_show_opens_this_very_figure(monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.gcf()))
    figure = plotting.neuron_output(np.arange(5.0), np.zeros(5), np.zeros(5))
    assert not pyplot.get_fignums()
    plotting.show_or_save(figure, True, False, "out")
    pyplot.close("all")
    assert shown[0].canvas.figure is figure


def test_wrong_colours_are_refused_with_their_key():
    target, fit, best = make()
    with pytest.raises(ConfigError, match=r"plot\.color_map.*'viridus'.*'viridis'"):
        plotting.traces(target, best, color_map="viridus")
    with pytest.raises(ConfigError, match=r"plot\.target_color.*'blak'"):
        plotting.parameters(fit, target, 3, target_color="blak")


def test_numbers_are_spelt_with_their_digits():
    spelt = {0.0: "0", 0.23456: "0.235", -8.05: "−8.05", 12345.6: "12346", 1e-5: "10⁻⁵", -2.5e7: "−2.5×10⁷"}
    assert {value: spelling.short(value) for value in spelt} == spelt
    assert spelling.short(np.inf) == spelling.short(np.nan) == "–"
    assert spelling.score(0.999999) == "0.99999"
    assert spelling.score(-0.0001) == "0"


def test_thinning_keeps_a_spike_of_one_sample_and_invents_nothing():
    time = np.arange(100_000) * 0.01
    trace = np.sin(time)
    trace[54_321], trace[70_001] = 90.0, -90.0
    thin_time, thin = appearance.envelope(time, trace, 1000)
    assert len(thin) <= 1002
    assert thin.max() == 90 and thin.min() == -90
    assert np.all(np.diff(thin_time) > 0)
    np.testing.assert_array_equal(thin, trace[np.searchsorted(time, thin_time)])
    trace[10_000:20_000] = np.nan
    gap_time, gap = appearance.envelope(time, trace, 1000)
    assert np.isnan(gap[(gap_time > 101) & (gap_time < 199)]).all()


def test_a_runaway_trace_does_not_flatten_the_recording():
    recorded = np.array([-60.0, -20.0])
    assert appearance.limits([recorded], [np.array([1e9, -1e9])]) == pytest.approx((-107.2, 27.2))
    low, high = appearance.limits([recorded], [np.array([-61.0, np.inf])])
    assert low < -61 < -60 and high < 0


# Measures, against numbers worked out by hand


def test_positions_follow_the_scale_of_the_parameter():
    np.testing.assert_allclose(
        measures.position(TABLE["C_m"], [0.1, 1.0, 10.0, 100.0, np.nan]), [0, 0.5, 1, 1, np.nan]
    )
    np.testing.assert_allclose(measures.position(TABLE["E_L"], [-100, -75, 0]), [0, 0.25, 1])
    assert measures.spread(TABLE["C_m"], [0.5, 5.0]) == pytest.approx(0.5)
    assert measures.spread(TABLE["E_L"], [-50.0, -60.0]) == pytest.approx(0.1)


def test_one_stuck_start_in_twenty_does_not_decide_the_spread():
    values = np.full(40, -60.0)
    values[:2] = -100.0, 0.0
    assert measures.spread(TABLE["E_L"], values) == 0.0
    assert measures.spread(TABLE["E_L"], values[:19]) == 1.0


def test_starts_rank_by_loss_and_diverged_ones_come_last():
    fit = make(starts=6, diverged=0)[1]
    status = np.array([1, 1, Status.DIVERGED, 1, 1, 1])
    fit = replace(fit, loss=np.array([3.0, 1.0, 0.5, np.nan, 1.09, np.inf]), status=status)
    assert measures.ranking(fit).tolist() == [1, 4, 0, 2, 3, 5]
    assert measures.equally_good(fit).tolist() == [1, 4]
    assert not measures.equally_good(all_diverged(fit)).size


@pytest.mark.parametrize(
    ("width", "starts", "said"),
    [
        (0.04, 3, "determined"),
        (0.06, 3, "loosely determined"),
        (0.21, 3, "undetermined"),
        (0.9, 2, "not judged"),
        (np.nan, 9, "not judged"),
    ],
)
def test_verdicts(width, starts, said):
    assert measures.verdict(width, starts) == said


def test_the_noise_floor_uses_the_weights_that_the_losses_show():
    target, fit, _ = make(states=("V", "Ca"), diverged=1)
    rng = np.random.default_rng(0)
    rmse = {"V": 1 + rng.random(12), "Ca": 0.1 + rng.random(12)}
    loss = 2.0 * rmse["V"] ** 2 + 50.0 * rmse["Ca"] ** 2
    loss[-1] = np.nan
    fit = replace(fit, rmse_train=rmse, loss=loss)
    expected = 2.0 * 1.0**2 + 50.0 * 0.02**2
    assert measures.noise_floor(fit, target) == pytest.approx(expected)
    assert measures.noise_floor(fit, target, {"V": 1.0}) == pytest.approx(1.0)
    assert measures.noise_floor(replace(fit, loss=np.sqrt(loss)), target) is None
    assert measures.noise_floor(fit, replace(target, noise=None)) is None


def test_pooled_scores_of_a_perfect_fit_a_flat_line_and_a_shift():
    target, _, best = make(noise=0.0)
    mask = ~target.train
    recorded = target.observed["V"][:, mask]
    exact = {**best.states, "V": np.repeat(target.observed["V"][..., None], 3, axis=2)}
    exact["V"][:, mask, 1] = recorded.mean()
    exact["V"][:, mask, 2] += 2.0
    best = replace(best, states=exact)
    assert measures.pooled_score(target, best, "V", mask, 0) == measures.Score(0.0, 1.0)
    flat = measures.pooled_score(target, best, "V", mask, 1)
    assert flat.r2 == pytest.approx(0.0) and flat.rmse == pytest.approx(recorded.std())
    assert measures.pooled_score(target, best, "V", mask, 2).rmse == pytest.approx(2.0)
    assert measures.pooled_score(target, best, "V", mask, 3) is None
    assert np.isnan(measures.pooled_score(target, without_simulation(best), "V", mask).rmse)


# What the figures show


def test_traces_show_every_sweep_with_the_best_fit_on_top():
    target, _, best = make(sweeps=3, best=3, states=("V", "Ca"))
    figure = plotting.traces(target, best, best_color="#ff0000", target_color="#000000")
    assert len(figure.axes) == 3 * 3  # two states and the stimulus
    said = texts(figure)
    for title in ("training sweep 0", "training sweep 1", "held-out sweep 2"):
        assert title in said
    assert f"RMSE {spelling.short(best.scores['rmse_V'][2, 0])} mV" in said
    assert (
        "voltage (mV)" in said
        and "Ca (a.u.)" in said
        and "stimulus\n(µA/cm²)" in said
        and "time (ms)" in said
    )
    drawn = y_of(figure, "#ff0000")
    assert len(drawn) == 6
    np.testing.assert_allclose(drawn[0], best.states["V"][:, 0, 0])
    first = figure.axes[0]
    np.testing.assert_allclose(first.lines[0].get_ydata(), target.observed["V"][:, 0])
    assert len(first.lines) == 1 + 3
    assert to_hex(first.lines[-1].get_color()) == "#ff0000"
    for axes in figure.axes:
        assert axes.get_xlim() == figure.axes[0].get_xlim()


def test_times_of_weight_zero_are_shaded():
    target, _, best = make(sweeps=3, best=1)
    assert not any(axes.patches for axes in plotting.traces(target, best).axes)
    weights = np.full(target.stimulus.shape, 2.0)
    weights[:10, 0] = weights[50:60, 0] = weights[[70, -1], 1] = 0.0
    figure = plotting.traces(replace(target, weights=weights), best)
    assert "not fitted (weight 0)" in texts(figure)
    spans = [
        [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches] for axes in figure.axes
    ]
    np.testing.assert_allclose(spans[0], [(0, 5), (25, 30)])  # ms, of steps of 0.5
    np.testing.assert_allclose(spans[2], [(35, 35.5), (99.5, 100)])
    assert spans[1] == spans[3] == spans[4] == spans[5] == []


def test_traces_find_a_sweep_by_its_number():
    target, _, best = make(sweeps=3, best=1)
    turned = replace(
        best, sweeps=best.sweeps[::-1], states={name: trace[:, ::-1] for name, trace in best.states.items()}
    )
    same = [y_of(plotting.traces(target, runs, best_color="#ff0000"), "#ff0000") for runs in (best, turned)]
    np.testing.assert_allclose(same[0], same[1])


def test_more_sweeps_than_fit_are_thinned_and_said():
    target, _, best = make(sweeps=40, train=range(0, 40, 2), samples=40)
    figure = plotting.traces(target, best, most=10)
    assert len(figure.axes) == 10 * 2
    assert "10 of 40 sweeps drawn" in texts(figure)
    assert "training sweep 0" in texts(figure) and "held-out sweep 39" in texts(figure)


def test_long_traces_are_drawn_with_few_points():
    target, _, best = make(sweeps=1, train=(0,), samples=100_000, best=2)
    figure = plotting.traces(target, best)
    points = [len(line.get_ydata()) for axes in figure.axes for line in axes.lines]
    assert points and max(points) < 5000


def test_the_waterfall_drops_no_start():
    target, fit, _ = make(starts=30, diverged=4)
    figure = plotting.waterfall(fit, target, weights={"V": 1.0})
    axes = figure.axes[0]
    drawn = {
        one.get_label(): one.get_offsets() for one in axes.collections if not one.get_label().startswith("_")
    }
    counts = {label: len(offsets) for label, offsets in drawn.items()}
    assert counts.pop("before the fit") == 30
    best = next(label for label in counts if label.startswith("best"))
    assert f"start {fit.ids[0]}" in best and counts.pop(best) == 1
    assert sum(counts.values()) == 30
    assert counts["diverged (4)"] == 4
    finite = np.concatenate(
        [offsets for label, offsets in drawn.items() if label.startswith(("conv", "iter"))]
    )
    np.testing.assert_allclose(np.sort(finite[:, 1]), np.sort(fit.loss[:26]))
    assert drawn["diverged (4)"][:, 0].min() > finite[:, 0].max() + 1
    assert axes.get_yscale() == "log" and axes.get_ylabel() == "training loss (mV²)"
    floor = [line for line in axes.lines if line.get_label().startswith("noise floor")]
    assert floor[0].get_ydata()[0] == pytest.approx(1.0)


def test_the_history_breaks_between_stages_and_shows_the_best():
    fit = make(starts=9, diverged=0)[1]
    figure = plotting.history(fit, best_color="#ff0000")
    axes = figure.axes[0]
    segments = axes.collections[0].get_segments()
    assert len(segments) == 9 * 2
    assert {len(part) for part in segments} <= {2, 5}
    drawn = np.concatenate(y_of(figure, "#ff0000"))
    np.testing.assert_allclose(drawn, fit.history[:, 0])
    assert "stage 0" in texts(figure) and "stage 1" in texts(figure)


def test_the_best_is_found_in_a_fit_that_is_not_sorted():
    target, fit, _ = make(starts=9, diverged=0)
    turned = fit.take(np.arange(9)[::-1])
    ends = []
    for one in (fit, turned):
        history = plotting.history(one, best_color="#ff0000")
        np.testing.assert_allclose(np.concatenate(y_of(history, "#ff0000")), fit.history[:, 0])
        lines = history.axes[0].collections[0]
        pairs = zip(map(to_hex, lines.get_colors()), lines.get_segments(), strict=True)
        ends.append({shade: float(line[-1, 1]) for shade, line in pairs})
        assert plotting.parameter_table(one, target).loc[1, "best"] == fit.values["E_L"][0]
    assert len(ends[0]) == 9 and ends[0] == ends[1]


def test_parameters_lie_between_their_bounds_on_their_scale():
    target, fit, _ = make(starts=10, diverged=0)
    values = {**fit.values, "C_m": np.geomspace(0.1, 10, 10), "E_L": np.linspace(-100, 0, 10)}
    figure = plotting.parameters(replace(fit, values=values), target, 3, target_color="#000001")
    axes = figure.axes[0]
    rows = [one.get_offsets() for one in axes.collections if len(one.get_offsets()) == 10]
    assert len(rows) == 3  # the free ones
    for row in rows[:2]:
        np.testing.assert_allclose(np.sort(row[:, 0]), np.linspace(0, 1, 10), atol=1e-12)
    truth = [line.get_xdata()[0] for line in axes.lines if line.get_color() == "#000001"]
    np.testing.assert_allclose(truth, [0.5, 0.4, 2 / 3])
    said = texts(figure)
    assert "Held fixed: q10\u00a0=\u00a02" in said
    for row in TABLE.values():
        assert row.name in said
    assert "mS/cm² (log)" in said and "−100" in said


def test_details_show_the_first_held_out_sweep_in_full():
    target, _, best = make(sweeps=4, train=(0, 1))
    figure = plotting.details(target, best, best_color="#ff0000")
    assert "held-out sweep 2" in texts(figure)
    labels = [axes.get_ylabel() for axes in figure.axes]
    gates, currents, stimulus = "gates\n(open fraction)", "currents\n(µA/cm²)", "stimulus\n(µA/cm²)"
    assert labels == ["voltage (mV)", "Ca (a.u.)", gates, currents, stimulus]
    np.testing.assert_allclose(y_of(figure, "#ff0000")[0], best.states["V"][:, 2, 0])
    assert "training sweep 1" in texts(plotting.details(target, best, sweep=1, rank=2))
    with pytest.raises(OdynnError, match="Received: 9"):
        plotting.details(target, best, sweep=9)


def test_an_ion_that_shares_its_name_with_a_current_is_not_given_the_currents_unit():
    target, _, best = make()
    units = {**best.units, "Ca": "µA/cm²"}
    figure = plotting.details(target, replace(best, units=units, currents={"Ca": best.currents["I_L"]}))
    assert figure.axes[1].get_ylabel() == "Ca"
    assert "I_Ca" in texts(figure)


def test_neuron_output_draws_each_neuron_and_the_target():
    time = np.arange(50.0)
    voltage = np.stack([time, 2 * time], axis=1)
    figure = plotting.neuron_output(
        time,
        np.ones(50),
        voltage,
        {"Ca": 3 * voltage},
        target_voltage=time + 1,
        target_ions={"Ca": time},
        units={"Ca": "µM"},
        labels=["AIY", "AVAL"],
        linewidth=2.5,
        target_linewidth=4,
        target_style="--",
        target_color="#123456",
    )
    top, ion, stimulus = figure.axes
    target, first, second = top.lines
    assert (target.get_linestyle(), target.get_linewidth()) == ("--", 4)
    assert first.get_linewidth() == second.get_linewidth() == 2.5
    np.testing.assert_allclose(second.get_ydata(), 2 * time)
    np.testing.assert_allclose(ion.lines[0].get_ydata(), time)
    assert ion.get_ylabel() == "Ca (µM)" and stimulus.get_ylabel() == "stimulus\n(µA/cm²)"
    assert "AVAL" in texts(figure)


def test_neuron_details_names_gates_and_currents():
    time = np.arange(50.0)
    figure = plotting.neuron_details(
        time,
        np.ones((50, 2)),
        time,
        {"Ca": time},
        {"K": time, "I_L": -time},
        {"n": time / 50},
        title="a neuron",
    )
    assert len(figure.axes) == 5
    said = texts(figure)
    assert "I_K" in said and "I_L" in said and "I_I_L" not in said and "a neuron" in said
    alone = plotting.neuron_details(time, np.ones(50), time)
    assert len(alone.axes) == 2


@pytest.mark.parametrize("shape", [(49,), (50, 2, 2), ()])
def test_neuron_figures_refuse_other_shapes(shape):
    with pytest.raises(OdynnError, match=r"voltage: expected \[time\].*50 times"):
        plotting.neuron_output(np.arange(50.0), np.zeros(50), np.zeros(shape))
    with pytest.raises(OdynnError, match="one name a neuron"):
        plotting.neuron_output(np.arange(50.0), np.zeros(50), np.zeros(50), labels=["a", "b"])


# Tables


def test_the_parameter_table_holds_what_the_fit_found():
    target, fit, _ = make(starts=6, diverged=1)
    values = {**fit.values, "E_L": np.array([-57.0, -50.0, -70.0, -20.0, -10.0, -5.0])}
    loss = np.array([1.0, 1.05, 1.09, 2.0, 3.0, np.nan])
    table = plotting.parameter_table(replace(fit, values=values, loss=loss), target, 2).set_index("name")
    assert list(table.index) == list(TABLE)
    row = table.loc["E_L"]
    assert (row["best"], row["median_best"], row["truth"]) == (-57.0, -53.5, -60.0)
    assert (row["equal_lower"], row["equal_upper"]) == (-70.0, -50.0)
    assert row["spread"] == pytest.approx(0.2) and row["verdict"] == "loosely determined"
    assert row["relative_error"] == pytest.approx(0.05)
    fixed = table.loc["q10"]
    assert fixed["verdict"] == "fixed" and not fixed["free"] and fixed["best"] == 2.0


def test_the_score_table_has_a_row_a_sweep_and_start():
    best = make(sweeps=3, best=2)[2]
    table = plotting.score_table(best)
    assert list(table.columns) == ["sweep", "set", "rank", "start", "rmse_V", "r2_V"]
    assert len(table) == 6
    row = table[(table["sweep"] == 2) & (table["rank"] == 2)].iloc[0]
    assert table["set"].tolist() == ["training"] * 4 + ["held-out"] * 2
    assert row["start"] == best.ids[1] and row["set"] == "held-out"
    assert row["rmse_V"] == best.scores["rmse_V"][2, 1]


# Whatever a run may end in


def single():
    return make(starts=1, sweeps=1, train=(0,), best=1, diverged=0, truth=False)


def diverged(value=np.nan):
    target, fit, best = make()
    return target, all_diverged(fit, value), without_simulation(best)


def nothing_simulated():
    target, fit, best = make()
    return target, all_diverged(fit), without_simulation(best, slice(0))


def unfitted():
    target, fit, best = make()
    return target, replace(fit, history=fit.history[:0], stage=fit.stage[:0], loss=fit.loss * 0), best


def held():
    target, fit, best = make()
    return target, replace(fit, parameters={n: row.changed(free=False) for n, row in TABLE.items()}), best


def odd_names():
    target, fit, best = make()
    names = {name: f"{name}_ü神$经$_^{{" for name in TABLE}
    rows = {names[name]: row.changed(name=names[name]) for name, row in TABLE.items()}
    values = {names[name]: column for name, column in fit.values.items()}
    return target, replace(fit, parameters=rows, values=values, start_values=values), best


CASES = {
    "all diverged": diverged,
    "all infinite": lambda: diverged(np.inf),
    "nothing simulated": nothing_simulated,
    "one start, one sweep, nothing held out, no truth": single,
    "no noise": lambda: make(noise=0.0),
    "calcium alone, no currents": lambda: make(states=("Ca",)),
    "no iterations, no loss": unfitted,
    "nothing free": held,
    "odd names": odd_names,
    "1000 starts": lambda: make(starts=1000, diverged=100, samples=50),
    "30 sweeps of two states": lambda: make(sweeps=30, train=range(15), states=("V", "Ca"), samples=50),
    "two samples": lambda: make(samples=2),
}


@pytest.mark.parametrize("case", CASES)
def test_every_figure_and_table_survives(case):
    target, fit, best = CASES[case]()
    for figure in every_figure(target, fit, best).values():
        assert plotting.png(figure, 30).startswith(b"\x89PNG")
    assert len(plotting.parameter_table(fit, target)) == len(fit.parameters)
    assert len(plotting.score_table(best)) == len(best.ids) * len(best.sweeps)
    assert plotting.summarise(target, fit, best).headline
