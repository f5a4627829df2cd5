"""Spikes in figures, tables and the report."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text

from odynn import plotting, stages, storage
from odynn.analysis.scores import score_traces, score_units
from odynn.analysis.uncertainty import estimated_uncertainty
from odynn.data import Best, Cause, Fit, Parameter, Status, Target
from odynn.plotting.appearance import BEST
from odynn.plotting.cells import feature_rows, score_rows
from odynn.spikes.detection import AFTER, BEFORE, PROMINENCE, THRESHOLD, WIDTH
from odynn.spikes.features import MOST
from odynn.spikes.trains import WINDOW

TRAINS = ([50.0], [40.0, 90.0, 140.0], [], [30.0, 60.0, 90.0, 120.0], [20.0, 150.0])
TRAIN = np.array([True, False, True, False, True])


def voltage(trains):
    """Return [time, sweep] with spikes of 1 ms."""
    time = 0.1 * np.arange(1, 2001)
    shape = [sum((np.exp(-0.5 * ((time - peak) / 0.5) ** 2) for peak in train), 0 * time) for train in trains]
    return time, -65 + 100 * np.stack(shape, axis=1)


def make(*simulated):
    """Return a target with these spikes, a fit of as many starts, and the best of them."""
    time, observed = voltage(TRAINS)
    stimulus = np.where((time > 10) & (time < 190), 1.0, 0.0)[:, None] * np.arange(5.0)
    target = Target(time, stimulus, {"V": observed}, {"V": "mV"}, np.arange(10, 15), TRAIN)
    count = max(len(simulated), 1)
    row = Parameter("g_L", 0.1, "mS/cm²", (0.01, 1.0), scale="log", meaning="leak")
    ones = np.ones(count)
    fit = Fit(
        np.arange(count),
        {"g_L": row},
        {"g_L": 0.1 * ones},
        {"g_L": 0.1 * ones},
        9 * ones,
        ones,
        {"V": ones},
        {"V": ones},
        np.full(count, Status.CONVERGED),
        np.full(count, Cause.NONE),
        np.full(count, 3),
        np.ones((3, count)),
        np.zeros(3, dtype=int),
        {"V": "mV", "loss": "(mV)²"},
    )
    states = {"V": np.empty((2000, 5, 0), dtype=np.float32)}
    if simulated:
        states = {"V": np.stack([voltage(trains)[1] for trains in simulated], axis=2).astype(np.float32)}
    scores = score_traces(states, target)
    units = {"V": "mV", **score_units(scores, target.units)}
    ids = np.arange(len(simulated))
    return target, fit, Best(ids, time, states, {}, scores, units, target.sweeps, TRAIN)


def shifted(by):
    return tuple([peak + by for peak in train] for train in TRAINS)


LATE, SILENT = shifted(2.0), ([],) * 5
SPARSE = ([50.0], [42.0], [], [30.0, 60.0], [21.0])


def ticks(figure, color):
    """Return (time, row) of every spike drawn in a colour."""
    found = []
    for collection in figure.findobj(LineCollection):
        if len(collection.get_colors()) and to_hex(collection.get_colors()[0]) == to_hex(color):
            found += [(segment[0][0], int(segment[0][1])) for segment in collection.get_segments()]
    return found


def words(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_the_raster_shows_every_spike_of_each_sweep():
    target, _, best = make(LATE, SPARSE)
    figure = plotting.raster(target, best, target_color="#123456")
    recorded, fitted = ticks(figure, "#123456"), ticks(figure, BEST)
    # Rows count within a group: training sweeps 0, 2 and 4, then held-out sweeps 1 and 3.
    expected = [
        (peak, row)
        for group in ((0, 2, 4), (1, 3))
        for row, sweep in enumerate(group)
        for peak in TRAINS[sweep]
    ]
    assert np.array(sorted(recorded)) == pytest.approx(np.array(sorted(expected)))
    later = sorted((peak + 2, row) for peak, row in expected)
    assert np.array(sorted(fitted)) == pytest.approx(np.array(later))
    said = words(figure)
    for label in ("10", "11", "12", "13", "14"):
        assert label in said
    assert {"1 for 1", "3 for 3", "0 for 0", "4 for 4", "2 for 2"} <= set(said)
    assert said.count("1.00") == 4
    assert "next best 1" in said


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_raster_of_any_number_of_starts(number):
    target, _, best = make(*[SPARSE] * number)
    figure = plotting.raster(target, best)
    assert len(ticks(figure, "black")) == 10
    assert len(ticks(figure, BEST)) == (5 if number else 0)
    assert ("2 for 4" in words(figure)) == bool(number)
    assert plotting.png(figure, 40) == plotting.png(plotting.raster(target, best), 40)


def test_a_raster_of_many_sweeps_draws_some():
    target, _, best = make(LATE)
    figure = plotting.raster(target, best, most=3)
    assert len(ticks(figure, "black")) < 10
    assert "3 of 5 sweeps drawn, chosen evenly; the tables hold them all." in words(figure)


def test_a_graded_recording_has_no_raster():
    target, _, best = make(LATE)
    graded = replace(target, observed={"V": np.minimum(target.observed["V"], -30.0)})
    assert plotting.raster(graded, best) is None
    assert plotting.raster(replace(target, observed={"Ca": target.observed["V"]}), best) is None


def test_panels_of_traces_tell_the_spikes():
    target, _, best = make(SPARSE)
    said = " | ".join(words(plotting.traces(target, best)))
    assert "2 for 4 spikes · Γ 0.61 · RMSE" in said
    assert "1 for 1 spike · Γ 1.00 · RMSE" in said
    assert said.count("R²") == 0 and "0 for 0" not in said  # R² of a flat sweep is not defined


def test_panels_of_traces_do_not_run_into_each_other():
    target, _, best = make(SPARSE)
    wide = np.array([0, 2, 4] * 5 + [1, 3, 3] * 5)  # five panels side by side
    target = target.select(wide)
    target = replace(target, sweeps=np.arange(30))
    best = replace(
        best,
        states={"V": best.states["V"][:, wide]},
        scores={name: values[wide] for name, values in best.scores.items()},
        sweeps=target.sweeps,
        train=target.train,
    )
    figure = plotting.traces(target, best)
    figure.draw_without_rendering()
    rows = {}
    for text in figure.texts:
        box = text.get_window_extent()
        rows.setdefault(round(box.y0), []).append((box.x0, box.x1))
    crowded = [sorted(boxes) for boxes in rows.values() if len(boxes) == 5]
    assert len(crowded) >= 12
    for boxes in crowded:
        assert all(before[1] < after[0] for before, after in zip(boxes, boxes[1:], strict=False))
        assert boxes[-1][1] <= figure.bbox.x1


def test_the_summary_has_a_verdict_on_spikes():
    target, fit, best = make(SPARSE, LATE)
    summary = plotting.summarise(target, fit, best)
    found = summary.spikes["held-out"]
    assert (found.sweeps, found.within_one, found.recorded, found.simulated) == (2, 0, 7, 3)
    gammas = best.scores["gamma"][[1, 3], 0]
    assert found.gamma == pytest.approx(gammas.mean())
    assert summary.findings[0] == (
        f"Held-out: spike counts within ±1 in 0 of 2 sweeps, mean Γ {gammas.mean():.2f}; "
        "training: spike counts within ±1 in 3 of 3 sweeps, mean Γ 0.82."  # of 1 and 0.92 / 1.5 / 0.96
    )
    assert "spike counts are within ±1 on 0 of the 2 sweeps" in summary.headline


def test_a_silent_fit_is_warned_of():
    target, fit, best = make(SILENT)
    titles = [warning.title for warning in plotting.summarise(target, fit, best).warnings]
    assert "The best fit is silent on the held-out sweeps" in titles


def test_spikes_at_other_times_are_warned_of_and_good_ones_are_not():
    for trains, expected in ((shifted(9.0), True), (LATE, False)):
        target, fit, best = make(trains)
        titles = [warning.title for warning in plotting.summarise(target, fit, best).warnings]
        assert any("at other times" in title for title in titles) == expected
        assert not any("flat line" in title for title in titles)


def test_scores_of_spikes_are_in_the_tables():
    target, fit, best = make(SPARSE, LATE)
    table = plotting.score_table(best)
    row = table[(table["sweep"] == 13) & (table["rank"] == 1)].iloc[0]
    assert (row["spike_count"], row["spike_count_observed"]) == (2, 4)
    content = score_rows(table, best, plotting.summarise(target, fit, best))
    headers = [cell.text for cell in content.headers]
    assert {"spikes", "Γ", "RMSE between spikes (mV)"} <= set(headers)
    cell = content.rows[3][headers.index("spikes")]
    assert (cell.text, cell.note) == ("2", "for 4")
    held_out = content.footer[1]
    assert held_out[1].text == "held-out"
    spikes, factor = held_out[headers.index("spikes")], held_out[headers.index("Γ")]
    assert (spikes.text, spikes.note) == ("0 of 2", "within ±1")
    assert factor.text == f"{best.scores['gamma'][[1, 3], 0].mean():.2f}"
    between = held_out[headers.index("RMSE between spikes (mV)")]
    assert float(between.text) == pytest.approx(best.scores["rmse_subthreshold"][[1, 3], 0].mean(), rel=0.01)
    assert all(len(line) == len(headers) for line in (*content.rows, *content.footer))


def test_features_have_a_table_of_their_own():
    pytest.importorskip("efel", reason="needs the extra 'features'")
    target, fit, best = make(SPARSE, LATE)
    content = feature_rows(plotting.score_table(best))
    headers = [cell.text for cell in content.headers]
    assert "AP amplitude" in headers and "features" not in headers
    assert len(content.rows) == 5
    latency = headers.index("time to first spike")
    assert content.rows[3][latency].text == "0"
    assert content.rows[2][latency].text == "–"
    graded = {name: values for name, values in best.scores.items() if not name.startswith("error_")}
    assert feature_rows(plotting.score_table(replace(best, scores=graded))) is None


def test_the_report_has_a_section_on_spikes(tmp_path):
    target, fit, best = make(SPARSE, LATE)
    path = plotting.save(plotting.raster(target, best), tmp_path / "spikes.png", 30)
    page = plotting.report(target, fit, best, {"spikes": path}, {}, {"model": "pospischil"}, {})
    assert '<h2 id="spikes">Spikes</h2>' in page and '<a href="#spikes">' in page
    assert "Held-out: spike counts within ±1 in 0 of 2 sweeps" in page
    means = f"at least −{-THRESHOLD:.0f} mV, {PROMINENCE:.0f} mV above what lies within {WIDTH:.0f} ms"
    assert means in page and f"all coincide within {WINDOW:.0f} ms" in page
    assert f"{BEFORE:.0f} ms before and {AFTER:.0f} ms after" in page and f"up to {MOST:.0f}, " in page
    assert page.count("<h2>") == 0  # the figure has its own section, and no second one
    without = replace(best, scores={name: best.scores[name] for name in ("rmse_V", "r2_V")})
    plain = plotting.report(target, fit, without, {}, {}, {"model": "pospischil"}, {})
    assert "Γ" not in plain


def test_the_figure_of_spikes_is_there_only_while_there_are_spikes(tmp_path):
    target, fit, best = make(LATE)
    run = {"model": "pospischil", "solver": "implicit_euler", "dt": target.dt, "loss": {"V": 1.0}}
    diverged = replace(fit, status=np.full_like(fit.status, Status.DIVERGED))
    asked = {"number": 1, "profiles": [], "points": 5, "width": 3.0}
    known = estimated_uncertainty({**run, "uncertainty": asked}, target, diverged)
    for name, container in (("target", target), ("fit", fit), ("best", best), ("uncertainty", known)):
        getattr(storage, f"write_{name}")(tmp_path / f"{name}.h5", container)
    settings = {
        "best": {"number": 1},
        "loss": {"V": 1.0},
        "plot": {"dpi": 20, "color_map": "viridis", "target_color": "black"},
    }
    paths = [tmp_path / f"{name}.h5" for name in ("target", "fit", "best", "uncertainty")]
    stages.plot_results(settings, *paths, tmp_path / "figures", tmp_path / "tables")
    assert (tmp_path / "figures" / "spikes.png").exists()
    assert "gamma" in (tmp_path / "tables" / "scores.csv").read_text("utf-8").split("\n")[0]
    graded = replace(target, observed={"V": np.minimum(target.observed["V"], -30.0)})
    storage.write_target(paths[0], graded)
    stages.plot_results(settings, *paths, tmp_path / "figures", tmp_path / "tables")
    assert not (tmp_path / "figures" / "spikes.png").exists()
    assert (tmp_path / "figures" / "traces.png").exists()
