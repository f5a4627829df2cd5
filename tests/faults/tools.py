"""Means to run stages and the workflow, to disturb them, and to compare what they leave."""

import importlib.util
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from odynn import config

ROOT = Path(__file__).parents[2]
SHARD = "000000-000003"

# A fit that takes some seconds: it computes little, and begins all three methods.
EXPERIMENT = {
    "model": "leaky",
    "dt": 1.0,
    "target": {
        "synthetic": {
            "duration": 60,
            "sweeps": [[{"step": 1, "from": 5, "to": 30}], [{"step": 2, "from": 10, "to": 30}]],
            "noise": {"V": 0.1},
        }
    },
    "starts": {"number": 4, "seed": 3, "shard_size": 4},
    "fit": {
        "stages": [
            {"method": "levenberg_marquardt", "iterations": 30, "tolerance": 0.0},
            {"method": "adam", "iterations": 1500, "decay": 1.0},
            {"method": "cma_es", "iterations": 200},
        ]
    },
    "best": {"number": 2},
    "uncertainty": {"profiles": ["g_L", "C_m", "E_L"], "points": 20},
    "plot": {"dpi": 40},
}
INPUTS = {
    "make_target": [],
    "get_random": ["target.h5"],
    "simulate_starts": ["target.h5", f"starts/{SHARD}.h5"],
    "fit": ["target.h5", f"starts/{SHARD}.h5", f"simulated/{SHARD}.h5"],
    "merge_fits": [f"fits/{SHARD}.h5"],
    "simulate_best": ["target.h5", "fit.h5"],
    "uncertainty": ["target.h5", "fit.h5"],
    "plot_results": ["target.h5", "fit.h5", "best.h5", "uncertainty.h5"],
    "report": ["target.h5", "fit.h5", "best.h5", "uncertainty.h5"],
}
OUTPUTS = {
    "make_target": ["target.h5"],
    "get_random": [f"starts/{SHARD}.h5"],
    "simulate_starts": [f"simulated/{SHARD}.h5"],
    "fit": [f"fits/{SHARD}.h5"],
    "merge_fits": ["fit.h5", "fit.csv"],
    "simulate_best": ["best.h5"],
    "uncertainty": ["uncertainty.h5"],
    "plot_results": ["figures/traces.png", "tables/scores.csv"],
    "report": ["report.html"],
}
NAMED = {"target", "starts", "simulated", "fit", "best", "uncertainty"}


class Life:
    """A stage at work in a process of its own."""

    def __init__(self, process, ends, log, errors):
        self.process, self._ends, self._log, self._errors = process, ends, log, errors
        self.over = False

    def runs(self):
        return self._ends.empty()

    def kill(self, number):
        """Send a signal to the process, which must be at work."""
        assert self.runs(), "it ended before the kill"
        os.kill(self.process, number)

    def end(self, seconds=300):
        """Return how it ended: an exit code, or less than 0 for the signal that killed it."""
        found = self._ends.get(timeout=seconds)
        self.over = True
        return found

    @property
    def log(self):
        return self._log.read_text("utf-8") if self._log.exists() else ""

    @property
    def errors(self):
        return self._errors.read_text("utf-8") if self._errors.exists() else ""


class Lives:
    """Starts stages, each in a process of its own; see ``lives.py``."""

    def __init__(self, folder):
        self._folder, self._numbers, self._last = folder, itertools.count(), None
        self._settings = config.from_mapping({"experiments": {"tiny": EXPERIMENT}}, folder, "config.yaml")
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("lives.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(int(line))

    def begin(self, folder, stage, memory=None, **changes):
        """Start a stage in a folder of results; ``changes`` replace settings."""
        if self._last is not None and not self._last.over:  # a test that failed has left it
            if self._last.runs():
                os.kill(self._last.process, signal.SIGKILL)
            self._last.end()
        arguments = {"settings": {**self._settings.settings("tiny", stage), **changes}}
        log, results = folder / f"{stage}.log", folder.relative_to(folder.parents[1])
        log.unlink(missing_ok=True)  # the process may be slower than a look into it
        files = {Path(name).parts[0].removesuffix(".h5"): str(results / name) for name in INPUTS[stage]}
        if stage == "merge_fits":
            arguments |= {"fits": list(files.values()), "table": str(results / "fit.csv")}
        else:
            arguments |= {name: path for name, path in files.items() if name in NAMED}
        if stage in ("get_random", "simulate_starts", "fit"):
            arguments["shard"] = SHARD
        if stage in ("plot_results", "report"):
            arguments |= {"figures": str(results / "figures"), "tables": str(results / "tables")}
        if stage != "plot_results":
            arguments["output"] = str(results / OUTPUTS[stage][0])
        # Not in the folder of results, whose disk may be full.
        errors = self._folder / f"{next(self._numbers)}.err"
        job = {
            "stage": stage,
            "folder": str(folder.parents[1]),
            "log": str(log),
            "arguments": arguments,
            "memory": memory,
            "errors": str(errors),
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        self._last = Life(self._lines.get(timeout=300), self._lines, log, errors)
        return self._last

    def run(self, folder, stage, **options):
        """Run a stage to its end."""
        life = self.begin(folder, stage, **options)
        return life, life.end()

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def differences(folder, other):
    """Return the files of results that are not equal, or are only in one of two folders."""

    def contents(root):
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and not {"logs", "benchmarks"} & set(path.parts) and ".log" not in path.name
        }

    one, two = contents(folder), contents(other)
    assert len(two) > 5
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def wait_for(condition, seconds=300, what="it"):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} takes too long"
        time.sleep(0.01)


def loaded(path):
    """Return a module of another folder of tests."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def descendants(process):
    """Return {process id: command line} of all processes that a process has started, and theirs."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            commands[int(folder.name)] = folder.joinpath("cmdline").read_text().replace("\0", " ")
        except (OSError, UnicodeDecodeError):
            continue
    found, waiting = {}, [process]
    while waiting:
        parent = waiting.pop()
        children = [child for child, of in parents.items() if of == parent]
        found |= {child: commands[child] for child in children}
        waiting += children
    return found
