"""A copy of the repository, in a folder with a space in its name, where a tiny experiment has run."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]

# Two shards of two starts of a model in a file of its own, derived from one of the library.
CONFIG = {
    "experiments": {
        "tiny": {
            "model": "mine.py:Mine",
            "dt": 1.0,
            "target": {
                "synthetic": {
                    "duration": 40,
                    "sweeps": [[{"step": 1, "from": 5, "to": 30}], [{"step": 2, "from": 10, "to": 30}]],
                    "noise": {"V": 0.1},
                }
            },
            "starts": {"number": 4, "seed": 3, "shard_size": 2},
            "fit": {"stages": [{"method": "levenberg_marquardt", "iterations": 2}]},
            "best": {"number": 2},
            "plot": {"dpi": 50},
        }
    }
}
MODEL = '''"""A model of one's own."""

from odynn.models.leaky import LeakyIntegrate


class Mine(LeakyIntegrate):
    """The leaky integrator with another leak."""

    default_params = {**LeakyIntegrate.default_params, "g_L": 0.2}
'''


class Workflow:
    """A folder laid out as the repository, and Snakemake run in it as a user would."""

    def __init__(self, folder):
        self.folder = folder
        self.config_file = folder / "config" / "config.yaml"

    @property
    def config(self):
        return yaml.safe_load(self.config_file.read_text("utf-8"))

    @config.setter
    def config(self, content):
        self.config_file.write_text(yaml.safe_dump(content), "utf-8")

    def change(self, **keys):
        """Merge keys into those of the experiment `tiny`."""
        config = self.config
        for key, value in keys.items():
            old = config["experiments"]["tiny"].get(key)
            config["experiments"]["tiny"][key] = {**old, **value} if isinstance(old, dict) else value
        self.config = config

    def edit(self, path, old, new):
        """Change the text of a file."""
        text = (self.folder / path).read_text("utf-8")
        assert old in text, f"{path} no longer says {old!r}"
        (self.folder / path).write_text(text.replace(old, new), "utf-8")

    def start(self, *arguments, **options):
        """Start Snakemake, in a process group of its own."""
        # Through a link in this folder, so that the path of Python has a space too.
        command = [self.folder / ".venv" / "bin" / "python", "-m", "snakemake", "--cores", "2", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "200"}
        none = subprocess.DEVNULL
        options = {"stdin": none, "stdout": none, "stderr": none, **options}
        return subprocess.Popen(command, cwd=self.folder, env=environment, start_new_session=True, **options)

    def run(self, *arguments, timeout=300):
        """Run Snakemake; return its exit code and all that it wrote."""
        with self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                text, _ = process.communicate(timeout=timeout)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, text

    def planned(self, *arguments):
        """Return {rule: number of jobs} of a dry run."""
        code, text = self.run("--dry-run", *arguments)
        assert code == 0, text
        return counted(text)

    def results(self):
        """Return {path: content} of the result files, without the logs and benchmarks."""
        folder = self.folder / "results"
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not {"logs", "benchmarks"} & set(path.parts)
        }


def counted(text):
    """Return {rule: number of jobs} of what Snakemake wrote."""
    if "Nothing to be done" in text:
        return {}
    table = re.search(r"^Job stats:\njob +count\n[- ]+\n(.*?)^total ", text, re.M | re.S)
    assert table, text
    jobs = Counter({name: int(number) for name, number in map(str.split, table[1].splitlines())})
    del jobs["all"]
    return dict(jobs)


def lay_out(folder):
    """Copy what a run needs of the repository, with a small configuration."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("odynn", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "config").mkdir()
    (folder / "config" / "mine.py").write_text(MODEL, "utf-8")
    workflow = Workflow(folder)
    workflow.config = CONFIG
    return workflow


@pytest.fixture(scope="session")
def layout():
    """Give ``lay_out``."""
    return lay_out


@pytest.fixture
def fresh(tmp_path):
    """A workflow that has not run."""
    return lay_out(tmp_path / "a folder")


@pytest.fixture(scope="session")
def first_run(tmp_path_factory):
    """A workflow that has run once, and what Snakemake wrote; not to be changed."""
    workflow = lay_out(tmp_path_factory.mktemp("run") / "a folder")
    code, text = workflow.run()
    assert code == 0, text
    return workflow, text


@pytest.fixture
def finished(first_run, tmp_path):
    """A copy of the workflow that has run, to change."""
    shutil.copytree(first_run[0].folder, tmp_path / "a folder", symlinks=True)
    return Workflow(tmp_path / "a folder")
