"""The report: one page that is complete in itself, says what the fit shows, and hides no trouble."""

import base64
import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas
import pytest
import yaml

from odynn import plotting
from odynn.data import Best, Cause, Fit, Parameter, Status, Target
from odynn.errors import OdynnError
from odynn.storage import write_best, write_fit, write_target

SETTINGS = {
    "model": "leaky",
    "dt": 0.5,
    "target": {"file": "data/ä <b>&.csv", "train": [0, 1]},
    "loss": {"V": 1.0},
    "best": {"number": 2},
}
STAMP = {
    "odynn_version": "9.8.7",
    "code_fingerprint": "f1f2f3f4f5f6f7f8",
    "versions": {"numpy": "2.4.6", "tensorflow": "2.21.0"},
    "inputs": {"target": "ab" * 32},
    "settings": {"secret": "not twice"},
}
# Spread of each parameter among the starts, as a share of its bounds.
SPREADS = {"C_m": 0.01, "E_L": 0.10, "g_L": 0.50}


def make(starts=6, sweeps=3, train=(0, 1)):
    """Return a target that the best start follows within its noise, and a fit of known spreads."""
    rng = np.random.default_rng(1)
    time = np.arange(1, 101) * 0.5
    clean = -60 + 10 * (1 - np.exp(-time / 10))[:, None] * np.arange(1.0, sweeps + 1)
    observed = clean + rng.normal(size=clean.shape)
    is_train = np.isin(np.arange(sweeps), train)
    rows = {
        name: Parameter(name, 0.5, "1", (0.0, 1.0), (0.1, 0.9), meaning=f"about {name}") for name in SPREADS
    }
    values = {name: 0.25 + width * np.linspace(0, 1, starts) for name, width in SPREADS.items()}
    loss = 1.0 + 0.01 * np.arange(starts)
    nothing = np.zeros(starts, dtype=int)
    target = Target(
        time=time,
        stimulus=np.ones_like(clean),
        observed={"V": observed},
        units={"V": "mV"},
        sweeps=np.arange(sweeps),
        train=is_train,
        truth={"C_m": 0.25, "E_L": 0.25, "g_L": 0.30},
        noise={"V": 1.0},
        source={"kind": "synthetic"},
    )
    fit = Fit(
        ids=np.arange(10, 10 + starts),
        parameters=rows,
        start_values=values,
        values=values,
        start_loss=loss * 50,
        loss=loss,
        rmse_train={"V": np.sqrt(loss)},
        rmse_test={"V": np.sqrt(loss)},
        status=np.full(starts, Status.CONVERGED),
        cause=np.full(starts, Cause.NONE),
        iterations=nothing + 4,
        history=np.linspace(50, 1, 4)[:, None] * loss,
        stage=np.array([0, 0, 1, 1]),
        units={"V": "mV", "loss": "mV²"},
    )
    simulated = np.stack([clean, clean + 1], axis=2)
    error = simulated - observed[..., None]
    best = Best(
        ids=fit.ids[:2],
        time=time,
        states={"V": simulated.astype(np.float32)},
        currents={},
        scores={
            "rmse_V": np.sqrt((error**2).mean(0)),
            "r2_V": 1 - (error**2).mean(0) / observed.var(0)[:, None],
        },
        units={"V": "mV", "rmse_V": "mV", "r2_V": "1"},
        sweeps=np.arange(sweeps),
        train=is_train,
    )
    return target, fit, best


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """Return the figures of the ordinary case, drawn once."""
    folder = tmp_path_factory.mktemp("results") / "a cell" / "figures"
    target, fit, best = make()
    drawn = {
        "traces": plotting.traces(target, best),
        "waterfall": plotting.waterfall(fit, target),
        "parameters": plotting.parameters(fit, target),
        "history": plotting.history(fit),
        "details": plotting.details(target, best),
    }
    return {name: plotting.save(figure, folder / f"{name}.png", 30) for name, figure in drawn.items()}


def page(target, fit, best, figures=(), **options):
    return plotting.report(target, fit, best, dict(figures), {}, SETTINGS, STAMP, **options)


class Reader(HTMLParser):
    """Collects what the tests ask about."""

    VOID = {"meta", "img", "br", "link", "input"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.headings, self.words = [], [], [], []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def code_blocks(text):
    return [
        html.unescape(block) for block in re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", text, re.DOTALL)
    ]


def test_the_page_is_complete_in_itself(figures):
    read = Reader(page(*make(), figures))
    assert not read.all("script") and not read.all("link") and not read.all("iframe")
    pictures = read.all("img")
    assert len(pictures) == 5
    kinds, data = zip(*(picture["src"].split(",", 1) for picture in pictures), strict=True)
    assert set(kinds) == {"data:image/png;base64"}
    assert {base64.b64decode(one) for one in data} == {path.read_bytes() for path in figures.values()}
    for picture in pictures:
        assert len(picture["alt"]) > 40 and int(picture["width"]) > 0
    known = {attributes["id"] for _, attributes in read.tags if "id" in attributes}
    links = [attributes["href"] for attributes in read.all("a")]
    assert len(links) >= 7
    assert all(link.startswith("#") and link[1:] in known for link in links)
    everything = " ".join(str(value) for _, attributes in read.tags for value in attributes.values())
    assert "http:" not in everything and "https:" not in everything and "url(" not in everything
    assert "default-src 'none'" in everything


def test_headings_are_in_order_and_ids_are_unique(figures):
    read = Reader(page(*make(), figures))
    assert read.headings.count(1) == 1 and read.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(read.headings, read.headings[1:], strict=False))
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert read.all("html")[0]["lang"] == "en"


def test_equal_arguments_give_equal_pages(figures):
    assert page(*make(), figures) == page(*make(), figures)


def test_what_users_write_is_escaped(figures):
    target, fit, best = make()
    evil = '<script>alert("ü")</script>'
    row = next(iter(fit.parameters.values()))
    named = replace(fit, parameters={**fit.parameters, "C_m": row.changed(meaning="<img src=x onerror=1>")})
    target = replace(target, source={"name": "</td><b>x"})
    read = Reader(page(target, named, best, {evil: figures["traces"]}, experiment=evil))
    assert not read.all("script") and len(read.all("img")) == 1
    assert not any("onerror" in attributes for _, attributes in read.tags)
    assert evil in read.text and "</td><b>x" in read.text and "<img src=x onerror=1>" in read.text


def test_the_summary_says_what_the_data_determine():
    target, fit, best = make()
    summary = plotting.summarise(target, fit, best)
    assert summary.near == 6 and summary.best == 10
    assert summary.groups == {
        "determined": ("C_m",),
        "loosely determined": ("E_L",),
        "undetermined": ("g_L",),
    }
    assert summary.floor == pytest.approx(1.0)
    assert summary.held_out["V"].rmse == pytest.approx(best.scores["rmse_V"][2, 0], rel=1e-5)
    assert summary.worst["V"] == (2, pytest.approx(best.scores["r2_V"][2, 0], rel=1e-5))
    assert not summary.warnings
    said = " ".join(summary.findings)
    assert "6 starts fit about equally well" in said
    assert "within 5 % of it in 2 of 3 parameters; the furthest off is g_L (0.25 instead of 0.3)" in said
    assert "as good as the noise allows" in said
    read = Reader(page(target, fit, best))
    for sentence in (*summary.findings, summary.headline):
        assert sentence in read.text
    assert "Undetermined (1)" in read.text and "Determined (1)" in read.text


def test_too_few_equally_good_starts_are_not_judged():
    target, fit, best = make()
    summary = plotting.summarise(target, replace(fit, loss=np.geomspace(1, 1e5, 6)), best)
    assert summary.groups == {"not judged": ("C_m", "E_L", "g_L")}
    assert "Only the best start" in " ".join(summary.findings)


def test_a_parameter_at_its_bound_is_named():
    target, fit, best = make()
    values = {**fit.values, "E_L": np.linspace(0.9999, 0.5, 6)}
    summary = plotting.summarise(target, replace(fit, values=values), best)
    assert summary.at_bounds == ("E_L",)
    assert "at a bound, but undetermined, so that it says little: E_L." in " ".join(summary.findings)
    values["E_L"] = np.linspace(0.9999, 0.98, 6)
    summary = plotting.summarise(target, replace(fit, values=values), best)
    assert "at a bound in E_L: it would go further" in " ".join(summary.findings)


def test_calcium_is_scored_beside_the_voltage():
    target, fit, best = make()
    observed = {**target.observed, "Ca": target.observed["V"] / 100}
    target = replace(target, observed=observed, units={"V": "mV", "Ca": "a.u."}, noise=None)
    best = replace(best, states={**best.states, "Ca": best.states["V"] / 100 - 5})
    summary = plotting.summarise(target, fit, best)
    assert summary.held_out["Ca"].rmse == pytest.approx(5, rel=0.01)
    assert "follows the voltage" in summary.headline and "misses the calcium" in summary.headline


def at_limit(target, fit, best):
    return target, replace(fit, status=np.array([Status.ITERATION_LIMIT] * 4 + [Status.CONVERGED] * 2)), best


def all_diverged(target, fit, best):
    nothing = np.full(6, np.nan)
    gone = replace(
        best, states={"V": best.states["V"] * np.nan}, scores={"rmse_V": best.scores["rmse_V"] * np.nan}
    )
    return target, replace(fit, loss=nothing, status=np.full(6, Status.DIVERGED)), gone


def most_diverged(target, fit, best):
    status = np.array([Status.CONVERGED] * 2 + [Status.DIVERGED] * 4)
    return target, replace(fit, loss=np.where(np.arange(6) < 2, fit.loss, np.inf), status=status), best


def flat(target, fit, best):
    return target, fit, replace(best, states={"V": best.states["V"] + 500})


def runaway(target, fit, best):
    trace = best.states["V"].copy()
    trace[50:, 2] = np.inf
    return target, fit, replace(best, states={"V": trace})


def none_held_out(target, fit, best):
    return (
        replace(target, train=np.ones(3, bool)),
        replace(fit, rmse_test={}),
        replace(best, train=np.ones(3, bool)),
    )


@pytest.mark.parametrize(
    ("change", "title"),
    [
        (all_diverged, "All 6 starts diverged"),
        (most_diverged, "4 of 6 starts diverged"),
        (none_held_out, "No sweep is held out"),
        (flat, "The best fit is worse than a flat line on the held-out sweeps"),
        (runaway, "The best fit is not finite on the held-out sweeps"),
        (at_limit, "4 of 6 starts stopped at the iteration limit"),
    ],
)
def test_trouble_is_said_on_top(change, title):
    target, fit, best = change(*make())
    text = page(target, fit, best)
    read = Reader(text)
    banners = [attributes for attributes in read.all("div") if attributes.get("class") == "warning"]
    assert len(banners) == 1
    assert title in read.text
    assert text.index(title) < text.index('class="headline"')
    assert "nan" not in read.text.lower().replace("nanometre", "")


def test_scores_and_parameters_are_in_tables():
    target, fit, best = make()
    read = Reader(page(target, fit, best))
    for number in best.scores["rmse_V"][:, 0]:
        assert plotting.spelling.short(number) in read.text
    assert "about g_L" in read.text
    headers = [attributes.get("scope") for attributes in read.all("th")]
    assert {"row", "col"} == set(headers)


def test_tables_that_are_given_are_the_ones_shown():
    target, fit, best = make()
    table = plotting.parameter_table(fit, target)
    table.loc[0, "best"] = 0.12345
    more = {"parameters": table, "timings": table[["name", "best"]]}
    text = plotting.report(target, fit, best, {}, more, SETTINGS, STAMP, experiment="x")
    read = Reader(text)
    assert read.text.count("0.123") == 2 and "timings" in read.text


def test_tables_may_come_from_csv_files(tmp_path):
    target, fit, best = make()
    tables = {"parameters": plotting.parameter_table(fit, target), "scores": plotting.score_table(best)}
    read = {}
    for name, table in tables.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        read[name] = pandas.read_csv(tmp_path / f"{name}.csv")
    pages = [plotting.report(target, fit, best, {}, given, SETTINGS, STAMP) for given in (tables, read)]
    assert pages[0] == pages[1]


def test_settings_and_provenance_are_shown_once():
    text = page(*make())
    read = Reader(text)
    assert yaml.safe_load(code_blocks(text)[1]) == SETTINGS
    for word in ("9.8.7", "f1f2f3f4f5f6f7f8", "2.21.0", "ab" * 32):
        assert word in read.text
    assert "not twice" not in read.text


def test_the_lines_of_python_read_the_results(tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    target, fit, best = make()
    folder = tmp_path / 'a "cell" é'
    write_target(folder / "target.h5", target)
    write_fit(folder / "fit.h5", fit)
    write_best(folder / "best.h5", best)
    code = code_blocks(page(target, fit, best, folder=folder))[0]
    read = {}
    found = []
    for line in code.splitlines():
        if re.match(r"(import|\w+ = )", line):
            exec(line, read)
        elif line:
            found.append(eval(line, read))
    loss, parameter, trace, observed = found
    np.testing.assert_array_equal(loss, fit.loss)
    np.testing.assert_array_equal(parameter, fit.values["C_m"])
    np.testing.assert_array_equal(trace, best.states["V"][:, 0, 0])
    np.testing.assert_allclose(observed, target.observed["V"], rtol=1e-6)
    for tree in (value for value in read.values() if isinstance(value, xarray.DataTree)):
        tree.close()


def test_the_folder_and_the_title_follow_from_the_figures(figures):
    text = page(*make(), figures)
    assert 'a cell/fit.h5"' in code_blocks(text)[0]
    assert "<h1>a cell" in text


def test_a_missing_figure_leaves_its_section_out(figures):
    read = Reader(page(*make(), {"traces": figures["traces"]}))
    assert len(read.all("img")) == 1
    assert "#details" not in [attributes["href"] for attributes in read.all("a")]


def test_a_figure_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(OdynnError, match="absent.png"):
        page(*make(), {"traces": tmp_path / "absent.png"})
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(OdynnError, match="text.png"):
        page(*make(), {"traces": tmp_path / "text.png"})


def test_one_start_on_one_sweep_without_truth():
    target, fit, best = make(starts=1, sweeps=1, train=(0,))
    target = replace(target, truth=None, noise=None)
    best = replace(best, ids=best.ids[:1], states={"V": best.states["V"][..., :1]})
    best = replace(best, scores={name: values[:, :1] for name, values in best.scores.items()})
    read = Reader(page(target, fit, best))
    assert "It is the only start." in read.text
    assert "truth" not in read.text
