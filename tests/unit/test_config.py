"""The configuration: refusals and their remedies, defaults, merging, narrow views, shards, paths."""

import copy
import json
import os
import re
import subprocess
import sys
import types
from collections import OrderedDict
from pathlib import Path

import pytest
import yaml

from odynn import config
from odynn.errors import ConfigError, RecordingError
from odynn.recordings import files  # noqa: F401 - here before a stand-in for its package is

ROOT = Path(__file__).resolve().parents[2]

SYNTHETIC = {"duration": 100, "sweeps": [[{"step": 1, "from": 10, "to": 90}], [], []]}
STEP = ("target", "synthetic", "sweeps", 0, 0)
DELETE = "<gone>"

# Every key that an experiment can have, with values other than the defaults.
FULL = {
    "model": "celegans",
    "solver": "exponential_euler",
    "dt": 0.5,
    "precision": "float64",
    "device": "cpu",
    "initial_state": "default",
    "target": {
        "synthetic": {
            "parameters": {"g_L": 0.01},
            "duration": 1000,
            "sweeps": [
                [{"step": 1, "from": 0, "to": 1000}, {"ramp": [0, 2.5], "from": 1, "to": 2}],
                [{"pulses": 3, "change": -1, "number": 2, "width": 5, "every": 10, "from": 20}],
            ],
            "train": [0],
            "test": [1],
            "observed": ["V", "Ca"],
            "noise": {"V": 0.5},
            "seed": 3,
        }
    },
    "parameters": {
        "fixed": {"E_K": -80},
        "free": ["C_m", "g_L"],
        "bounds": {"C_m": [0.5, 10]},
        "ranges": {"C_m": [1, 5]},
        "scales": {"C_m": "linear"},
        "shared": {"slow": ["g_L", "g_Ca"]},
    },
    "starts": {
        "number": 10,
        "seed": 2,
        "design": "sobol",
        "regression": True,
        "shard_size": 8,
        "pool": 4,
    },
    "loss": {"V": 1, "Ca": 0.5},
    "fit": {
        "hopeless": 0.5,
        "stages": [
            {
                "method": "levenberg_marquardt",
                "keep": 2,
                "nudge": 2,
                "loss": [
                    {
                        "kind": "derivative",
                        "weight": 2,
                        "state": "Ca",
                        "noise": 0.5,
                        "windows": [[0, 500]],
                        "except": [[10, 12]],
                        "around_spikes": [1, 5],
                        "threshold": -10,
                    },
                    {
                        "kind": "filtered_spikes",
                        "weight": 3,
                        "threshold": 0,
                        "width": 2,
                        "time_constant": 5,
                        "windows": [[0, 500]],
                        "except": [[10, 12]],
                    },
                ],
                "iterations": 3,
                "tolerance": 0.001,
            },
            {
                "method": "cma_es",
                "keep": 1,
                "nudge": 1,
                "loss": {"V": 3},
                "iterations": 5,
                "population": 6,
                "sigma": 0.1,
                "tolerance": 0.01,
            },
            {
                "method": "adam",
                "keep": 1,
                "nudge": 1,
                "loss": {"V": 2},
                "iterations": 9,
                "rate": 0.2,
                "decay": 0.5,
                "decay_every": 2,
                "clip_norm": 1.5,
            },
        ],
    },
    "best": {"number": 2},
    "uncertainty": {"number": 2, "profiles": ["C_m"], "points": 3, "width": 2},
    "plot": {"dpi": 72, "color_map": "magma", "target_color": "#333333"},
}
RECORDING = {
    "file": "aiy.csv",
    "sha256": None,
    "format": "csv",
    "columns": {"time": "t", "stimulus": "I{sweep}", "V": "V{sweep}"},
    "units": {"time": "s"},
    "interval": None,
    "protocol": None,
    "stimulus": None,
    "area": 65.89,
    "capacitance": None,
    "preparation": {
        "repeats": [[3, 4]],
        "baseline": {"stimulus": [0, 10]},
        "holding": 5,
        "bridge": 10,
        "junction_potential": 14.4,
        "mask": [[1, 2]],
        "blank": {"before": 0.5, "after": 1, "jump": 10},
        "weights": [{"weight": 2.0, "sweeps": [0], "times": [[1.5, 2.5]]}],
    },
    "sweeps": [0, 1, 2],
    "train": [0],
    "test": [1, 2],
    "window": [10, 500],
    "resample": "sample",
}


@pytest.fixture(autouse=True)
def other_modules(monkeypatch):
    """Stand-ins for the checks that open models and recordings; each has tests of its own."""
    models, recordings = types.ModuleType("odynn.models"), types.ModuleType("odynn.recordings")
    losses = types.ModuleType("odynn.fitting.checks")
    models.check_experiment = lambda settings: []
    models.load_model = lambda name: types.SimpleNamespace(current_unit="µA/cm²")
    losses.check_losses = lambda settings: []
    losses.chosen_loss = lambda settings: {"V": 1.0} if settings["loss"] == "default" else settings["loss"]
    losses.fitted_states = lambda settings: ["V"]
    recordings.preflight = lambda target, dt, *needs: []
    recordings.__path__ = [str(ROOT / "odynn" / "recordings")]  # where its modules are
    monkeypatch.setitem(sys.modules, "odynn.models", models)
    monkeypatch.setitem(sys.modules, "odynn.fitting.checks", losses)
    monkeypatch.setitem(sys.modules, "odynn.recordings", recordings)
    return models, recordings


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with config/ in it."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "aiy.csv").write_text("time_ms\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config"


def minimal(**keys):
    return {"model": "leaky", "dt": 1, "target": {"synthetic": copy.deepcopy(SYNTHETIC)}} | keys


def changed(settings, path, value):
    settings = copy.deepcopy(settings)
    place = settings
    for key in path[:-1]:
        place = place[key] if isinstance(place, list) else place.setdefault(key, {})
    if value == DELETE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return settings


def check(settings, folder, **options):
    raw = settings if "experiments" in settings else {"experiments": {"x": settings}}
    return config.from_mapping(raw, folder, "config.yaml", **options)


def refusal(settings, folder):
    with pytest.raises(ConfigError) as caught:
        check(settings, folder)
    return str(caught.value)


def dotted(path):
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def leaves(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not items:
        yield path, value
    for key, item in items:
        yield from leaves(item, (*path, key))


def mappings(value, path=()):
    if isinstance(value, dict):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from mappings(item, (*path, key))


REFUSED = yaml.safe_load(Path(__file__).with_name("config_refusals.yaml").read_text("utf-8"))


@pytest.mark.parametrize(("key", "value", "message"), REFUSED, ids=[f"{k}-{v!r}"[:60] for k, v, _ in REFUSED])
def test_a_wrong_experiment_is_refused_with_the_place_and_the_remedy(folder, key, value, message):
    check(minimal(), folder)
    path = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", key)]
    lines = refusal(changed(minimal(), path, value), folder).splitlines()
    # One mistake is one line.
    assert len(lines) == 1
    assert lines[0].startswith("config.yaml: experiments.x.")
    assert re.search(message, lines[0])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "config.yaml: the file is empty. Expected at least: experiments: "),
        ({}, "config.yaml: the file is empty"),
        (["a"], r"config.yaml: expected a mapping, key: value. Received: \['a'\]"),
        ("experiments", r"config.yaml: expected a mapping, key: value. Received: 'experiments' \(text\)"),
        ({"results": "out"}, "config.yaml: experiments: missing. Expected at least one experiment"),
        ({"experiments": None}, "experiments: expected at least one experiment.*Received: nothing"),
        ({"experiments": {}}, "experiments: expected at least one experiment.*Received: an empty mapping"),
        ({"experiments": [minimal()]}, "experiments: expected at least one experiment.*without dashes"),
        ({"experiments": {"a": None}}, "experiments.a: expected a mapping of the keys of an experiment"),
        (
            {"experiments": {"a b": minimal()}},
            "experiments.a b: this name cannot be used. Expected letters, digits",
        ),
        ({"experiments": {"../a": minimal()}}, r"experiments.\.\./a: this name cannot be used"),
        ({"experiments": {"a" * 101: minimal()}}, "this name cannot be used"),
        (
            {"experiments": {"a": minimal(), "A": minimal()}},
            "experiments.A: differs from 'a' in capitals only",
        ),
        ({"experiments": {2: minimal()}}, "experiments: keys must be text. Received: 2. .*put it in quotes"),
        (
            {"experiments": {"a": minimal()}, "results": None},
            "results: expected the path of a folder. Received: nothing",
        ),
        ({"experiments": {"a": minimal()}, "default": {}}, "default: unknown key. Did you mean 'defaults'"),
        (minimal(), "model: unknown key. It belongs to an experiment: experiments.NAME.model"),
        (
            {"experiments": {"a": minimal()}, "defaults": {"dtt": 1}},
            "defaults.dtt: unknown key. Did you mean 'dt'",
        ),
        ({"experiments": {"a": minimal()}, "defaults": {"dt": "1e1"}}, r"defaults.dt: .*write 1.0e\+1"),
    ],
)
def test_a_wrong_file_is_refused(folder, raw, message):
    with pytest.raises(ConfigError, match=message):
        config.from_mapping(raw, folder, "config.yaml")


def test_all_problems_are_told_at_once_one_a_line(folder):
    wrong = minimal(startz={}, solver="x", loss={"V": "1e-3"}, best={"number": 0})
    later = minimal(parameters={"bounds": {"C": [2, 1]}}, model="mine.py:Mine")
    message = refusal({"result": "r", "experiments": {"a": wrong, "b": later}}, folder)
    found = [line.removeprefix("config.yaml: ").split(": ")[0] for line in message.splitlines()]
    assert sorted(found) == [
        "experiments.a.best.number",
        "experiments.a.loss.V",
        "experiments.a.solver",
        "experiments.a.startz",
        "experiments.b.model",
        "experiments.b.parameters.bounds.C",
        "result",
    ]


@pytest.mark.parametrize("target", [FULL["target"], RECORDING], ids=["synthetic", "recording"])
def test_every_mapping_is_closed(folder, target):
    full = FULL | {"target": target}
    check(full, folder)
    places = list(mappings(full))
    assert len(places) > 12
    for path in places:
        message = refusal(changed(full, (*path, "zzz"), {"q": 1}), folder)
        # A map of names takes any name, but then its value is refused.
        assert re.search(re.escape(dotted((*path, "zzz"))) + ": (unknown key|expected)|not both", message), (
            path
        )


@pytest.mark.parametrize("target", [FULL["target"], RECORDING], ids=["synthetic", "recording"])
def test_every_value_of_a_wrong_kind_is_refused_where_it_stands(folder, target):
    full = FULL | {"target": target}
    places = list(leaves(full))
    assert len(places) > 35
    for path, _ in places:
        # Where a mapping may stand, its key is what is wrong.
        wrong = rf"x\.{re.escape(dotted(path))}(: expected |\.q: unknown key)"
        assert re.search(wrong, refusal(changed(full, path, {"q": {}}), folder))


def test_every_number_given_as_text_is_told_how_to_be_written(folder):
    numbers = [path for path, value in leaves(FULL) if type(value) in (int, float)]
    assert len(numbers) > 30
    for path in numbers:
        message = refusal(changed(FULL, path, "2e1"), folder)
        assert re.search(
            re.escape(dotted(path)) + r": .*YAML reads 2e1 as text: write (2\.0e\+1|20)\.", message
        )


def test_defaults_are_filled_in(folder):
    # Written out from the design of the configuration, on purpose not read from the schema.
    complete = check(minimal(), folder)
    assert complete.results == Path("results")
    assert complete.experiments["x"] == {
        "model": "leaky",
        "solver": "implicit_euler",
        "dt": 1.0,
        "precision": "float32",
        "device": "auto",
        "initial_state": "auto",
        "target": {
            "synthetic": {
                "parameters": "default",
                "duration": 100.0,
                "sweeps": [[{"step": 1.0, "from": 10.0, "to": 90.0}], [], []],
                "train": None,
                "test": None,
                "observed": ["V"],
                "noise": {},
                "seed": 0,
            }
        },
        "parameters": {"fixed": {}, "free": "all", "bounds": {}, "ranges": {}, "scales": {}, "shared": {}},
        "starts": {
            "number": 64,
            "seed": 1,
            "design": "random",
            "regression": False,
            "shard_size": 32,
            "pool": 1,
        },
        "loss": {"V": 1.0},
        "fit": {"stages": "default", "hopeless": None},
        "best": {"number": 5},
        "uncertainty": {"number": 1, "profiles": [], "points": 5, "width": 3.0},
        "plot": {"dpi": 150, "color_map": "viridis", "target_color": "black"},
    }
    recording = check(minimal(target={"file": "aiy.csv"}), folder).experiments["x"]["target"]
    assert recording == {
        "file": "config/aiy.csv",
        "sha256": None,
        "format": "auto",
        "columns": None,
        "units": {},
        "interval": None,
        "protocol": None,
        "stimulus": None,
        "area": None,
        "capacitance": None,
        "preparation": {
            "repeats": [],
            "baseline": {},
            "holding": None,
            "bridge": None,
            "junction_potential": None,
            "mask": [],
            "blank": {"before": 0.0, "after": 0.0, "jump": None},
            "weights": [],
        },
        "sweeps": None,
        "train": None,
        "test": None,
        "window": None,
        "resample": "mean",
    }


def test_defaults_are_filled_in_inside_lists(folder):
    pulses = {"pulses": 1, "number": 2, "width": 5, "every": 10, "from": 10}
    settings = changed(minimal(), STEP, pulses)
    settings["fit"] = {"stages": [{"method": "levenberg_marquardt"}, {"method": "adam", "rate": 1}]}
    experiment = check(settings, folder).experiments["x"]
    assert experiment["target"]["synthetic"]["sweeps"][0][0]["change"] == 0.0
    assert experiment["fit"]["stages"] == [
        {
            "method": "levenberg_marquardt",
            "keep": None,
            "nudge": 0.0,
            "loss": None,
            "iterations": 40,
            "tolerance": 1e-4,
        },
        {
            "method": "adam",
            "keep": None,
            "nudge": 0.0,
            "loss": None,
            "iterations": 700,
            "rate": 1.0,
            "decay": 0.92,
            "decay_every": 9,
            "clip_norm": 5.0,
        },
    ]


def test_what_is_given_is_kept(folder):
    assert check(FULL, folder).experiments["x"] == FULL
    assert check(FULL | {"target": RECORDING}, folder).experiments["x"]["target"] == RECORDING | {
        "file": "config/aiy.csv"
    }


def test_equal_settings_are_equal_as_text_however_they_are_written(folder):
    def turned(value):
        if isinstance(value, dict):
            return OrderedDict((key, turned(item)) for key, item in reversed(value.items()))
        if isinstance(value, list):
            return [turned(item) for item in value]
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    original = copy.deepcopy(FULL)
    texts = [json.dumps(check(settings, folder).experiments["x"]) for settings in (FULL, turned(FULL))]
    assert texts[0] == texts[1]
    assert original == FULL


def test_no_pool_is_divided_between_shards(folder):
    keep = {"stages": [{"method": "adam", "keep": 2}, {"method": "adam"}, {"method": "adam", "keep": 3}]}
    given = minimal() | {"starts": {"pool": 5}, "fit": keep}
    lines = refusal(given, folder).splitlines()
    assert len(lines) == 2
    assert "starts.shard_size: expected a multiple of starts.pool (5)" in lines[0]
    assert "Received: 32. Write 35." in lines[0]
    assert "fit.stages[2].keep: expected at most the 2 of each pool that are there" in lines[1]
    keep["stages"].pop()
    found = check(minimal() | {"starts": {"pool": 5, "shard_size": 35}, "fit": keep}, folder)
    assert [stage["keep"] for stage in found.experiments["x"]["fit"]["stages"]] == [2, None]


def test_best_is_at_most_the_number_of_starts(folder):
    settings = minimal(starts={"number": 3})
    assert check(settings, folder).settings("x", "simulate_best")["best"] == {"number": 3}


def test_a_piece_may_end_at_the_duration_in_spite_of_rounding(folder):
    pulses = {"pulses": 1, "number": 3, "width": 0.1, "every": 0.1, "from": 0}
    synthetic = {"duration": 0.3, "sweeps": [[pulses]]}
    assert 0.1 * 2 + 0.1 > 0.3
    check(minimal(dt=0.05, target={"synthetic": synthetic}), folder)


class TestDefaults:
    def test_are_merged_mapping_by_mapping_and_lists_replace(self, folder):
        raw = {
            "defaults": minimal(
                starts={"number": 8, "seed": 5},
                parameters={"bounds": {"C": [1, 2], "g": [0, 1]}},
                fit={"stages": [{"method": "adam"}, {"method": "adam"}]},
            ),
            "experiments": {
                "a": {},
                "b": {
                    "starts": {"seed": 6},
                    "parameters": {"bounds": {"C": [3, 4]}},
                    "fit": {"stages": [{"method": "levenberg_marquardt"}]},
                    "target": {"synthetic": {"noise": {"V": 2}}},
                },
            },
        }
        a, b = check(raw, folder).experiments.values()
        others = {"shard_size": 32, "design": "random", "regression": False, "pool": 1}
        assert a["starts"] == {"number": 8, "seed": 5, **others}
        assert b["starts"] == {"number": 8, "seed": 6, **others}
        assert b["parameters"]["bounds"] == {"C": [3, 4], "g": [0, 1]}
        assert [stage["method"] for stage in b["fit"]["stages"]] == ["levenberg_marquardt"]
        assert b["target"]["synthetic"]["noise"] == {"V": 2}
        assert b["target"]["synthetic"]["duration"] == 100
        assert a["target"]["synthetic"]["noise"] == {}

    def test_a_recording_replaces_a_synthetic_target(self, folder):
        raw = {"defaults": minimal(), "experiments": {"a": {"target": {"file": "aiy.csv"}}}}
        assert "synthetic" not in check(raw, folder).experiments["a"]["target"]

    def test_a_synthetic_target_replaces_a_recording(self, folder):
        raw = {
            "defaults": minimal(target={"file": "aiy.csv", "area": 3}),
            "experiments": {"a": {"target": {"synthetic": SYNTHETIC}}, "b": {"target": {"area": 4}}},
        }
        experiments = check(raw, folder).experiments
        assert list(experiments["a"]["target"]) == ["synthetic"]
        assert experiments["b"]["target"]["area"] == 4
        assert experiments["b"]["target"]["file"] == "config/aiy.csv"

    def test_part_of_a_recording_does_not_go_with_a_synthetic_target(self, folder):
        raw = {"defaults": minimal(), "experiments": {"a": {"target": {"area": 4}}}}
        assert re.search(r"experiments.a.target: .* not both.*beside `area`", refusal(raw, folder))

    def test_keys_that_an_experiment_needs_may_be_there(self, folder):
        raw = {"defaults": {"model": "leaky", "dt": 2}, "experiments": {"a": {"target": {"file": "aiy.csv"}}}}
        assert check(raw, folder).experiments["a"]["dt"] == 2
        del raw["defaults"]["dt"]
        assert refusal(raw, folder).startswith("config.yaml: experiments.a.dt: missing")


class TestSettings:
    def test_every_stage_gets_the_keys_that_it_reads_and_no_other(self, folder):
        complete = check(FULL, folder)
        expected = {
            "make_target": {"model", "solver", "dt", "initial_state", "target"},
            "get_random": {
                "model",
                "parameters",
                "starts.seed",
                "starts.design",
                "starts.regression",
                "solver",  # of the regression
            },
            "simulate_starts": {
                "model",
                "solver",
                "dt",
                "precision",
                "device",
                "loss",
                "parameters",
                "starts.seed",
            },
            "fit": {
                "model",
                "solver",
                "dt",
                "precision",
                "device",
                "loss",
                "parameters",
                "starts.seed",
                "starts.pool",
                "fit",
            },
            "merge_fits": set(FULL) - {"device", "best", "uncertainty", "plot"},
            "simulate_best": {"model", "solver", "dt", "precision", "device", "best"},
            "uncertainty": {"model", "solver", "dt", "device", "loss", "uncertainty"},
            "plot_results": {"best", "loss", "plot"},
            "report": set(FULL),
        }
        assert set(config.STAGE_KEYS) == set(expected)
        for stage, keys in expected.items():
            settings = complete.settings("x", stage)
            found = {f"starts.{key}" for key in settings.pop("starts", {})} | set(settings)
            assert found == (
                keys - {"starts"} | {f"starts.{key}" for key in FULL["starts"]} if "starts" in keys else keys
            )

    def test_are_plain_and_a_copy(self, folder):
        complete = check(FULL, folder)
        for stage in config.STAGE_KEYS:
            settings = complete.settings("x", stage)
            assert json.loads(json.dumps(settings)) == settings
        complete.settings("x", "fit")["parameters"]["fixed"]["E_K"] = 0
        complete.settings("x", "report")["parameters"]["fixed"]["E_K"] = 0
        assert complete.settings("x", "fit")["parameters"]["fixed"] == {"E_K": -80}

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("starts", "number"), 99),
            (("starts", "shard_size"), 12),
            (("plot", "dpi"), 99),
            (("best", "number"), 1),
        ],
    )
    def test_more_starts_and_other_figures_refit_nothing(self, folder, path, value):
        before, after = check(FULL, folder), check(changed(FULL, path, value), folder)
        assert before.experiments != after.experiments
        for stage in ("make_target", "simulate_starts", "fit"):
            assert before.settings("x", stage) == after.settings("x", stage)

    @pytest.mark.parametrize(
        ("changes", "more"),
        [
            ({}, set()),
            ({"initial_state": "steady_state"}, set()),
            ({"initial_state": "fitted"}, {"initial_state"}),
            ({"starts": {"design": "sobol"}}, set()),
            ({"starts": {"design": "latin_hypercube"}}, {"starts.number"}),
            ({"starts": {"regression": True}}, {"solver"}),
        ],
    )
    def test_starts_are_drawn_anew_only_where_they_depend_on_a_key(self, folder, changes, more):
        settings = check(minimal(**changes), folder).settings("x", "get_random")
        found = {f"starts.{key}" for key in settings.pop("starts")} | set(settings)
        always = {"model", "parameters", "starts.seed", "starts.design", "starts.regression"}
        assert found == always | more

    def test_unknown_names_are_refused(self, folder):
        complete = check(minimal(), folder)
        with pytest.raises(
            ConfigError, match="stage: expected one of .*Received: 'fitt'. Did you mean 'fit'"
        ):
            complete.settings("x", "fitt")
        with pytest.raises(ConfigError, match="experiment: expected one of x. Received: 'y'"):
            complete.settings("y", "fit")
        with pytest.raises(ConfigError, match="experiment: expected one of x. Received: 'y'"):
            complete.shards("y")


class TestShards:
    @pytest.mark.parametrize(("number", "size"), [(1, 1), (1, 32), (32, 32), (33, 32), (100, 7), (7, 100)])
    def test_hold_every_start_once(self, folder, number, size):
        names = check(minimal(starts={"number": number, "shard_size": size}), folder).shards("x")
        ids = []
        for name in names:
            assert re.fullmatch(r"\d{6}-\d{6}", name)
            first, last = (int(end) for end in name.split("-"))
            assert 1 <= last - first + 1 <= size
            ids += range(first, last + 1)
        assert ids == list(range(number))

    def test_names(self, folder):
        starts = {"number": 70, "shard_size": 32}
        assert check(minimal(starts=starts), folder).shards("x") == [
            "000000-000031",
            "000032-000063",
            "000064-000069",
        ]

    def test_more_starts_keep_the_full_shards(self, folder):
        few, many = (
            check(minimal(starts={"number": number, "shard_size": 400_000}), folder).shards("x")
            for number in (800_000, 2_000_000)
        )
        assert many[: len(few)] == few
        assert many[-1] == "1600000-1999999"


@pytest.mark.parametrize(
    ("address", "extra"), [("https://a.org/b.csv", "workflow"), ("s3://rig/day/b.csv", "s3")]
)
def test_a_missing_storage_plugin_is_told_with_its_extra(folder, monkeypatch, address, extra):
    there = set()
    monkeypatch.setattr("odynn.config.addresses.find_spec", lambda name: name if name in there else None)
    plugin = {"workflow": "http"}.get(extra, extra)
    settings = minimal(target={"file": address})
    with pytest.raises(ConfigError, match=rf"snakemake-storage-plugin-{plugin}\..*'odynn\[{extra}\]'"):
        check(settings, folder)
    there.add(f"snakemake_storage_plugin_{plugin}")
    assert check(settings, folder).experiments["x"]["target"]["file"] == address


class TestPaths:
    def test_are_relative_to_the_working_directory(self, folder, monkeypatch):
        (folder / "models").mkdir()
        (folder / "models" / "mine.py").write_text("")
        settings = minimal(model="models/mine.py:Mine", target={"file": "../config/aiy.csv"})
        experiment = check(settings, folder).experiments["x"]
        assert experiment["model"] == "config/models/mine.py:Mine"
        assert experiment["target"]["file"] == "config/aiy.csv"
        assert check(settings, "config").experiments["x"] == experiment
        monkeypatch.chdir(folder / "models")
        assert check(settings, folder).experiments["x"]["target"]["file"] == "../aiy.csv"

    def test_are_absolute_where_nothing_is_shared(self, folder, monkeypatch):
        monkeypatch.setattr(os, "getcwd", lambda: "/elsewhere/run")
        assert check(minimal(target={"file": "aiy.csv"}), folder).experiments["x"]["target"]["file"] == str(
            folder / "aiy.csv"
        )

    def test_are_absolute_where_the_working_directory_is_far_below(self, folder, monkeypatch):
        for deep, expected in (("a/b/c", "../../../config/aiy.csv"), ("a/b/c/d", str(folder / "aiy.csv"))):
            below = folder.parent / deep
            below.mkdir(parents=True)
            monkeypatch.chdir(below)
            experiment = check(minimal(target={"file": "aiy.csv"}), folder).experiments["x"]
            assert experiment["target"]["file"] == expected

    def test_absolute_paths_become_relative_below_the_working_directory(self, folder):
        experiment = check(minimal(target={"file": str(folder / "aiy.csv")}), folder).experiments["x"]
        assert experiment["target"]["file"] == "config/aiy.csv"

    def test_a_folder_behind_a_link_has_its_own_parent(self, folder, tmp_path):
        (tmp_path / "far" / "config").mkdir(parents=True)
        (tmp_path / "far" / "data.csv").write_text("")
        (tmp_path / "link").symlink_to(tmp_path / "far" / "config")
        experiment = check(minimal(target={"file": "../data.csv"}), tmp_path / "link").experiments["x"]
        assert experiment["target"]["file"] == "far/data.csv"

    def test_a_file_of_the_working_directory_is_pointed_out(self, folder):
        Path("here.csv").write_text("")
        message = refusal(minimal(target={"file": "here.csv"}), folder)
        assert message.endswith("It is there from the working directory: write ../here.csv.")


class TestOtherModules:
    def test_their_problems_are_placed(self, folder, other_modules):
        models, recordings = other_modules
        models.check_experiment = lambda settings: ["loss.W: no such state.", "this: is a sentence."]
        recordings.preflight = lambda target, dt, *needs: ["train: no sweep 9.", "aiy.csv: line 3 is empty."]
        assert refusal(minimal(target={"file": "aiy.csv"}), folder).splitlines() == [
            "config.yaml: experiments.x.loss.W: no such state.",
            "config.yaml: experiments.x: this: is a sentence.",
            "config.yaml: experiments.x.target.train: no sweep 9.",
            "config.yaml: experiments.x.target: aiy.csv: line 3 is empty.",
        ]

    def test_an_error_that_they_raise_hides_no_other(self, folder, other_modules):
        def preflight(target, dt, *needs):
            raise RecordingError("area: none.\naiy.csv: cut short.")

        other_modules[1].preflight = preflight
        other_modules[0].check_experiment = lambda settings: ["dt: too long."]
        message = refusal(minimal(target={"file": "aiy.csv"}, loss={"V": 0}), folder)
        assert re.sub("at least .*", "…", message).splitlines() == [
            "config.yaml: experiments.x.loss: …",
            "config.yaml: experiments.x.dt: too long.",
            "config.yaml: experiments.x.target.area: none.",
            "config.yaml: experiments.x.target: aiy.csv: cut short.",
        ]

    def test_they_are_not_asked_about_what_is_wrong_already(self, folder, other_modules):
        other_modules[0].check_experiment = other_modules[1].preflight = lambda *settings: ["asked."]
        lines = refusal(minimal(target={"file": "no.csv"}, model="no.py:No"), folder).splitlines()
        assert [line.split(": ")[1] for line in lines] == ["experiments.x.model", "experiments.x.target.file"]

    def test_they_get_complete_settings_and_cannot_change_them(self, folder, other_modules):
        seen = []

        def check_experiment(settings):
            seen.append(copy.deepcopy(settings))
            settings.clear()
            return []

        other_modules[0].check_experiment = check_experiment
        complete = check(minimal(), folder)
        # The model says what the default loss is, once it is known to be sound.
        assert seen == [{**complete.experiments["x"], "loss": "default"}]

    def test_a_recording_is_opened_once_however_many_share_it(self, folder, other_modules):
        calls = []
        other_modules[1].preflight = lambda target, dt, *needs: calls.append((target["file"], dt)) or []
        settings = minimal(target={"file": "aiy.csv"})
        raw = {
            "experiments": {
                "a": settings,
                "b": settings | {"solver": "exponential_euler"},
                "c": settings | {"dt": 3},
            }
        }
        check(raw, folder)
        assert calls == [("config/aiy.csv", 1.0), ("config/aiy.csv", 3.0)]
        check(raw, folder, check_recordings=False)
        assert len(calls) == 2


class TestLoad:
    def text(self, folder, text):
        path = folder / "config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return config.load("config/config.yaml")

    def test_reads_a_file_and_its_neighbours(self, folder):
        text = "experiments:\n  aiy: {model: leaky, dt: 1.0e-1, target: {file: aiy.csv}}\n"
        for written in (text, b"\xef\xbb\xbf" + text.encode()):
            loaded = self.text(folder, written)
            assert loaded.experiments["aiy"]["dt"] == 0.1
            assert loaded.experiments["aiy"]["target"]["file"] == "config/aiy.csv"

    def test_anchors_and_merge_keys_are_allowed(self, folder):
        text = (
            "experiments:\n  a: &a {model: leaky, dt: 1, target: {file: aiy.csv}}\n"
            "  b:\n    <<: *a\n    dt: 2\n    loss: &l {V: 1}\n  c: {<<: *a, loss: *l}\n"
        )
        assert [settings["dt"] for settings in self.text(folder, text).experiments.values()] == [1, 2, 1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "^config/config.yaml: the file is empty"),
            ("# nothing\n", "^config/config.yaml: the file is empty"),
            (
                "a: 1\nb: 2\na: 3\n",
                "^config/config.yaml:3: a: this key is given twice, first in line 1. Keep one",
            ),
            ("x:\n- {a: 1, a: 2}\n", r"config.yaml:2: x\[0\].a: this key is given twice"),
            ("a: 1\nb: [1\nc: 2\n", "config.yaml:3: not valid YAML: .* Look at this line and the one before"),
            ("a: b: c\n", "config.yaml:1: not valid YAML: mapping values are not allowed here"),
            ("a:\n\t- b\n", "config.yaml:2: not valid YAML: .*Indent with spaces, not with a tab"),
            ("a: !!python/object:os.system x\n", "config.yaml:1: not valid YAML: .*Remove the tag"),
            ("a: 1\n---\nb: 2\n", "config.yaml:2: not valid YAML: .*Keep one document"),
            ("a: *b\n", "config.yaml:1: not valid YAML: .*define the anchor"),
            ("? [1]\n: 2\n", "config.yaml:1: not valid YAML: found unhashable key"),
            ("a: \x07\n", "config.yaml: not valid YAML: special characters are not allowed"),
            ("a: 2024-13-45\n", "config.yaml: a value cannot be read .*Put it in quotes"),
            (
                "train: [00, 02, 010]\n",
                r"^config/config.yaml:1: train\[2\]: YAML reads 010 as 8. Write .*colons\.$",
            ),
            ("dt: 1:30\n", "config.yaml:1: dt: YAML reads 1:30 as 90"),
            ("experiments: &x\n  a: *x\n", "experiments.a.a: nested deeper than 20 levels"),
            (b"a: \xff\n", r"config.yaml: the file is not UTF-8 text \(byte 3 is 0xff\). Save it as UTF-8"),
        ],
    )
    def test_refuses(self, folder, text, message):
        with pytest.raises(ConfigError, match=message):
            self.text(folder, text)

    def test_says_where_it_looked(self, folder):
        with pytest.raises(
            ConfigError, match="^nowhere.yaml: there is no such file.*/nowhere.yaml. Give its path"
        ):
            config.load("nowhere.yaml")
        with pytest.raises(ConfigError, match="^config: the file cannot be read"):
            config.load("config")


def test_importing_is_light_and_so_is_checking_the_default_run():
    code = (
        "import sys, types\n"
        "import odynn.config\n"
        "heavy = {'tensorflow', 'matplotlib', 'pint', 'jsonschema', 'numpy', 'h5py'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "models = sys.modules['odynn.models'] = types.ModuleType('odynn.models')\n"
        "models.check_experiment = lambda settings: []\n"
        "losses = sys.modules['odynn.fitting.checks'] = types.ModuleType('odynn.fitting.checks')\n"
        "losses.check_losses = lambda settings: []\n"
        "losses.chosen_loss = lambda settings: settings['loss']\n"
        "odynn.config.load('config/config.yaml')\n"
        "assert not {'tensorflow', 'matplotlib', 'pint'} & set(sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


class TestShippedFiles:
    def test_default_run_passes_the_checks_of_its_model(self):
        # In a process of its own, without the stand-ins of this module.
        code = "import odynn.config; odynn.config.load('config/config.yaml')"
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        if "cannot import name 'check_experiment'" in done.stderr:
            pytest.skip("odynn.models.check_experiment is not there yet")
        assert done.returncode == 0, done.stderr

    def test_default_run_is_the_task_of_the_original_library(self):
        experiment = config.load(ROOT / "config" / "config.yaml").experiments["celegans"]
        synthetic = experiment["target"]["synthetic"]
        assert (experiment["model"], experiment["dt"], synthetic["duration"]) == ("celegans", 1.0, 1200.0)
        assert (synthetic["train"], synthetic["test"], len(synthetic["sweeps"])) == ([0, 1], None, 5)
        assert synthetic["noise"] == {"V": 1.0}
        # Charge of each sweep in µA/cm²·ms, by hand: steps amplitude × length, ramps half of that.
        charges = [10 * 400 + 20 * 200, 5 * 100 + 30 * 500, 30 * 200 + 15 * 100 + 10 * 300]
        charges += [15 * 100 + 30 * 800 + 15 * 100, 50 * (30 + 26 + 22 + 18 + 14 + 10 + 6 + 2)]
        assert [sum(self.charge(piece) for piece in sweep) for sweep in synthetic["sweeps"]] == charges
        assert experiment["starts"]["number"] == 64

    @staticmethod
    def charge(piece):
        if "pulses" in piece:
            return sum(
                piece["width"] * (piece["pulses"] + n * piece["change"]) for n in range(piece["number"])
            )
        height = piece["step"] if "step" in piece else sum(piece["ramp"]) / 2
        return height * (piece["to"] - piece["from"])

    def test_recorded_neuron(self, tmp_path):
        raw = yaml.safe_load((ROOT / "config" / "experiments" / "aiy.yaml").read_text("utf-8"))
        target = raw["experiments"]["aiy"]["target"]
        # The data are not part of the project: an empty file in their place shows that the rest is right.
        assert target["file"] == "../../../shared/data/celegans_AIY/celegans_AIY.csv"
        (tmp_path / "aiy.csv").write_text("")
        target["file"] = "aiy.csv"
        experiment = config.from_mapping(raw, tmp_path, "aiy.yaml").experiments["aiy"]
        assert (experiment["dt"], experiment["target"]["area"]) == (2.0, 65.89)
        assert experiment["target"]["train"] == [0, 2, 4, 6, 8, 10]

    def test_recorded_neuron_where_the_data_are(self):
        if not (ROOT / "../shared/data/celegans_AIY/celegans_AIY.csv").is_file():
            pytest.skip("the recordings are not at ../shared/data")
        assert config.load(ROOT / "config" / "experiments" / "aiy.yaml").shards("aiy") == [
            "000000-000023",
            "000024-000047",
        ]
