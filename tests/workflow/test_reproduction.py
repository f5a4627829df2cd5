"""`odynn reproduce`: a run of the workflow done again, from an archive and after changes."""

import shutil

import h5py
import pytest

from odynn import cli
from odynn.storage import read_fit


@pytest.fixture(scope="module")
def recorded(layout, tmp_path_factory):
    """A workflow that has fitted a recording with a model of one's own; not to be changed."""
    workflow = layout(tmp_path_factory.mktemp("recorded") / "a folder")
    lines = ["time_ms,stimulus_pA_0,voltage_mV_0,stimulus_pA_1,voltage_mV_1"]
    lines += [f"{step},{1.0 * (step > 5)},{-60 + step / 10},0.0,{-60 + step / 20}" for step in range(30)]
    (workflow.folder / "config" / "cell.csv").write_text("\n".join(lines), "utf-8")
    config = workflow.config
    tiny = config["experiments"]["tiny"]
    tiny["target"] = {"file": "cell.csv", "area": 100.0}
    tiny["starts"]["number"] = 2
    workflow.config = config
    code, text = workflow.run("results/tiny/best.h5")
    assert code == 0, text
    return workflow


@pytest.fixture
def project(recorded, tmp_path, monkeypatch):
    """A copy of its folder, to change, as the working directory."""
    folder = tmp_path / "a folder"
    shutil.copytree(recorded.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(".snakemake"))
    monkeypatch.chdir(folder)
    return folder


def reproduce(capfd, *words):
    """Run the command; return its exit status and what it and its processes wrote."""
    status = cli.main(["reproduce", *map(str, words), "--cores", "1"])
    captured = capfd.readouterr()
    return status, captured.out + captured.err


def test_an_archive_alone_gives_the_same_bits_and_an_edited_number_is_found(
    project, tmp_path, monkeypatch, capfd
):
    assert cli.main(["archive", "results/tiny"]) == 0
    empty = tmp_path / "an empty folder"
    empty.mkdir()
    (project / "tiny.zip").rename(empty / "tiny.zip")
    kept = shutil.copytree(project / "results", tmp_path / "results")
    shutil.rmtree(project)
    monkeypatch.chdir(empty)
    status, text = reproduce(capfd, "tiny.zip", "--output", "again")
    assert "Identical: all " in text, text
    assert status == 0
    assert "cell.csv, the same as then" in text
    assert "starts 000000-000001: fitted (1 of 1)" in text
    assert (empty / "again" / "fits" / "000000-000001.h5").is_file()
    # What was fitted is not fitted again.
    status, text = reproduce(capfd, "tiny.zip", "--output", "again")
    assert (status, "1 of 1 shards were fitted before" in text) == (0, True), text

    path = kept / "tiny" / "fit.h5"
    fit = read_fit(path)
    with h5py.File(path, "r+") as file:
        file["parameters/g_L"][1] *= 1.01
    status, text = reproduce(capfd, kept / "tiny", "--against", "again")
    assert status == 1
    assert "Different: 1 of " in text
    (row,) = [line for line in text.splitlines() if "parameters/g_L" in line]
    assert f"start {fit.ids[1]}" in row
    assert "9.9e-03" in row
    assert "fit.h5 is not the file that best.h5 was made from" in text


def test_an_edited_recording_and_an_edited_model_are_named(project, capfd):
    for path, old, new in (("config/cell.csv", "-59.0,", "-58.2,"), ("config/mine.py", "0.2}", "0.3}")):
        text = (project / path).read_text("utf-8")
        assert old in text
        (project / path).write_text(text.replace(old, new), "utf-8")
    status, text = reproduce(capfd, "results/tiny", "--starts", "1")
    assert status == 1, text
    assert "fit.h5: loss " in text
    assert "target.h5: observed/V" in text
    causes = [line for line in text.splitlines() if line.startswith("Cause: ")]
    assert len(causes) == 2
    assert "mine.py:Mine is not the code that was fitted" in causes[0]
    assert "sha256 of cell.csv" in causes[1]
    # Of the two starts, the best one alone was fitted.
    best = read_fit("results/tiny/fit.h5").ids[0]
    assert f"starts {best:06d}-{best:06d}: fitted (1 of 1)" in text


def test_a_lost_recording_and_a_failing_stage(project, capfd):
    (project / "config" / "cell.csv").unlink()
    shutil.copy(project / "results" / "tiny" / "target.h5", project / "kept.h5")
    model = project / "config" / "mine.py"
    model.write_text(
        model.read_text("utf-8").replace("class Mine", "raise RuntimeError('no')\n\n\nclass Mine")
    )
    status, text = reproduce(capfd, "results/tiny")
    assert status == 1
    assert "cell.csv not found: target.h5, made from it, is fitted" in text
    assert text.rstrip().splitlines()[-1].startswith("Error: model: running ")
    assert "Traceback" not in text
