"""What two results differ in, and why; where files of settings are; what an archive holds and refuses.

Nothing is fitted here: tests/workflow/test_reproduction.py does that.
"""

import hashlib
import json
import shutil
import stat
import zipfile
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from odynn import cli, config, provenance, reproduction, storage
from odynn.data import Best, Cause, Fit, Parameter, Status
from odynn.errors import ConfigError, StorageError
from odynn.recordings import load_target
from odynn.reproduction import archive
from odynn.reproduction.sources import look_for, moved, sources_of

MODEL = '''"""A model."""

from odynn.models.leaky import LeakyIntegrate


class Mine(LeakyIntegrate):
    """The leaky integrator with another leak."""

    default_params = {**LeakyIntegrate.default_params, "g_L": 0.2}
'''


def fit_of(ids, iterations=3, **fields):
    """Return a fit with losses 1, 2, 3 … by the number of the start."""
    ids = np.array(ids)
    value = ids + 1.0
    row = Parameter("g_L", 0.1, "mS/cm²", (1e-4, 10.0), scale="log")
    history = np.tile(value, (iterations, 1))
    history[-1, 0] = np.nan
    fit = Fit(
        ids=ids,
        parameters={"g_L": row},
        start_values={"g_L": 0.5 * value},
        values={"g_L": 0.2 * value},
        start_loss=9 * value,
        loss=value,
        rmse_train={"V": value},
        rmse_test={"V": 2 * value},
        status=np.full(len(ids), Status.CONVERGED, dtype=np.int8),
        cause=np.full(len(ids), Cause.NONE, dtype=np.int8),
        iterations=np.full(len(ids), iterations),
        history=history,
        stage=np.zeros(iterations, dtype=int),
        units={"V": "mV", "loss": "mV²"},
        loss_parts={"squared_error_V": value},
    )
    return replace(fit, **fields)


def best_of(ids):
    """Return the runs of two sweeps, whose voltage crosses zero."""
    voltage = np.linspace(-50, 50, 11, dtype=np.float32)[:, None, None] * np.ones(
        (1, 2, len(ids)), np.float32
    )
    return Best(
        ids=np.array(ids),
        time=np.arange(1, 12) * 0.5,
        states={"V": voltage},
        currents={},
        scores={"r2_V": np.full((2, len(ids)), 0.001)},
        units={"V": "mV", "r2_V": "1"},
        sweeps=np.array([0, 3]),
        train=np.array([True, False]),
    )


# Comparing


def test_the_same_numbers_are_identical_in_any_order():
    fit = fit_of([2, 0, 1])
    found = reproduction.compare(fit, fit.take(np.array([1, 2, 0])))
    assert (found.verdict, found.differences) == ("identical", ())
    # Ten numbers a start, and three iterations.
    assert found.compared == 3 * (10 + 3)
    assert reproduction.compare(fit, fit_of([2])).verdict == "identical"


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1 + 1e-7, "within tolerance"), (1 + 9e-6, "within tolerance"), (1.0001, "different")],
)
def test_the_tolerance_is_relative_to_each_number(factor, verdict):
    fit = fit_of([0, 1, 2])
    values = fit.values["g_L"] * [1, 1e-6, 1]
    one = replace(fit, values={"g_L": values})
    other = replace(fit, values={"g_L": values * [1, factor, 1]})
    found = reproduction.compare(one, other)
    assert found.verdict == verdict
    (difference,) = found.differences
    assert (difference.name, difference.where, difference.differing) == ("parameters/g_L", "start 1", 1)
    assert difference.largest == pytest.approx(factor - 1, rel=1e-3)
    assert difference.then != difference.now


def test_a_status_is_told_in_words():
    fit = fit_of([0, 1])
    other = replace(fit, status=np.array([Status.CONVERGED, Status.AT_BOUND], np.int8))
    (difference,) = reproduction.compare(fit, other).differences
    assert (difference.name, difference.where) == ("status", "start 1")
    assert (difference.then, difference.now) == ("converged", "at_bound")
    assert not difference.tolerable


def test_the_course_of_a_fit_is_no_result():
    fit = fit_of([0, 1])
    longer = fit_of([0, 1], iterations=4)
    found = reproduction.compare(fit, longer)
    assert {one.name for one in found.differences} == {"iterations", "history"}
    assert found.verdict == "within tolerance"
    # A result beside it decides, and comes first.
    found = reproduction.compare(fit, replace(longer, loss=fit.loss * 1.01))
    assert found.verdict == "different"
    assert [one.course for one in found.differences] == [False, True, True]


def test_a_history_that_ends_earlier_is_padded():
    fit = fit_of([0, 1])
    history = np.vstack([fit.history, np.full((2, 2), np.nan)])
    padded = replace(fit, history=history, stage=np.array([0, 0, 0, 1, 1]))
    assert reproduction.compare(fit, padded).verdict == "identical"


def test_not_finite_is_equal_to_itself_alone():
    fit = fit_of([0, 1], loss=np.array([np.nan, np.inf]))
    assert reproduction.compare(fit, fit).verdict == "identical"
    (difference,) = reproduction.compare(fit, fit_of([0, 1], loss=np.array([np.nan, 2.0]))).differences
    assert (difference.where, difference.then, difference.now) == ("start 1", "inf", "2")
    assert not difference.tolerable


def test_a_trace_is_compared_with_its_own_size():
    best = best_of([4, 7])
    changed = best.states["V"].copy()
    changed[5, 1, 0] = 4e-4  # 0 mV, in a trace of 50 mV
    found = reproduction.compare(best, replace(best, states={"V": changed}))
    (difference,) = found.differences
    assert (difference.name, difference.where) == ("states/V", "start 4, 3 ms, sweep 3")
    assert difference.largest == pytest.approx(8e-6, rel=1e-3)
    assert found.verdict == "within tolerance"


def test_a_score_near_zero_is_compared_with_one():
    best = best_of([4])
    other = replace(best, scores={"r2_V": best.scores["r2_V"] + 1e-6})
    assert reproduction.compare(best, other).verdict == "within tolerance"


def test_what_one_of_them_lacks_is_a_difference():
    fit = fit_of([0, 1])
    (difference,) = reproduction.compare(fit, replace(fit, rmse_test={})).differences
    assert (difference.name, difference.now) == ("rmse_test/V", "not there")
    other = replace(best_of([4]), time=np.arange(1, 13) * 0.5)
    assert {one.name for one in reproduction.compare(best_of([4]), other).differences} == {"time"}


def test_the_rows_of_parameters_count():
    fit = fit_of([0])
    wider = replace(fit.parameters["g_L"], bounds=(1e-4, 20.0))
    found = reproduction.compare(fit, replace(fit, parameters={"g_L": wider}))
    (difference,) = found.differences
    assert (difference.name, difference.then, difference.now) == (
        "bounds of g_L",
        "0.0001 … 10",
        "0.0001 … 20",
    )
    assert found.verdict == "different"


@pytest.mark.parametrize(
    ("number", "starts", "shards"),
    [
        (1, {}, ["000007-000007"]),
        (3, {}, ["000002-000003", "000007-000007"]),
        (1, {"pool": 4}, ["000004-000007"]),
        (3, {"pool": 4, "shard_size": 4}, ["000000-000003", "000004-000007"]),
        (3, {"pool": 4, "shard_size": 8}, ["000000-000007"]),
        (1, {"pool": 5, "number": 9}, ["000005-000008"]),
    ],
)
def test_the_shards_of_the_best_starts_hold_their_pools(number, starts, shards):
    settings = {"starts": {"number": 10, "shard_size": 8, "pool": 1} | starts}
    assert reproduction.best_shards(fit_of([7, 3, 2, 0, 1]), settings, number) == shards


# Causes

STAMP = {
    "versions": {"python": "3.11.7", "numpy": "2.2.0"},
    "code_fingerprint": "aaaa",
    "odynn_version": "0.1.0",
    "own_code": {"config/mine.py:Mine": "1111"},
    "inputs": {"target": "x"},
}


@pytest.mark.parametrize(
    ("changed", "causes"),
    [
        ({}, []),
        ({"inputs": {"target": "y"}, "odynn_version": "0.2.0"}, []),
        ({"own_code": {"/elsewhere/mine.py:Mine": "1111"}}, []),
        ({"versions": {"python": "3.11.7", "numpy": "2.3.0"}}, [("library", "numpy", "2.2.0", "2.3.0")]),
        ({"versions": {"python": "3.11.7"}}, [("library", "numpy", "2.2.0", "")]),
        ({"code_fingerprint": "bbbb"}, [("code", "odynn", "0.1.0 (aaaa)", "0.1.0 (bbbb)")]),
        (
            {"own_code": {"config/mine.py:Mine": "2222"}, "code_fingerprint": "bbbb"},
            [("own code", "mine.py:Mine", "1111", "2222")],
        ),
    ],
)
def test_causes(changed, causes):
    assert reproduction.find_causes(STAMP, STAMP | changed) == causes


def test_shards_that_were_made_in_two_ways():
    stamps = [STAMP, STAMP | {"versions": {"python": "3.11.7", "numpy": "2.3.0"}}]
    then = provenance.shared_stamp(stamps)
    assert reproduction.find_causes(then, STAMP) == [("library", "numpy", "2.2.0 and 2.3.0", "2.2.0")]


def test_any_other_key_of_a_stamp_is_a_cause():
    found = reproduction.find_causes(STAMP | {"computed_on": "x"}, STAMP | {"computed_on": "y"})
    assert found == [("computed_on", "computed on", "x", "y")]


# Files of settings

SETTINGS = {
    "model": "config/mine.py:Mine",
    "loss": [{"kind": "squared_error"}, {"kind": "config/own/loss.py:Spikes"}],
    "fit": {"stages": [{"method": "adam", "loss": [{"kind": "config/mine.py:Loss"}]}]},
    "target": {
        "file": ["data/a.csv", "https://example.org/b.csv"],
        "stimulus": {"file": "data/s.csv"},
        "protocol": {"amplitudes": "data/steps.json:cells.one"},
    },
}


def test_the_files_of_settings_are_found_and_changed_in_every_place():
    assert [f"{source.kind} {source.file}" for source in sources_of(SETTINGS)] == [
        "code config/mine.py",
        "code config/own/loss.py",
        "code config/mine.py",
        "recording data/a.csv",
        "recording https://example.org/b.csv",
        "stimulus data/s.csv",
        "amplitudes data/steps.json",
    ]
    paths = {source: f"new/{source.name}" for source in sources_of(SETTINGS)}
    assert moved(SETTINGS, paths) == {
        "model": "new/mine.py:Mine",
        "loss": [{"kind": "squared_error"}, {"kind": "new/loss.py:Spikes"}],
        "fit": {"stages": [{"method": "adam", "loss": [{"kind": "new/mine.py:Loss"}]}]},
        "target": {
            "file": ["new/a.csv", "new/b.csv"],
            "stimulus": {"file": "new/s.csv"},
            "protocol": {"amplitudes": "new/steps.json:cells.one"},
        },
    }
    assert SETTINGS["model"] == "config/mine.py:Mine"
    library = {"model": "leaky", "loss": {"V": 1.0}, "target": {"synthetic": {}}}
    assert sources_of(library) == []


def test_where_a_file_is_looked_for(tmp_path, monkeypatch):
    results = tmp_path / "a project" / "results" / "cell"
    given, here = tmp_path / "given", tmp_path / "here"
    for folder in (results, given, here / "data"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    source = sources_of({"model": "leaky", "target": {"file": "data/a.csv"}})[0]
    assert look_for(source, results) is None
    (here / "data" / "a.csv").write_text("here")
    assert look_for(source, results) == Path("data/a.csv")
    (tmp_path / "a project" / "data").mkdir()
    near = tmp_path / "a project" / "data" / "a.csv"
    near.write_text("near")
    assert look_for(source, results) == near
    (given / "a.csv").write_text("given")
    assert look_for(source, results, [given]) == given / "a.csv"
    # The one that was used comes before any other.
    assert look_for(source, results, [given], lambda path: path.read_text() == "here") == Path("data/a.csv")
    assert look_for(source, results, [given], lambda path: False) == given / "a.csv"
    pattern = sources_of({"model": "leaky", "target": {"file": "data/{channel}.csv"}})[0]
    assert look_for(pattern, results) == near.with_name("{channel}.csv")


# Archives


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a finished experiment, and beside it the archive; not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "a project"
    (folder / "config").mkdir(parents=True)
    with chdir(folder):
        finish(folder)
        assert cli.main(["archive", "results/cell", "../cell.zip"]) == 0
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A finished experiment with a recording and a model of its own, in the working directory."""
    folder = shutil.copytree(made, tmp_path / "a project")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def archived(made, project):
    """The archive of this experiment, beside its results."""
    return Path(shutil.copy(made.parent / "cell.zip", project)).relative_to(project)


def finish(folder):
    """Write what a run of the workflow would leave."""
    (folder / "config" / "mine.py").write_text(MODEL, "utf-8")
    lines = ["time_ms,stimulus_pA_0,voltage_mV_0,stimulus_pA_1,voltage_mV_1"]
    lines += [f"{step},{1.0 * (step > 5)},{-60 + step / 10},0.0,{-60 + step / 20}" for step in range(30)]
    (folder / "config" / "cell.csv").write_text("\n".join(lines), "utf-8")
    raw = {"model": "mine.py:Mine", "dt": 1.0, "target": {"file": "cell.csv", "area": 100.0}}
    raw |= {"starts": {"number": 3}, "best": {"number": 2}}
    checked = config.from_mapping({"experiments": {"cell": raw}}, "config", "config.yaml")
    target = load_target(checked.experiments["cell"]["target"], 1.0, True)
    results, fit = folder / "results" / "cell", fit_of([1, 0, 2])

    def stamp(stage, inputs):
        return provenance.stamp(stage, checked.settings("cell", stage), inputs)

    storage.write_target(results / "target.h5", target, stamp("make_target", {}))
    target = storage.read_target(results / "target.h5")
    shard = results / "fits" / "000000-000002.h5"
    storage.write_fit(shard, fit, stamp("fit", {"target": target}))
    merged = stamp("merge_fits", {}) | {"fitted_by": provenance.shared_stamp([storage.read_stamp(shard)])}
    storage.write_fit(results / "fit.h5", fit, merged)
    stored = {"target": target, "fit": storage.read_fit(results / "fit.h5")}
    storage.write_best(results / "best.h5", best_of([1, 0]), stamp("simulate_best", stored))
    storage.atomic_text(results / "report.html", "<html></html>")


def run(capsys, *words):
    """Run odynn; return its exit status and what it wrote."""
    status = cli.main(words)
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_a_finished_experiment_has_its_settings_back(project):
    finished = reproduction.open_finished("results/cell")
    assert finished.experiment == "cell"
    assert finished.settings["best"]["number"] == 2
    assert finished.settings["plot"]["dpi"] == 150
    assert finished.settings["model"] == "config/mine.py:Mine"
    assert finished.made_by["own_code"].keys() == {"config/mine.py:Mine"}
    located = {source.kind: path for source, path in finished.locate([]).items()}
    assert {kind: path.name for kind, path in located.items()} == {"code": "mine.py", "recording": "cell.csv"}


def test_a_file_that_was_changed_afterwards_is_told(project):
    finished = reproduction.open_finished("results/cell")
    assert finished.find_changed_files() == []
    fit = storage.read_fit("results/cell/fit.h5")
    stamp = {key: value for key, value in finished.stamp.items() if key not in ("kind", "schema_version")}
    storage.write_fit("results/cell/fit.h5", replace(fit, loss=fit.loss * 1.01), stamp)
    (text,) = reproduction.open_finished("results/cell").find_changed_files()
    assert "fit.h5 is not the file that best.h5 was made from" in text


def test_other_files_are_refused(project):
    with pytest.raises(
        StorageError, match=r"with its fit.h5. Received: a folder without one. Name .*results/cell"
    ):
        reproduction.open_finished("results")
    with pytest.raises(
        StorageError, match="Received: a fit file of the stage fit. Give results/EXPERIMENT/fit.h5"
    ):
        reproduction.open_finished("results/cell/fits/000000-000002.h5")
    with pytest.raises(StorageError, match="Received: a target file of the stage make_target"):
        reproduction.open_finished("results/cell/target.h5")


def test_settings_of_another_version_are_told(project):
    stamp = dict(reproduction.open_finished("results/cell").stamp)
    stamp["settings"] = stamp["settings"] | {"solver": "magic"}
    storage.write_fit("results/cell/fit.h5", fit_of([0]), stamp)
    with pytest.raises(ConfigError, match=r"solver: (?s:.*)settings in it are of odynn \d+\.\d+"):
        reproduction.open_finished("results/cell")


def test_an_archive_holds_all_and_is_the_same_each_time(made, project, capsys):
    assert run(capsys, "archive", "results/cell/fit.h5")[0] == 0
    assert Path("cell.zip").read_bytes() == (made.parent / "cell.zip").read_bytes()
    with zipfile.ZipFile("cell.zip") as file:
        names = file.namelist()
        members = {name: file.read(name) for name in names}
    assert names[:-1] == sorted(names[:-1])
    expected = {"README.md", "archive.json", "config.yaml", "versions.txt", "SHA256SUMS"}
    expected |= {f"results/{name}" for name in ("fit.h5", "best.h5", "target.h5", "report.html")}
    expected |= {"code/mine.py", "recording/cell.csv"}
    assert {name for name in names if not name.startswith("software/")} == expected
    assert {"software/Makefile", "software/requirements.lock", "software/odynn/stages.py"} <= set(names)
    assert {"software/workflow/Snakefile", "software/odynn/config/schema.yaml"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or "/." in name]
    assert members["recording/cell.csv"] == Path("config/cell.csv").read_bytes()
    assert f"numpy=={np.__version__}" in members["versions.txt"].decode()
    everything = b"".join(members[name] for name in expected)
    assert str(project).encode() not in everything
    lines = members["SHA256SUMS"].decode().splitlines()
    assert len(lines) == len(names) - 1
    digest, name = lines[0].split("  ")
    assert digest == hashlib.sha256(members[name]).hexdigest()
    # The configuration is one, from where the archive is unpacked.
    with zipfile.ZipFile("cell.zip") as file:
        file.extractall("un packed")
    settings = config.load("un packed/config.yaml").experiments["cell"]
    assert settings["target"]["file"] == "un packed/recording/cell.csv"
    assert settings["best"]["number"] == 2


def test_an_archive_is_unpacked_as_it_was_packed(archived, tmp_path):
    elsewhere = tmp_path / "some where" / "else.zip"
    elsewhere.parent.mkdir()
    archived.rename(elsewhere)
    with reproduction.unpacked(elsewhere) as unpacked:
        finished = reproduction.open_finished(unpacked.results, unpacked.experiment)
        assert finished.experiment == "cell"
        located = unpacked.locate(sources_of(finished.settings))
        assert {path.relative_to(unpacked.folder).as_posix() for path in located.values()} == {
            "code/mine.py",
            "recording/cell.csv",
        }
        folder = unpacked.folder
    assert not folder.exists()


def test_a_recording_can_be_left_out(project, capsys):
    status, text = run(capsys, "archive", "results/cell", "--no-recording")
    assert status == 0
    assert "The recording cell.csv was left out: target.h5 holds what was fitted of it." in text
    with reproduction.unpacked(Path("cell.zip")) as archived:
        finished = reproduction.open_finished(archived.results)
        kinds = {source.kind: path for source, path in archived.locate(sources_of(finished.settings)).items()}
    assert kinds["recording"] is None
    assert kinds["code"].name == "mine.py"


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("config/cell.csv", "-59.0", "-58.5", "Received: cell.csv with another sha256 than target.h5 says"),
        ("config/mine.py", "0.2}", "0.3}", "Received: code that was changed since"),
    ],
)
def test_an_archive_of_other_files_is_refused(project, capsys, path, old, new, said):
    before = Path(path).read_text("utf-8")
    assert old in before
    Path(path).write_text(before.replace(old, new), "utf-8")
    status, text = run(capsys, "archive", "results/cell")
    assert status == 1
    assert said in text
    assert not Path("cell.zip").exists()
    # The old one, kept elsewhere, is found.
    Path("old").mkdir()
    (Path("old") / Path(path).name).write_text(before, "utf-8")
    assert run(capsys, "archive", "results/cell", "--data", "old")[0] == 0


def test_code_of_ones_own_must_be_there(project, capsys):
    Path("config/mine.py").unlink()
    for command in ("archive", "reproduce"):
        status, text = run(capsys, command, "results/cell")
        assert status == 1
        assert "The file config/mine.py must be there, since the fit used its class Mine" in text
        assert "--data FOLDER" in text


def test_the_name_of_an_archive(project, capsys):
    status, text = run(capsys, "archive", "results/cell", "cell.tar.gz")
    assert status == 1
    assert "must end with .zip" in text
    assert run(capsys, "archive", "results/cell", "results")[0] == 0
    assert Path("results/cell.zip").is_file()


def test_two_files_of_one_name_are_both_kept(project):
    Path("other").mkdir()
    Path("other/mine.py").write_text("B = 1\n")
    settings = {"model": "config/mine.py:Mine", "loss": [{"kind": "other/mine.py:Loss"}], "target": {}}
    members = {}
    located = {source: Path(source.file) for source in sources_of(settings)}
    assert archive._place_sources(located, members) == {
        "config/mine.py:Mine": "code/mine.py",
        "other/mine.py:Loss": "code-2/mine.py",
    }
    assert members == {"code/mine.py": Path("config/mine.py"), "code-2/mine.py": Path("other/mine.py")}


def rewritten(path, change):
    """Write an archive again with other members, {name: content}, their checksums being right."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    del members["SHA256SUMS"]
    change(members)
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in members.items())
    with zipfile.ZipFile(path, "w") as file:
        for name, content in ({"SHA256SUMS": sums.encode()} | members).items():
            file.writestr(name, content)


def add(name):
    return lambda members: members.update({name: b"x"})


def set_format(members):
    members["archive.json"] = json.dumps(json.loads(members["archive.json"]) | {"format": 2}).encode()


def lead_out(members):
    about = json.loads(members["archive.json"])
    about["paths"]["config/mine.py:Mine"] = "../mine.py"
    members["archive.json"] = json.dumps(about).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (add("../evil.py"), "'../evil.py', which leads out of its folder. Nothing was unpacked"),
        (add("code/../../evil.py"), "which leads out of its folder"),
        (add("/evil.py"), "which is not a path in a folder"),
        (add("..\\evil.py"), "which is not a path in a folder"),
        (add("C:evil.py"), "which is not a path in a folder"),
        (add("code//evil.py"), "which is no file"),
        (
            lambda members: members.pop("archive.json"),
            "with archive.json and SHA256SUMS. Received: a zip file of",
        ),
        (set_format, "must be an archive of format 1, .*Received: format 2, of odynn"),
        (lead_out, "names files outside"),
    ],
)
def test_a_foreign_archive_is_refused(project, archived, change, said):
    rewritten(archived, change)
    with pytest.raises(StorageError, match=said), reproduction.unpacked(archived):
        pass
    assert not list(project.parent.rglob("evil.py"))


def test_a_link_in_an_archive_is_refused(archived):
    info = zipfile.ZipInfo("code/link.py")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archived, "a") as file:
        file.writestr(info, "/etc/passwd")
    with (
        pytest.raises(StorageError, match="a link or something else"),
        reproduction.unpacked(Path("cell.zip")),
    ):
        pass


def cut(path):
    path.write_bytes(path.read_bytes()[:-500])


def flip(path):
    content = bytearray(path.read_bytes())
    place = content.index(b"results/fit.h5") + 200  # in its compressed bytes
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))


def empty(path):
    path.write_bytes(b"")


def lose(path):
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist() if name != "results/best.h5"}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def swap(path):
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["recording/cell.csv"] = members["recording/cell.csv"].replace(b"-59.0", b"-58.5")
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "damaged or was changed"),
        (flip, "damaged or was changed"),
        (empty, "0 bytes that is damaged"),
        (lose, "without results/best.h5"),
        (swap, "recording/cell.csv: not what SHA256SUMS says"),
    ],
)
def test_a_damaged_archive_is_told(archived, capsys, damage, said):
    damage(archived)
    status, text = run(capsys, "reproduce", "cell.zip")
    assert status == 1
    assert said in text
    assert "Copy or download it again" in text
    assert "Traceback" not in text


def test_results_are_compared_with_a_rerun(project, capsys):
    status, text = run(capsys, "reproduce", "results/cell", "--against", "results/cell")
    assert status == 0
    assert "Identical: all " in text
    other = Path("other")
    stamp = dict(reproduction.open_finished("results/cell").stamp)
    storage.write_fit(other / "fit.h5", fit_of([1, 0, 2], loss=np.array([2.5, 1, 3])), stamp)
    status, text = run(capsys, "reproduce", "results/cell", "--against", "other")
    assert status == 1
    assert "Different: 1 of " in text
    assert all(word in text for word in ("fit.h5: loss", "start 1", "2.5"))


def test_an_output_with_something_else_in_it_is_refused(project, capsys):
    status, text = run(capsys, "reproduce", "results/cell", "--output", "results/cell")
    assert status == 1
    assert "--output: " in text
    assert "Name another" in text


def test_other_versions_are_told_with_what_to_install(project, capsys):
    stamp = dict(reproduction.open_finished("results/cell").stamp)
    older = {"python": "3.12.4", "numpy": "2.0.1"}
    made_by = stamp["fitted_by"] | {"versions": stamp["fitted_by"]["versions"] | older}
    storage.write_fit(Path("older/fit.h5"), fit_of([0, 1, 2]), stamp | {"fitted_by": made_by})
    status, text = run(capsys, "reproduce", "older", "--against", "results/cell")
    # Other versions alone are no difference.
    assert status == 0
    (row,) = [line for line in text.splitlines() if line.startswith(" numpy")]
    assert row.split() == ["numpy", "2.0.1", np.__version__]
    changed = fit_of([0, 1, 2], loss=np.array([1, 2.5, 3]))
    storage.write_fit(Path("older/fit.h5"), changed, stamp | {"fitted_by": made_by})
    status, text = run(capsys, "reproduce", "older", "--against", "results/cell")
    assert status == 1
    assert f"Cause, possibly: numpy: 2.0.1 then, {np.__version__} now." in text
    assert f"check out the odynn {stamp['odynn_version']} that you used then" in text
    assert "`make environment PYTHON=/path/to/python3.12`" in text
