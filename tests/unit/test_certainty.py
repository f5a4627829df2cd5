"""What is drawn and said of the uncertainty of a fit."""

from dataclasses import replace

import numpy as np
import pytest

from odynn import plotting
from odynn.data import Best, Fit, Parameter, Status, Target, Uncertainty, Verdict
from odynn.plotting import measures
from odynn.plotting.certainty import certainty, uncertainty_rows

ROWS = {
    "C_m": Parameter("C_m", 1.0, "µF/cm²", (0.5, 10.5)),
    "g_L": Parameter("g_L", 0.1, "mS/cm²", (0.01, 1.0), scale="log"),
    "E_L": Parameter("E_L", -60.0, "mV", (-100.0, 0.0)),
}


def make(**changes):
    """Return errors of one start: C_m is determined, g_L is not seen at all, E_L lies at its bound."""
    nan, inf = np.nan, np.inf

    def each(*entries):
        return dict(zip(ROWS, (np.array(entry, dtype=float) for entry in entries), strict=True))

    known = Uncertainty(
        ids=np.array([7]),
        parameters=ROWS,
        values=each([2.0], [0.1], [-100.0]),
        loss=np.array([4.0]),
        samples=np.array([400]),
        effective_samples=np.array([100.0]),
        rank=np.array([1]),
        noise=np.array([2.0]),
        decrement=np.array([0.1]),
        scaled_errors=each([0.01], [inf], [nan]),
        naive_errors=each([0.05], [inf], [nan]),
        corrected_errors=each([0.1], [inf], [nan]),
        verdicts={
            "C_m": np.array([Verdict.DETERMINED], "i1"),
            "g_L": np.array([Verdict.NOT_DETERMINED], "i1"),
            "E_L": np.array([Verdict.AT_BOUND], "i1"),
        },
        eigenvalues=np.array([[1e4], [0.0], [nan]]),
        directions=each([[1.0], [0.0], [nan]], [[0.0], [1.0], [nan]], [[0.0], [0.0], [nan]]),
        correlations=each([[1.0], [-0.99], [nan]], [[-0.99], [1.0], [nan]], [[nan]] * 3),
        truth_distances=each([-1.5], [0.0], [nan]),
        equal_loss=4.4,
        equal_starts=5.0,
        equal_spreads={"C_m": 0.2, "g_L": 0.05, "E_L": 0.0},
        points=np.arange(-1, 2),
        profile_values={"C_m": np.array([1.7, 2.0, 2.3]), "g_L": np.array([0.01, 0.1, 1.0])},
        profile_losses={"C_m": np.array([4.5, 4.0, 4.5]), "g_L": np.array([4.0, 4.0, nan])},
        profile_lower={"C_m": 1.8, "g_L": -inf},
        profile_upper={"C_m": 2.2, "g_L": nan},
        profile_loss=4.2,
        units={"loss": "(mV)²", "noise": "mV"},
    )
    return replace(known, **changes)


def none_left():
    """Return the errors of a fit of which every start diverged."""
    empty = {name: np.zeros(0) for name in ROWS}
    square = {name: np.zeros((3, 0)) for name in ROWS}
    return make(
        **dict.fromkeys(
            ("ids", "loss", "samples", "effective_samples", "rank", "noise", "decrement"), np.zeros(0)
        ),
        **dict.fromkeys(("values", "scaled_errors", "naive_errors", "corrected_errors", "verdicts"), empty),
        eigenvalues=np.zeros((3, 0)),
        directions=square,
        correlations=square,
        truth_distances=None,
        equal_starts=0.0,
        points=np.zeros(0, dtype=int),
        **dict.fromkeys(("profile_values", "profile_losses", "profile_lower", "profile_upper"), {}),
    )


def target(truth=None):
    return Target(
        time=np.arange(1.0, 5.0),
        stimulus=np.zeros((4, 1)),
        observed={"V": np.zeros((4, 1))},
        units={"V": "mV"},
        sweeps=np.array([0]),
        train=np.array([True]),
        truth=truth,
    )


def texts(figure):
    figure.canvas.draw()
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [
        text.get_text() for legend in figure.legends for text in legend.texts
    ]


def test_the_figure_of_errors_says_every_verdict():
    figure = plotting.uncertainty(make(), target({"C_m": 2.1, "g_L": 0.2, "E_L": -60.0}))
    found = texts(figure)
    assert {"determined", "not determined", "at bound", "± 0.1", "± ∞", "truth"} <= set(found)
    assert "spread of the 5 starts that fit equally well" in found
    assert len(figure.axes) == 3  # the rows and two profiles
    titles = [axes.get_title(loc="left") for axes in figure.axes[1:]]
    assert titles == ["95 %: 1.8 … 2.2", "95 %: no limit … beyond"]


def test_bars_are_where_the_intervals_are():
    known = make(profile_values={}, profile_losses={}, profile_lower={}, profile_upper={})
    (axes,) = plotting.uncertainty(known, target()).axes
    boxes = [path.get_extents() for bars in axes.collections for path in bars.get_paths()]
    widths = sorted(round(float(box.x1 - box.x0), 4) for box in boxes)
    assert round(2 * 1.96 * 0.1 / 10, 4) in widths  # C_m, of bounds ten wide
    assert 1.0 in widths  # g_L, all of its bounds
    assert measures.position_error(ROWS["g_L"], 0.1, 0.1) == pytest.approx(1 / np.log(100))


@pytest.mark.parametrize("known", [make(), none_left(), make(eigenvalues=np.full((3, 1), np.nan))])
def test_figures_are_drawn_whatever_there_is(known):
    for figure in (plotting.uncertainty(known, target()), plotting.information(known)):
        assert plotting.png(figure, 30).startswith(b"\x89PNG")
        assert figure.axes or figure.texts


def test_the_figure_of_directions():
    figure = plotting.information(make())
    spectrum, best, least, matrix, _ = figure.axes
    assert spectrum.get_yscale() == "log"
    assert [label.get_text() for label in best.get_yticklabels()] == ["C_m"]
    assert [label.get_text() for label in least.get_yticklabels()] == ["g_L"]
    np.testing.assert_array_equal(matrix.images[0].get_array(), [[1.0, -0.99], [-0.99, 1.0]])
    # Of two directions that are not seen, each parameter's share in both together.
    both = make(eigenvalues=np.array([[1e4], [0.0], [0.0]]))
    turned = {"C_m": [1, 0, 0], "g_L": [0, 0.6, 0.8], "E_L": [0, -0.8, 0.6]}
    both = replace(both, directions={name: np.array(row, float)[:, None] for name, row in turned.items()})
    least = plotting.information(both).axes[2]
    assert least.get_title(loc="left") == "not seen (2 directions)"
    np.testing.assert_allclose([bar.get_width() for bar in least.patches], [1.0, 1.0])


def test_the_table():
    table = plotting.uncertainty_table(make(), target({"C_m": 2.1})).set_index("name")
    assert table.loc["C_m", "interval"] == pytest.approx(0.0392)
    assert table["verdict"].tolist() == ["determined", "not_determined", "at_bound"]
    assert np.isinf(table.loc["g_L", "corrected_error"])
    assert table.loc["C_m", "truth"] == 2.1
    assert np.isnan(table.loc["E_L", "profile_lower"])
    shown = uncertainty_rows(table.reset_index())
    assert all(len(row) == len(shown.headers) for row in shown.rows)
    assert [row[0].text for row in shown.rows] == list(ROWS)
    assert "1.8 … 2.2" in [cell.text for cell in shown.rows[0]]
    assert "−1.5" in [cell.text for cell in shown.rows[0]]
    assert len(plotting.uncertainty_table(none_left(), target())) == 0


def test_what_is_said():
    said = " ".join(certainty(make()))
    assert "The data determine 1 of 3 parameters (C_m), 0 weakly, and 1 not." in said
    assert "left out of every error: E_L." in said
    assert "5 starts fit equally well" in said and "4.4 mV²" in said
    assert "standard deviation 2 mV" in said
    assert "400 of them are worth about 100 independent ones, and the errors are 2.0 times" in said
    assert "C_m and g_L (−0.990)" in said
    assert "not quite arrived" not in said
    assert "for 1 of the 1 parameters" in said
    assert "white noise with a standard deviation" in " ".join(
        certainty(make(effective_samples=np.array([390.0])))
    )
    # Of correlated residuals, four in a row count as one.
    assert "about 3 standard errors away" in " ".join(certainty(make(decrement=np.array([36.0]))))
    lost = {name: np.array([Verdict.NOT_ASSESSED], "i1") for name in ROWS}
    assert "Nothing can be said" in certainty(make(verdicts=lost))[0]
    assert certainty(none_left()) == [
        "Every start diverged: there is no fit whose parameters could be judged."
    ]


def results():
    """Return a fit of one start and its free run."""
    one, values = np.ones(1), {name: np.array([row.default]) for name, row in ROWS.items()}
    fit = Fit(
        ids=np.array([7]),
        parameters=ROWS,
        start_values=values,
        values=values,
        start_loss=9 * one,
        loss=4 * one,
        rmse_train={"V": 2 * one},
        rmse_test={},
        status=np.array([Status.CONVERGED]),
        cause=np.array([0]),
        iterations=np.array([3]),
        history=np.ones((1, 1)),
        stage=np.array([0]),
        units={"V": "mV", "loss": "(mV)²"},
    )
    best = Best(
        ids=fit.ids,
        time=np.arange(1.0, 5.0),
        states={"V": np.zeros((4, 1, 1))},
        currents={},
        scores={"rmse_V": np.ones((1, 1))},
        units={"V": "mV", "rmse_V": "mV"},
        sweeps=np.array([0]),
        train=np.array([True]),
    )
    return target(), fit, best


def test_the_report_has_the_section(tmp_path):
    figures = {
        "uncertainty": plotting.save(plotting.uncertainty(make(), target()), tmp_path / "u.png", 30),
        "information": plotting.save(plotting.information(make()), tmp_path / "i.png", 30),
    }
    for known in (make(), none_left()):
        page = plotting.report(*results(), figures, {}, {}, {}, uncertainty=known, folder=tmp_path)
        assert 'href="#uncertainty"' in page and '<h2 id="uncertainty">' in page
        assert page.count("<img") == 2
        assert (
            ("The data determine 1 of 3" in page)
            == ("Table of standard errors" in page)
            == bool(len(known.ids))
        )
    without = plotting.report(*results(), figures, {}, {}, {}, folder=tmp_path)
    assert '"#uncertainty"' not in without and 'id="uncertainty"' not in without
    assert without.count("<img") == 2
