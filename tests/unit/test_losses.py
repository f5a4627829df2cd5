"""Losses as they are written: their forms, names, units, what is wrong with them, and a user's own."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from odynn import config, stages, storage
from odynn.data import Target
from odynn.errors import ConfigError, FitError, OdynnError
from odynn.fitting.checks import check_losses, chosen_loss
from odynn.fitting.losses import KINDS, ElementwiseTerm, SweepTerm, check_observed, make_loss
from odynn.fitting.losses.elementwise import SquaredError
from odynn.fitting.losses.masks import away_from_spikes, sample_weights
from odynn.fitting.losses.registry import term_class

OWN = '''
from odynn.fitting.losses import ElementwiseTerm, SweepTerm


class Quartic(ElementwiseTerm):
    """The fourth power of the error."""

    def __init__(self, deviation=1.0, shifts=()):
        self.deviation = deviation

    def residuals(self, simulated, memory, channels):
        return (), [((simulated["V"] - channels["V"]) / self.deviation) ** 2]


class Peak(SweepTerm):
    def values(self, traces):
        return traces["V"].max(axis=0)


class Nothing(ElementwiseTerm):
    pass


class Stranger:
    pass
'''


def target(V, dt=1.0, **changes):
    V = np.asarray(V, dtype=float)
    time = np.arange(1, len(V) + 1) * dt
    sweeps = np.arange(V.shape[1])
    train = np.ones(len(sweeps), bool)
    return Target(time, np.zeros(V.shape), {"V": V}, {"V": "mV"}, sweeps, train, **changes)


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "losses.py"
    path.write_text(OWN)
    return path


class TestForms:
    def test_the_short_form_is_a_squared_error_a_state(self):
        loss = make_loss({"V": 4.0, "Ca": 0.25, "n": 0.0})
        assert [(term.name, term.weight) for term in loss.terms] == [
            ("squared_error_V", 4.0),
            ("squared_error_Ca", 0.25),
        ]
        assert loss.states == ("V", "Ca")
        assert loss == make_loss(
            [
                {"kind": "squared_error", "state": "V", "weight": 4.0},
                {"kind": "squared_error", "state": "Ca", "weight": 0.25},
            ]
        )

    def test_names_are_of_one_term_each(self, own):
        entries = [
            {"kind": "squared_error"},
            {"kind": "derivative", "state": "Ca"},
            {"kind": "squared_error", "below": -40.0},
            {"kind": f"{own}:Quartic"},
            {"kind": "filtered_spikes", "weight": 0.0},
            {"kind": "squared_error", "noise": 2.0},
        ]
        assert [term.name for term in make_loss(entries).terms] == [
            "squared_error_V",
            "derivative_Ca",
            "squared_error_V_2",
            "Quartic",
            "squared_error_V_3",
        ]

    def test_the_unit_is_that_of_all_terms_or_none(self):
        units = {"V": "mV", "Ca": "mM"}
        for entries, unit in (
            ({"V": 2.0}, "(mV)²"),
            ({"V": 2.0, "Ca": 1.0}, "1"),
            ([{"kind": "squared_error"}, {"kind": "squared_error", "below": 0.0}], "(mV)²"),
            ([{"kind": "squared_error", "noise": 1.0}], "1"),
            ([{"kind": "derivative"}], "(mV/ms)²"),
            ([{"kind": "squared_error"}, {"kind": "derivative"}], "1"),
            ([{"kind": "filtered_spikes"}], "1"),
        ):
            assert make_loss(entries).unit(units) == unit

    def test_a_word_of_the_language_is_an_option(self):
        (term,) = make_loss([{"kind": "squared_error", "except": [[1, 2]]}]).terms
        assert term.term.except_ == [[1, 2]]

    def test_a_state_that_was_not_observed(self):
        check_observed(make_loss({"V": 1.0, "Ca": 0.0}), {"V": None})
        with pytest.raises(FitError, match=r"no trace of Ca\. It has: V.*weight of Ca to 0"):
            check_observed(make_loss({"V": 1.0, "Ca": 0.1}), {"V": None})
        with pytest.raises(FitError, match="no trace of V"):
            check_observed(
                make_loss([{"kind": "squared_error", "state": "Ca", "around_spikes": [1, 1]}]), {"Ca": None}
            )

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            ({"V": 0.0}, "at least one weight must be above 0"),
            ([{"kind": "squared"}], "no kind of term is called 'squared'. Did you mean 'squared_error'"),
            ([{"kind": "gone.py:Mine"}], "loss: there is no file gone.py"),
            ([{"kind": "derivative", "nose": 1}], "derivative could not be made from the options nose: 1"),
        ],
    )
    def test_what_cannot_be_made(self, entries, message):
        with pytest.raises(OdynnError, match=message):
            make_loss(entries)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("Quartik", "defines no class 'Quartik'. Did you mean 'Quartic'"),
            ("Stranger", "must be a class derived from ElementwiseTerm or SweepTerm"),
            ("Nothing", "needs a method `residuals`"),
        ],
    )
    def test_a_class_that_is_no_term(self, own, name, message):
        with pytest.raises(OdynnError, match=f"loss: .*{message}"):
            term_class(f"{own}:{name}")

    def test_every_kind_is_a_term(self):
        assert len(KINDS) >= 3
        for name, kind in KINDS.items():
            assert issubclass(kind, ElementwiseTerm | SweepTerm), name
            assert term_class(name) is kind


class TestSamplesThatCount:
    def test_all_count(self):
        assert sample_weights(target(np.zeros((10, 2))), ("V",)) is None
        assert sample_weights(target(np.zeros((10, 2))), ("V",), windows=[(0, 100)]) is None

    def test_windows_and_exclusions_have_their_ends(self):
        given = target(np.zeros((10, 1)), dt=0.1)
        weights = sample_weights(given, ("V",), windows=[(0.3, 0.6), (0.5, 0.8)], excluded=[(0.4, 0.5)])
        assert np.flatnonzero(weights[:, 0]).tolist() == [2, 5, 6, 7]
        # The mean of squares over all samples is that over those that count.
        assert np.mean(weights**2) == pytest.approx(1.0)

    def test_missing_samples(self):
        V = np.zeros((4, 2))
        V[1, 0] = np.nan
        weights = sample_weights(target(V), ("V",))
        assert (weights == 0).tolist() == np.isnan(V).tolist()
        assert np.sum(weights**2) == pytest.approx(8.0)

    def test_nothing_is_left(self):
        with pytest.raises(FitError, match="at least one sample must count.*from 1 to 4 ms"):
            sample_weights(target(np.zeros((4, 1))), ("V",), windows=[(10, 20)])

    def test_around_spikes(self):
        V = np.full((20, 2), -70.0)
        V[8:10, 0] = 20.0, 15.0  # the peak is the ninth sample, at 4.5 ms
        V[14, 0] = -30.0  # too low
        V[0, 1] = 20.0  # cut off: no peak is seen
        away = away_from_spikes(target(V, dt=0.5), 1.0, 2.0, -20.0)
        assert np.flatnonzero(~away[:, 0]).tolist() == list(range(6, 13))
        assert away[:, 1].all()


class TestChecks:
    def settings(self, loss, stages="default", **synthetic):
        return {
            "model": "celegans",
            "loss": loss,
            "fit": {"stages": stages},
            "starts": {"pool": 1},
            "target": {"synthetic": {"observed": ["V"], **synthetic}},
        }

    def test_all_is_well(self, own):
        assert check_losses(self.settings({"V": 1.0, "Ca": 0.0})) == []
        loss = [{"kind": f"{own}:Quartic", "deviation": 2.0}, {"kind": "derivative"}]
        adam = {"method": "adam", "loss": loss}
        assert check_losses(self.settings(loss, [adam], observed=["V", "Ca"])) == []
        assert check_losses({**self.settings({"V": 1.0, "Ca": 1.0}), "target": {"file": "x.csv"}}) == []

    @pytest.mark.parametrize(
        ("loss", "message"),
        [
            ({"W": 1.0}, "loss.W: CElegansNeuron has no state 'W'."),
            ({"V": 1.0, "Ca": 1.0}, "loss.Ca: the synthetic target does not record 'Ca'"),
            (
                [{"kind": "derivative", "state": "v"}],
                "loss[0].state: CElegansNeuron has no state 'v'. Did you",
            ),
            ([{"kind": "OWN:Quartic", "power": 3}], "loss[0].kind: "),
            ([{"kind": "OWN:Nothing"}], "loss[0].kind: "),
        ],
    )
    def test_one_problem(self, own, loss, message):
        if isinstance(loss, list):
            loss = [{**entry, "kind": entry["kind"].replace("OWN", str(own))} for entry in loss]
        (found,) = check_losses(self.settings(loss))
        assert found.startswith(message)
        (found,) = check_losses(self.settings({"V": 1.0}, [{"method": "adam", "loss": loss}]))
        assert found.startswith(f"fit.stages[0].{message}")

    def test_pools_need_a_stage_that_keeps_some(self):
        graded = {**self.settings({"V": 1.0}), "starts": {"pool": 8}}
        (found,) = check_losses(graded)
        assert re.search("^starts.pool: .*Received: 8, .*CElegansNeuron.*the first with keep: 2", found)
        # The default stages for recorded spikes keep a quarter.
        spiking = {**graded, "model": "cortical", "target": {"file": "x.csv"}}
        assert check_losses(spiking) == []
        assert check_losses({**spiking, "target": graded["target"]})

    def test_the_loss_is_chosen_by_model_and_target(self):
        given = self.settings("default")
        assert chosen_loss(given) == {"V": 1.0}
        assert chosen_loss({**given, "target": {"file": "x.csv"}}) == {"V": 1.0}
        spiking = {**given, "model": "cortical"}
        assert chosen_loss(spiking) == {"V": 1.0}
        assert [t["kind"] for t in chosen_loss({**spiking, "target": {"file": "x.csv"}})] == [
            "squared_error",
            "filtered_spikes",
        ]
        assert chosen_loss({**spiking, "loss": {"V": 3.0}}) == {"V": 3.0}

    def test_a_number_a_sweep_has_no_derivatives(self, own):
        peak = [{"kind": f"{own}:Peak"}]
        (found,) = check_losses(self.settings(peak))
        assert found.startswith("loss: levenberg_marquardt goes by derivatives")
        plain = {"method": "adam", "loss": {"V": 1.0}}
        free = {"method": "cma_es"}
        assert check_losses(self.settings(peak, [plain, free])) == []
        found = check_losses(self.settings({"V": 1.0}, [plain, {"method": "adam", "loss": peak}]))
        assert [text.partition(":")[0] for text in found] == ["fit.stages[1].loss"]
        assert "Received: stage 1 of fit.stages" in found[0]


CONFIG = """
experiments:
  own:
    model: leaky
    dt: 1.0
    precision: float64
    target:
      synthetic:
        duration: 60
        sweeps: [[{step: 3, from: 10, to: 40}], [{step: -2, from: 5, to: 30}]]
        train: [0]
        noise: {V: 0.5}
    parameters: {fixed: {E_L: -60}}
    starts: {number: 3, shard_size: 3}
    loss:
      - {kind: losses.py:Quartic, weight: 2, deviation: 3, shifts: [1, 2.5]}
      - {kind: squared_error, noise: 0.5, windows: [[10, 60]]}
    fit:
      stages:
        - {method: levenberg_marquardt, iterations: 4, loss: {V: 1.0}}
        - {method: levenberg_marquardt, iterations: 30, tolerance: 1.0e-8}
"""


class TestOwnLoss:
    def test_through_the_configuration_and_the_stages(self, own, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "config.yaml"
        path.write_text(CONFIG)
        checked = config.load(path)

        def settings(stage):
            return checked.settings("own", stage)

        loss = settings("fit")["loss"]
        assert loss[0] == {"kind": "losses.py:Quartic", "weight": 2.0, "deviation": 3, "shifts": [1, 2.5]}
        shard, files = (
            "000000-000002",
            {name: tmp_path / f"{name}.h5" for name in ("target", "starts", "simulated", "merged")},
        )
        fits = tmp_path / "fits" / f"{shard}.h5"
        stages.make_target(settings("make_target"), files["target"])
        stages.get_random(settings("get_random"), shard, files["starts"])
        inputs = files["target"], files["starts"]
        stages.simulate_starts(settings("simulate_starts"), *inputs, shard, files["simulated"])
        stages.fit(settings("fit"), *inputs, files["simulated"], shard, fits)
        stages.merge_fits(settings("merge_fits"), [fits], files["merged"], tmp_path / "fit.csv")

        fit, given = storage.read_fit(files["merged"]), storage.read_target(files["target"])
        assert list(fit.loss_parts) == ["Quartic", "squared_error_V"]
        np.testing.assert_allclose(sum(fit.loss_parts.values()), fit.loss, rtol=1e-9)
        assert fit.units["loss"] == "1"
        best = {name: column[0] for name, column in fit.values.items()}
        steps, V = given.stimulus[:, 0], []
        for current in steps:
            before = V[-1] if V else -60.0
            inertia = best["C_m"]  # dt is 1 ms
            drive = inertia * before + current + best["g_L"] * best["E_L"]
            V.append(drive / (inertia + best["g_L"]))
        error = np.array(V) - given.observed["V"][:, 0]
        np.testing.assert_allclose(fit.loss_parts["Quartic"][0], 2 * np.mean((error / 3) ** 4), rtol=1e-6)
        seen = given.time >= 10
        np.testing.assert_allclose(
            fit.loss_parts["squared_error_V"][0], np.mean((error[seen] / 0.5) ** 2), rtol=1e-6
        )
        # Noise of half a millivolt is what that term is in units of: a good fit has about 1.
        assert fit.loss_parts["squared_error_V"][0] == pytest.approx(1.0, abs=0.5)
        assert (fit.loss <= fit.start_loss).all()
        table = pd.read_csv(tmp_path / "fit.csv")
        np.testing.assert_allclose(table["loss_Quartic"] + table["loss_squared_error_V"], table["loss"])

        files |= {"best": tmp_path / "best.h5", "page": tmp_path / "report.html"}
        figures, tables = tmp_path / "figures", tmp_path / "tables"
        files["uncertainty"] = tmp_path / "uncertainty.h5"
        results = files["target"], files["merged"], files["best"], files["uncertainty"]
        stages.simulate_best(settings("simulate_best"), *results[:2], files["best"])
        stages.uncertainty(settings("uncertainty"), *results[:2], files["uncertainty"])
        stages.plot_results(settings("plot_results"), *results, figures, tables)
        stages.report(settings("report"), *results, figures, tables, files["page"])
        page = files["page"].read_text("utf-8")
        cells = re.search("Table of the terms of the loss.*?</table>", page, re.DOTALL).group()
        shares = [int(share) for share in re.findall(r"(\d+) %", cells)]
        assert "Quartic" in cells and len(shares) == 2
        assert sum(shares) in (99, 100, 101)
        assert shares[0] == round(100 * fit.loss_parts["Quartic"][0] / fit.loss[0])

        before = storage.read_stamp(fits)["code_fingerprint"]
        own.write_text(OWN.replace("** 2]", "** 3]"))
        stages.simulate_starts(settings("simulate_starts"), *inputs, shard, files["simulated"])
        stages.fit(settings("fit"), *inputs, files["simulated"], shard, fits)
        assert storage.read_stamp(fits)["code_fingerprint"] != before
        again = storage.read_fit(fits)
        assert not np.allclose(
            again.loss_parts["Quartic"], fit.take(np.argsort(fit.ids)).loss_parts["Quartic"]
        )

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("losses.py:Quartic", "losses.py:Quartik", r"own.loss\[0\].kind: .*Did you mean 'Quartic'"),
            ("deviation: 3", "division: 3", r"own.loss\[0\].kind: .*could not be made from the options"),
            ("losses.py:Quartic", "loses.py:Quartic", r"own.loss\[0\].kind: there is no such file"),
            ("noise: 0.5, windows", "state: W, windows", r"own.loss\[1\].state: .* has no state 'W'"),
            ("losses.py:Quartic, weight: 2, deviation: 3, shifts: [1, 2.5]", "losses.py:Peak", "derivatives"),
        ],
    )
    def test_what_is_wrong_is_told_before_any_job(self, own, tmp_path, old, new, message):
        path = tmp_path / "config.yaml"
        assert old in CONFIG
        path.write_text(CONFIG.replace(old, new))
        with pytest.raises(ConfigError, match=message) as caught:
            config.load(path)
        assert len(str(caught.value).splitlines()) == 1


class TestOnset:
    def test_clips_where_the_early_spikes_begin(self):
        time = np.arange(1, 801) * 0.1
        V = np.full((800, 2), -65.0)
        for peak, onset in ((200, -45.0), (400, -40.0), (600, -40.0)):
            V[peak - 60 : peak - 3, 0] = np.linspace(-65.0, onset, 57)  # 3.5 mV/ms at most
            V[peak - 3 : peak + 1, 0] = np.linspace(onset, 30.0, 4)
        target = Target(time, np.zeros((800, 2)), {"V": V}, {"V": "mV"}, np.arange(2), np.ones(2, dtype=bool))
        channels = SquaredError(below="onset").channels(target)
        np.testing.assert_allclose(channels["level"], -44.0)  # a tenth of the way among -45, -40, -40
        assert channels["observed"].max() <= -44.0
        silent = replace(target, observed={"V": V[:, 1:].repeat(2, axis=1)})
        assert "level" not in SquaredError(below="onset").channels(silent)
