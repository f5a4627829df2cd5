"""Locks of a Snakemake that was killed, files from the future, and the jobs that run the stages."""

import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from odynn import jobs
from odynn.errors import FitError, UnreadableFileError
from odynn.jobs import job
from odynn.safeguards import Ownership, settle_times

ROOT = Path(__file__).parents[2]
# An owner that ends when its input does, or when it is killed.
OWNER = """
import sys
from odynn.safeguards import Ownership
own = Ownership(sys.argv[1])
print(flush=True)
input()
"""


@pytest.fixture
def locks(tmp_path):
    folder = tmp_path / ".snakemake" / "locks"
    folder.mkdir(parents=True)
    return folder


def lock(folder):
    for kind in ("input", "output"):
        (folder / f"0.{kind}.lock").write_text("results/fit.h5\n", "utf-8")


def owner(folder):
    """Start another process that works in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == b"\n"
    return process


def end(process):
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_locks_of_the_dead_are_removed(locks):
    other = owner(locks)
    lock(locks)
    end(other)
    assert len(list(locks.iterdir())) == 3
    own = Ownership(locks)
    assert own.cleared
    assert "killed" in own.sentences()[0]
    assert len(own.sentences()) == 1
    assert [path.name.split(".")[-2:] for path in locks.iterdir()] == [[str(os.getpid()), "owner"]]
    own.end()
    assert list(locks.iterdir()) == []


def test_locks_of_the_living_stay(locks):
    dead, living = owner(locks), owner(locks)
    lock(locks)
    end(dead)
    own = Ownership(locks)
    assert not own.cleared
    assert len(own.sentences()) == 1
    assert f".{living.pid}, which is running" in own.sentences()[0]
    assert len(list(locks.glob("*.lock"))) == 2
    own.end()
    end(living)
    again = Ownership(locks)
    assert again.cleared
    again.end()


def test_locks_of_another_machine_stay(locks):
    dead = owner(locks)
    lock(locks)
    (locks / "node-7.123.owner").write_text("", "utf-8")
    end(dead)
    own = Ownership(locks)
    assert not own.cleared
    assert "node-7.123 on another machine" in own.sentences()[0]
    assert "snakemake --unlock" in own.sentences()[0]
    assert len(list(locks.glob("*.lock"))) == 2
    own.end()


def test_locks_of_nobody_known_stay(locks):
    lock(locks)
    own = Ownership(locks)
    assert not own.cleared
    assert own.sentences() == []
    assert len(list(locks.glob("*.lock"))) == 2
    own.end()


def test_a_folder_that_cannot_be_written_is_left_to_snakemake(tmp_path):
    (tmp_path / "file").write_text("", "utf-8")
    own = Ownership(tmp_path / "file" / "locks")
    assert own.sentences() == []
    own.end()


def test_times_from_the_future_keep_their_order(tmp_path):
    now = time.time()
    times = {"a.h5": 300, "b.h5": 200, "fits/c.h5": 400, "old.h5": -500, "logs/d.log": 100}
    for name, ahead in times.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", "utf-8")
        os.utime(tmp_path / name, (now + ahead, now + ahead))
    assert settle_times([tmp_path, tmp_path / "absent"]) == 3
    settled = {name: (tmp_path / name).stat().st_mtime for name in times}
    assert settled["b.h5"] < settled["a.h5"] < settled["fits/c.h5"] <= time.time()
    assert settled["b.h5"] > now - 1
    assert settled["old.h5"] == pytest.approx(now - 500, abs=1e-3)
    assert settled["logs/d.log"] == pytest.approx(now + 100, abs=1e-3)
    assert settle_times([tmp_path]) == 0


@pytest.fixture
def log(tmp_path):
    yield tmp_path / "logs" / "a.log"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not [handler for handler in logging.getLogger("odynn").handlers if hasattr(handler, "is_replaced")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_job_as_an_exception_does(log, number, request):
    # Where the tests run in the background, or by nohup, it may be ignored.
    request.addfinalizer(partial(signal.signal, number, signal.signal(number, signal.default_int_handler)))
    saved = []
    with pytest.raises(SystemExit) as end, job(log):
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except BaseException:
            saved.append(True)
            raise
    assert end.value.code == 128 + number
    assert saved
    assert f"stopped by {signal.Signals(number).name}" in log.read_text("utf-8")


def test_a_signal_that_got_lost_is_not_forgotten(log, monkeypatch):
    monkeypatch.setattr(jobs, "_EVERY", 0.05)
    monkeypatch.setattr(jobs, "_AGAIN", 0.2)

    class Removed:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    with pytest.raises(SystemExit) as end, job(log):
        Removed()
        assert len(lost) == 1
        time.sleep(5)
    assert end.value.code == 128 + signal.SIGTERM
    assert log.read_text("utf-8").count("stopped by SIGTERM") == 1


def test_a_signal_that_is_ignored_stays_so(log):
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with job(log):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, kept)


def test_a_lack_of_memory_is_one_message(log, capsys):
    with pytest.raises(SystemExit), job(log):
        raise MemoryError("Unable to allocate 3 TiB")
    said = capsys.readouterr().err
    assert said.startswith("Error: ")
    assert "3 TiB" in said
    assert "shard_size" in said
    assert "mem_mb" in log.read_text("utf-8")
    assert "Traceback" not in log.read_text("utf-8") + said


def test_an_unreadable_file_is_set_aside_and_no_other(log, tmp_path, capsys):
    path = tmp_path / "fit.h5"
    path.write_bytes(b"abc")
    with pytest.raises(SystemExit), job(log):
        raise FitError("this one is of something else.")
    assert path.exists()
    with pytest.raises(SystemExit), job(log):
        raise UnreadableFileError("it must be a fit.", path)
    assert not path.exists()
    assert (tmp_path / "fit.h5.unreadable").read_bytes() == b"abc"
    assert "'fit.h5.unreadable': run the same command again" in capsys.readouterr().err
    with pytest.raises(SystemExit), job(log):
        raise UnreadableFileError("it must be a fit.", path)
    assert "could not be renamed" in capsys.readouterr().err
