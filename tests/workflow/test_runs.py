"""What Snakemake runs, and what it does not run again."""

import os
import shutil
import signal
import time

import pytest
import yaml

from odynn.storage import read_fit

EACH = {
    "make_target": 1,
    "merge_fits": 1,
    "simulate_best": 1,
    "uncertainty": 1,
    "plot_results": 1,
    "report": 1,
}
SHARDED = ("get_random", "simulate_starts", "fit")
AFTER_A_FIT = {"merge_fits": 1, "simulate_best": 1, "uncertainty": 1, "plot_results": 1, "report": 1}
FIGURES = ("traces", "waterfall", "parameters", "history", "details", "uncertainty", "information")


@pytest.mark.parametrize(("number", "shards"), [(1, 1), (2, 1), (5, 3), (40, 20)])
def test_the_jobs_follow_from_the_configuration(fresh, number, shards):
    fresh.change(starts={"number": number})
    assert fresh.planned() == {**EACH, **dict.fromkeys(SHARDED, shards)}
    assert not (fresh.folder / "results").exists()


def test_the_code_is_read_once_a_stage_however_many_shards(fresh):
    line = "    root = Path(package_root) if package_root else Path(__file__).parent\n"
    fresh.edit("odynn/fingerprint.py", line, f'{line}    open("read", "a").write(f"{{stage}}\\n")\n')
    fresh.change(starts={"number": 40})
    assert fresh.planned() == {**EACH, **dict.fromkeys(SHARDED, 20)}
    read = (fresh.folder / "read").read_text("utf-8").split()
    assert sorted(read) == sorted([*EACH, *SHARDED])


def test_experiments_share_defaults_and_run_side_by_side(fresh):
    config = fresh.config
    tiny = config["experiments"]["tiny"]
    config["defaults"] = tiny
    config["experiments"] = {"one": {}, "other": {"starts": {**tiny["starts"], "number": 2}}}
    fresh.config = config
    jobs = {rule: 2 for rule in EACH} | dict.fromkeys(SHARDED, 3)
    assert fresh.planned() == jobs
    assert fresh.planned("results/other/report.html") == EACH | dict.fromkeys(SHARDED, 1)


def test_a_configuration_given_replaces_the_default_one(fresh):
    given = fresh.folder / "given" / "other.yaml"
    given.parent.mkdir()
    shutil.copy(fresh.folder / "config" / "mine.py", given.parent)
    config = fresh.config
    config["results"] = "elsewhere"
    config["experiments"] = {"other": config["experiments"]["tiny"]}
    given.write_text(yaml.safe_dump(config), "utf-8")
    code, text = fresh.run("--dry-run", "--configfile", str(given))
    assert code == 0, text
    assert "elsewhere/other/report.html" in text
    assert "tiny" not in text


def test_a_run_leaves_every_file_and_nothing_else(first_run):
    workflow, text = first_run
    shards = ("000000-000001", "000002-000003")
    expected = {f"{folder}/{shard}.h5" for folder in ("starts", "simulated", "fits") for shard in shards}
    expected |= {"target.h5", "fit.h5", "fit.csv", "best.h5", "uncertainty.h5", "report.html"}
    expected |= {f"figures/{name}.png" for name in FIGURES}
    expected |= {f"tables/{name}.csv" for name in ("parameters", "scores", "uncertainty")}
    assert set(workflow.results()) == {f"tiny/{name}" for name in expected}
    for folder, suffix in (("logs", ".log"), ("benchmarks", ".tsv")):
        names = [f"{rule}/{shard}" for rule in SHARDED for shard in shards] + list(EACH)
        found = workflow.folder.glob(f"results/tiny/{folder}/**/*{suffix}")
        start = workflow.folder / "results" / "tiny" / folder
        assert {str(path.relative_to(start)) for path in found} == {f"{name}{suffix}" for name in names}
    assert "tiny: fits the starts 000002-000003" in text
    assert "results/tiny/report.html" in text


def test_a_second_run_has_nothing_to_do(finished):
    before = finished.results()
    code, text = finished.run()
    assert code == 0
    assert "Nothing to be done" in text
    assert finished.results() == before


def test_a_run_anew_gives_the_same_bytes_even_if_interrupted(finished):
    before = finished.results()
    shutil.rmtree(finished.folder / "results")
    with finished.start() as running:
        # Ctrl-C, which a terminal sends to Snakemake and its jobs, once the first fit can begin.
        wait_for(lambda: list(finished.folder.glob("results/tiny/simulated/*.h5")), running)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(60) != 0
    assert "tiny/report.html" not in finished.results()
    code, text = finished.run()
    assert code == 0, text
    after = finished.results()
    data = [name for name in before if name.endswith((".h5", ".csv"))]
    assert len(data) > 10
    assert [name for name in data if before[name] != after[name]] == []
    assert set(after) == set(before)


def wait_for(condition, process, seconds=200):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "Snakemake has ended"
        assert time.monotonic() < end, "Snakemake takes too long"
        time.sleep(0.05)


def test_more_starts_fit_the_new_ones_alone(finished):
    before = finished.results()
    finished.change(starts={"number": 6})
    assert finished.planned() == {**AFTER_A_FIT, **dict.fromkeys(SHARDED, 1)}
    code, text = finished.run()
    assert code == 0, text
    after = finished.results()
    kept = [name for name in before if name.split("/")[1] in {"target.h5", "starts", "simulated", "fits"}]
    assert len(kept) == 7
    assert [name for name in kept if before[name] != after[name]] == []
    assert sorted(read_fit(finished.folder / "results/tiny/fit.h5").ids) == list(range(6))
    assert finished.planned() == {}


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ({"plot": {"color_map": "magma"}}, {"plot_results": 1, "report": 1}),
        ({"best": {"number": 1}}, {"simulate_best": 1, "plot_results": 1, "report": 1}),
        ({"uncertainty": {"number": 2}}, {"uncertainty": 1, "plot_results": 1, "report": 1}),
        (
            {"fit": {"stages": [{"method": "levenberg_marquardt", "iterations": 3}]}},
            {"fit": 2, **AFTER_A_FIT},
        ),
        ({"parameters": {"fixed": {"E_L": -61}}}, {**dict.fromkeys(SHARDED, 2), **AFTER_A_FIT}),
        ({"starts": {"seed": 4}}, {**dict.fromkeys(SHARDED, 2), **AFTER_A_FIT}),
        ({"dt": 0.5}, {"make_target": 1, "simulate_starts": 2, "fit": 2, **AFTER_A_FIT}),
    ],
    ids=["plot", "best", "uncertainty", "fit", "parameters", "seed", "dt"],
)
def test_a_changed_setting_runs_what_reads_it(finished, change, jobs):
    finished.change(**change)
    assert finished.planned() == jobs


def test_starts_that_depend_on_their_number_and_on_the_target(fresh):
    shards = [f"results/tiny/starts/{shard}.h5" for shard in ("000000-000001", "000002-000003")]
    fresh.change(starts={"design": "latin_hypercube", "regression": True})
    assert fresh.planned(*shards) == {"make_target": 1, "get_random": 2}
    code, text = fresh.run(*shards)
    assert code == 0, text
    assert fresh.planned(*shards) == {}
    fresh.change(starts={"number": 6})
    assert fresh.planned(shards[0]) == {"get_random": 1}
    fresh.change(starts={"number": 4}, dt=0.5)
    assert fresh.planned(*shards) == {"make_target": 1, "get_random": 2}
    # Starts that are only drawn need neither.
    fresh.change(starts={"design": "sobol", "regression": False})
    assert fresh.planned(shards[0]) == {"get_random": 1}


def test_several_changes_at_once_miss_nothing(finished):
    finished.change(starts={"number": 6}, parameters={"fixed": {"E_L": -61}})
    assert finished.planned() == {**dict.fromkeys(SHARDED, 3), **AFTER_A_FIT}


@pytest.mark.parametrize(
    ("path", "old", "new", "runs", "stays"),
    [
        ("odynn/plotting/fits.py", "import ", "CHANGED = 1\nimport ", {"plot_results", "report"}, {"fit"}),
        (
            "odynn/analysis/information.py",
            "import ",
            "CHANGED = 1\nimport ",
            {"uncertainty", "plot_results", "report"},
            {"fit", "simulate_best"},
        ),
        ("odynn/models/leaky.py", "0.1,", "0.11,", {"fit", "merge_fits", "report"}, set()),
        ("config/mine.py", "0.2}", "0.3}", {"fit", "merge_fits", "report"}, set()),
        ("odynn/models/celegans.py", "import ", "CHANGED = 1\nimport ", set(), {"fit", "plot_results"}),
        (
            "config/mine.py",
            "A model of one's own.",
            "Only words are changed.",
            set(),
            {"fit", "plot_results"},
        ),
    ],
    ids=["plotting", "information", "library model", "own model", "another model", "docstring"],
)
def test_edited_code_runs_what_uses_it(finished, path, old, new, runs, stays):
    text = (finished.folder / path).read_text("utf-8")
    assert old in text, f"{path} no longer says {old!r}"
    (finished.folder / path).write_text(text.replace(old, new, 1), "utf-8")
    jobs = finished.planned()
    assert runs <= set(jobs)
    assert not stays & set(jobs)
    if not runs:
        assert jobs == {}


def test_a_changed_recording_is_read_again(fresh):
    lines = ["time_ms,stimulus_pA_0,voltage_mV_0,stimulus_pA_1,voltage_mV_1"]
    lines += [f"{step},{1.0 * (step > 5)},{-60 + step / 10},0.0,-60.0" for step in range(30)]
    recording = fresh.folder / "config" / "cell.csv"
    recording.write_text("\n".join(lines), "utf-8")
    config = fresh.config
    config["experiments"]["tiny"]["target"] = {"file": "cell.csv", "area": 100.0}
    fresh.config = config
    target = "results/tiny/target.h5"
    code, text = fresh.run(target)
    assert code == 0, text
    assert fresh.planned(target) == {}
    recording.write_text("\n".join(lines).replace("-59.0", "-59.5"), "utf-8")
    assert fresh.planned(target) == {"make_target": 1}
    assert fresh.planned() == EACH | dict.fromkeys(SHARDED, 2)


def test_a_lost_shard_is_made_again(finished):
    before = finished.results()
    (finished.folder / "results/tiny/fits/000002-000003.h5").unlink()
    (finished.folder / "results/tiny/fit.h5").unlink()
    assert finished.planned() == {"fit": 1, **AFTER_A_FIT}
    code, text = finished.run("results/tiny/fit.h5")
    assert code == 0, text
    name = "tiny/fits/000002-000003.h5"
    assert finished.results()[name] == before[name]


def test_snakemake_report_shows_the_figures(finished):
    code, text = finished.run("--report", "all.html")
    assert code == 0, text
    page = (finished.folder / "all.html").read_text("utf-8")
    assert all(f"figures/{name}.png" in page for name in FIGURES)
    assert "found the same optimum" in page  # a caption
    assert "WARNING" not in text  # of the captions' markup
