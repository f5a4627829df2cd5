"""A stage that is killed, again and again, ends as if nothing had been."""

import re
import shutil
import signal
import time

import numpy as np
import pytest

from tests.faults.tools import OUTPUTS, SHARD, wait_for

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
KILLS = 20


def state(path):
    """Return what changes whenever a file is written anew."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None


def kill_at_random(life, number, random, checkpoint, seen):
    """Kill a life a moment after its next checkpoint, or, one time in four, at any moment."""
    wait_for(lambda: life.log or not life.runs(), what="the first line of the log")
    if random.random() < 0.75:
        wait_for(lambda: state(checkpoint) != seen or not life.runs(), what="a checkpoint")
    time.sleep(random.uniform(0.0, 0.6))
    if life.runs():
        life.kill(number)
    code = life.end()
    if code == 0:
        return False  # it ended in the very moment
    assert code == (-number if number == signal.SIGKILL else 128 + number), life.errors
    if number != signal.SIGKILL:
        assert f"stopped by {number.name}" in life.log
    assert "Traceback" not in life.log + life.errors
    return True


@pytest.mark.parametrize(
    ("stage", "kills", "seed"), [("fit", KILLS, 1), ("uncertainty", 5, 2)], ids=["fit", "uncertainty"]
)
def test_killed_at_random_moments(lives, before, undisturbed, stage, kills, seed):
    folder, random = before(stage), np.random.default_rng(seed)
    name = SHARD if stage == "fit" else stage
    checkpoint, output = folder / "checkpoints" / f"{name}.npz", folder / OUTPUTS[stage][0]
    done, rounds, resumed = 0, 0, 0
    while done < kills:
        life = lives.begin(folder, stage)
        number = SIGNALS[int(random.integers(len(SIGNALS)))]
        if kill_at_random(life, number, random, checkpoint, state(checkpoint)):
            done += 1
            assert not output.exists(), "a killed job left its output"
        else:
            # It was quicker than all kills of this round: the next begins anew.
            rounds += 1
            assert rounds < 10, "hardly any kill hits"
            assert output.read_bytes() == (undisturbed / OUTPUTS[stage][0]).read_bytes()
            output.unlink()
            checkpoint.unlink(missing_ok=True)
        resumed += "going on from a checkpoint" in life.log
    life, code = lives.run(folder, stage)
    assert code == 0, life.errors
    assert done == kills
    assert resumed > kills / 4
    for name in OUTPUTS[stage]:
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()
    # A killed writer may leave a temporary file beside the output, which the next one removes.
    assert list(folder.rglob(".*")) == []


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_kill_costs_an_iteration(lives, before, number):
    folder = before("fit")
    life = lives.begin(folder, "fit")
    checkpoint = folder / "checkpoints" / f"{SHARD}.npz"
    iterations = r"iteration (\d+) of 1500"  # of Adam, the second stage
    wait_for(lambda: len(re.findall(iterations, life.log)) > 100, what="Adam")
    life.kill(number)
    life.end()
    assert checkpoint.exists()
    last = int(re.findall(iterations, life.log)[-1])
    again = lives.begin(folder, "fit")
    wait_for(lambda: re.search(iterations, again.log), what="Adam")
    again.kill(signal.SIGKILL)
    again.end()
    first = int(re.search(iterations, again.log)[1])
    assert 1 < first <= last + 2
    if number != signal.SIGKILL:  # after which it is those since the last write, some seconds ago
        assert first > last


def test_a_job_that_is_killed_when_all_is_done_has_nothing_to_do_again(lives, before, undisturbed):
    folder = before("fit")
    life, code = lives.run(folder, "fit")
    assert code == 0, life.errors
    # Snakemake has not heard of its end, and throws the output away.
    (folder / "fits" / f"{SHARD}.h5").unlink()
    again, code = lives.run(folder, "fit")
    assert code == 0, again.errors
    assert "going on from a checkpoint" in again.log
    assert "iteration " not in again.log
    output = OUTPUTS["fit"][0]
    assert (folder / output).read_bytes() == (undisturbed / output).read_bytes()
    life, code = lives.run(folder, "merge_fits")
    assert code == 0, life.errors
    assert not (folder / "checkpoints").exists()


def test_a_job_whose_work_another_does_stops(lives, before):
    folder = before("fit")
    first = lives.begin(folder, "fit")
    wait_for(lambda: "stage 2 of 3" in first.log, what="Adam")
    kept = folder / "kept.log"
    kept.hardlink_to(folder / "fit.log")  # the log of the first job, under another name
    (folder / "fit.log").unlink()
    (folder / "fit.log").write_text("", "utf-8")
    assert first.end(20) == 128 + signal.SIGTERM
    assert "another job does the same work now" in kept.read_text("utf-8")
    assert not (folder / "fits").exists()


def damage_nothing(path):
    """Leave the checkpoint as it is."""


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def other_file(path):
    path.write_text("start,loss\n0,1.0\n", "utf-8")


def pickled(path):
    with path.open("wb") as file:
        np.savez(file, key=np.array({"of": "objects"}, dtype=object))


@pytest.mark.parametrize(
    ("damage", "changes", "said"),
    [
        (damage_nothing, {}, "going on from a checkpoint"),
        (truncate, {}, "cannot be read"),
        (empty, {}, "cannot be read"),
        (other_file, {}, "cannot be read"),
        (pickled, {}, "cannot be read"),
        (damage_nothing, {"precision": "float64"}, "of other settings, data or code"),
        (damage_nothing, {"code": None}, "of other settings, data or code"),
    ],
    ids=["sound", "truncated", "empty", "a table", "pickled", "other settings", "other code"],
)
def test_a_checkpoint_that_does_not_serve_is_ignored(
    lives, before, undisturbed, tmp_path, damage, changes, said
):
    folder = before("fit")
    checkpoint = folder / "checkpoints" / f"{SHARD}.npz"
    other_code = changes.pop("code", "same") is None
    life = lives.begin(folder, "fit", **changes)
    wait_for(lambda: state(checkpoint), what="a checkpoint")
    life.kill(signal.SIGTERM)
    assert life.end() == 128 + signal.SIGTERM
    if other_code:
        with np.load(checkpoint) as file:
            arrays = {name: file[name] for name in file.files}
        assert len(str(arrays["key"])) == 64
        with checkpoint.open("wb") as file:
            np.savez(file, **arrays | {"key": np.array("0" * 64)})
    damage(checkpoint)
    again, code = lives.run(folder, "fit")
    assert code == 0, again.errors
    assert said in again.log
    output = OUTPUTS["fit"][0]
    assert (folder / output).read_bytes() == (undisturbed / output).read_bytes()


def test_temporary_files_of_the_dead_are_removed_and_no_others(lives, before):
    folder = before("merge_fits")
    life, code = lives.run(folder, "merge_fits")
    assert code == 0, life.errors
    dead = life.process
    from odynn.atomic import atomic_path

    with atomic_path(folder / "fit.h5") as own:
        shutil.copy(folder / "fit.csv", own)
        host, process, rest = own.name.removeprefix(".fit.").split("-")
        left = own.with_name(f".fit.{host}-{dead}-{rest}")
        elsewhere = own.with_name(f".fit.{'0' * 8}-{dead}-{rest}")
        foreign = own.with_name(".fit.backup.h5")
        for path in (left, elsewhere, foreign):
            path.write_bytes(b"")
        life, code = lives.run(folder, "merge_fits")
        assert code == 0, life.errors
        assert {path.name for path in folder.glob(".*")} == {own.name, elsewhere.name, foreign.name}
