"""`make`: what it sets up and when, with a stand-in for Python that only notes how it is called."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
  "-m venv --clear .venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"--require-hashes"*) [ -z "$NO_NETWORK" ] ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Give a function that runs make and returns its exit code, its text and the calls of Python."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-cuda.lock"):
        shutil.copy(ROOT / name, folder)
    python, calls = tmp_path / "some python", tmp_path / "calls"
    python.write_text(PYTHON, "utf-8")
    python.chmod(0o755)

    def run(*words, python=python, **variables):
        calls.write_text("", "utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(
            ["make", *words, *([f"PYTHON={python}"] if python else [])],
            cwd=folder,
            env={**kept, "CALLS": str(calls), **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr, calls.read_text("utf-8").splitlines()

    run.folder = folder
    return run


def test_make_alone_says_what_there_is(make):
    code, text, calls = make()
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.M)[1].split()
    assert code == 0
    assert len(targets) > 5
    assert [target for target in targets if target != "help" and f"make {target} " not in text] == []
    assert calls == []


def test_the_environment_is_set_up_from_the_lock_once(make):
    code, text, calls = make("environment")
    assert code == 0, text
    assert "-m venv --clear .venv" in calls
    installs = [call for call in calls if "pip install" in call]
    assert len(installs) == 2
    assert installs[0].endswith("--require-hashes -r requirements.lock")
    assert "--no-deps --no-build-isolation -e ." in installs[1]
    assert make("environment") == (0, "", ["-c "])


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_the_environment_follows_its_files(make, changed):
    make("environment")
    (make.folder / changed).write_text("# changed\n", "utf-8")
    _, _, calls = make("environment")
    assert "-m venv --clear .venv" in calls


def test_the_environment_is_made_anew_where_the_folder_was_moved(make, tmp_path):
    make("environment")
    make.folder.rename(tmp_path / "moved folder")
    make.folder.symlink_to(tmp_path / "moved folder")
    _, _, calls = make("environment")
    assert "-m venv --clear .venv" in calls


def test_an_interrupted_set_up_is_done_again(make):
    code, text, _ = make("environment", NO_NETWORK="1")
    assert code != 0
    assert not (make.folder / ".venv" / "ready").exists()
    code, text, calls = make("environment")
    assert code == 0, text
    assert "-m venv --clear .venv" in calls


@pytest.mark.skipif(os.uname().sysname != "Linux" or os.uname().machine != "x86_64", reason="no CUDA here")
def test_cuda_stays_until_cpu_is_asked_for(make):
    _, _, calls = make("environment", "EXTRA=cuda")
    assert any(call.endswith("-r requirements-cuda.lock") for call in calls)
    assert make("environment")[2] == ["-c "]
    _, _, calls = make("environment", "EXTRA=cpu")
    assert any(call.endswith("-r requirements.lock") for call in calls)


def test_no_python_that_fits_is_said(make, tmp_path):
    unfit = tmp_path / "old"
    unfit.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    unfit.chmod(0o755)
    code, text, _ = make("environment", python=unfit)
    assert code != 0
    assert "odynn needs Python 3.11, 3.12 or 3.13" in text
    assert str(unfit) in text
    assert not (make.folder / ".venv").exists()


def test_an_unknown_extra_is_said(make):
    code, text, calls = make("environment", "EXTRA=gpu")
    assert code != 0
    assert "EXTRA must be cpu, or cuda on Linux x86-64. Received: gpu" in text
    assert calls == []


def test_run_takes_a_configuration_whose_path_has_a_space(make):
    code, text, calls = make("run", "CONFIG=my data/cell 1.yaml", "CORES=3")
    assert code == 0, text
    assert "-m odynn.cli check my data/cell 1.yaml" in calls
    assert "-m snakemake --cores 3 --configfile my data/cell 1.yaml" in calls
