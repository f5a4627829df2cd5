"""A finished experiment fitted again, by the stages of the workflow, each shard in a process of its own.

The processes are set up as the jobs of the workflow are, one core each, so that the same code on the
same machine gives the same bits.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

import odynn
from odynn import provenance, storage
from odynn.config import Config
from odynn.data import Fit
from odynn.errors import FitError, OdynnError, StorageError
from odynn.reproduction.finished import Finished, code_digest
from odynn.reproduction.sources import Source, moved

Say = Callable[[str], None]

# As Snakemake sets them for a job of one core: libraries read them when they are loaded. Compiled programs
# are kept for a process that runs one stage, and these run several.
_ENVIRONMENT = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")} | {
    "ODYNN_CACHE": ""
}
_HEARTBEAT = 15.0  # s without news until the newest line of the logs is shown
_SAME = ("code_fingerprint", "settings", "inputs", "versions", "precision")


def shards_of(finished: Finished) -> list[str]:
    """Return the shards of a whole refit: those of the configuration."""
    return Config(finished.folder, {"it": finished.settings}).shards("it")


def best_shards(fit: Fit, settings: Mapping, number: int) -> list[str]:
    """Return the shards of a refit of some starts only, the best ones.

    Args:
        fit: merged, best start first.
        settings: of the experiment.
        number: how many of the best starts; those that share a pool with them are fitted too, since
            what becomes of a start depends on its pool.
    """
    pool, most = settings["starts"].get("pool", 1), settings["starts"]["shard_size"]
    last = settings["starts"]["number"] - 1
    ranges: list[list[int]] = []
    for one in sorted({start // pool for start in fit.ids[:number].tolist()}):
        first, end = one * pool, min((one + 1) * pool - 1, last)
        if ranges and ranges[-1][1] + 1 == first and end - ranges[-1][0] < most:
            ranges[-1][1] = end
        else:
            ranges.append([first, end])
    return [f"{first:06d}-{end:06d}" for first, end in ranges]


class Refit:
    """A folder with the stages of an experiment, run again."""

    def __init__(
        self, finished: Finished, located: Mapping[Source, Path], folder: Path, cores: int, say: Say
    ):
        """Prepare the folder.

        Args:
            finished: what is done again.
            located: where the files of its settings are now.
            folder: a new or empty one, or one where this refit was interrupted.
            cores: shards fitted at once.
            say: takes a line about progress.

        Raises:
            StorageError: there is something else in the folder.
        """
        paths = {source: path.absolute() for source, path in located.items() if path is not None}
        self._code = {source: path for source, path in paths.items() if source.kind == "code"}
        self.settings = moved(finished.settings, paths)
        if self.settings["target"].get("sha256"):
            # A recording that has changed is to be told, not refused.
            self.settings["target"]["sha256"] = None
        self.finished, self.folder, self.cores, self.say = finished, folder, cores, say
        self._config = Config(folder, {finished.experiment: self.settings})
        self._open, self._fits = ExitStack(), []
        self._prepare()

    def __enter__(self) -> "Refit":
        """Open the processes that fit; each is started when it is first needed."""
        self._workers = self._open.enter_context(_pool(self.cores))
        return self

    def __exit__(self, *_) -> None:
        """End them."""
        self._open.close()

    def make_target(self) -> Path:
        """Make the target from the recording, or from its description."""
        path = self.folder / "target.h5"
        calls = [("make_target", {"settings": self._narrow("make_target"), "output": path})]
        if "file" in self.settings["target"]:
            self._run({"make_target": calls}, self._workers)
        else:
            # In a process of its own: a simulation sets TensorFlow up in another way than a fit.
            with _pool(1) as pool:
                self._run({"make_target": calls}, pool)
        return path

    def take_target(self, path: Path) -> Path:
        """Take a target that is there in place of the recording."""
        copy = self.folder / "target.h5"
        with storage.atomic_path(copy) as temporary:
            shutil.copyfile(path, temporary)
        return copy

    def fit(self, shards: Sequence[str]) -> Path:
        """Fit these shards of starts, and simulate the best ones; return the merged fit."""
        target = self.folder / "target.h5"
        hashed = provenance.content_hash(storage.read_target(target))
        done = [shard for shard in shards if self._is_done(shard, hashed)]
        if done:
            before = f"{len(done)} of {len(shards)} shards were fitted before"
            self.say(f"{before}; remove {self.folder} to fit them anew.")
        left = [shard for shard in shards if shard not in done]
        self._run({shard: self._shard_calls(shard, target) for shard in left}, self._workers)
        fit, best = self.folder / "fit.h5", self.folder / "best.h5"
        self._fits = [self._file("fits", shard) for shard in shards]
        table = self.folder / "fit.csv"
        about = {"settings": self._narrow("merge_fits"), "fits": self._fits, "output": fit, "table": table}
        calls = [("merge_fits", about)]
        if self.finished.beside("best"):
            about = {"settings": self._narrow("simulate_best"), "target": target, "fit": fit, "output": best}
            calls.append(("simulate_best", about))
        self._run({"simulate_best": calls}, self._workers)
        return fit

    def stamp(self) -> dict:
        """Return what files fitted here say, or would say, of how they were made."""
        found = provenance.shared_stamp(map(storage.read_stamp, self._fits))
        found = found or provenance.stamp("fit", self._narrow("fit")) | {"odynn_version": odynn.__version__}
        # By the names of the settings that are done again, wherever the files are now.
        own = {
            f"{source.file}{source.rest}": code_digest(path, source) for source, path in self._code.items()
        }
        return found | ({"own_code": own} if own else {})

    def _prepare(self) -> None:
        marker = self.folder / "config.yaml"
        # With the paths of then: an archive is unpacked somewhere else each time.
        experiments = {self.finished.experiment: dict(self.finished.settings)}
        text = yaml.safe_dump({"experiments": experiments}, allow_unicode=True, sort_keys=False)
        old = marker.read_text("utf-8") if marker.is_file() else None
        held = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        if self.folder.is_file() or (held and old != text):
            raise StorageError(
                f"--output: '{self.folder}' must be a folder that is new, or that a refit of these very "
                "results went into. Received: a file, or a folder with something else in it. Name another."
            )
        storage.atomic_text(marker, text)

    def _narrow(self, stage: str) -> dict:
        return self._config.settings(self.finished.experiment, stage)

    def _file(self, kind: str, shard: str) -> Path:
        return self.folder / kind / f"{shard}.h5"

    def _shard_calls(self, shard: str, target: Path) -> list[tuple[str, dict]]:
        starts, simulated, fit = (self._file(kind, shard) for kind in ("starts", "simulated", "fits"))
        common = {"shard": shard, "target": target}
        return [
            ("get_random", common | {"settings": self._narrow("get_random"), "output": starts}),
            (
                "simulate_starts",
                common | {"settings": self._narrow("simulate_starts"), "starts": starts, "output": simulated},
            ),
            (
                "fit",
                common
                | {"settings": self._narrow("fit"), "starts": starts, "simulated": simulated, "output": fit},
            ),
        ]

    def _is_done(self, shard: str, target: str) -> bool:
        """Return whether the files of a shard are there, made by this code from these settings and data."""
        for stage, kind in (("get_random", "starts"), ("simulate_starts", "simulated"), ("fit", "fits")):
            path = self._file(kind, shard)
            if not path.is_file():
                return False
            wanted = provenance.stamp(stage, self._narrow(stage), {"target": target})
            try:
                found = storage.read_stamp(path)
            except StorageError:
                return False
            same = [key for key in _SAME if key != "inputs" or stage == "fit"]
            if any(found.get(key) != wanted.get(key) for key in same):
                return False
        return True

    def _run(self, jobs: Mapping[str, list[tuple[str, dict]]], pool: ProcessPoolExecutor) -> None:
        """Run jobs by name, each some stages one after the other, and say how they go on."""
        logs = {name: self.folder / "logs" / f"{name}.log" for name in jobs}
        try:
            running = {pool.submit(_work, logs[name], calls): name for name, calls in jobs.items()}
            self._follow(running, logs)
        except KeyboardInterrupt:
            raise FitError(
                "The refit was stopped. With --output FOLDER, the same command goes on where it was."
            ) from None
        except (BrokenProcessPool, SystemExit):
            raise FitError(
                "A process of the refit was stopped, perhaps for lack of memory. Received: no result. Try "
                "with fewer at once: --cores 1."
            ) from None

    def _follow(self, running: dict[Future, str], logs: Mapping[str, Path]) -> None:
        total, news, shown = len(running), time.monotonic(), ""
        while running:
            done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                future.result()
                news = time.monotonic()
                if total > 1 or "-" in name:
                    self.say(f"  starts {name}: fitted ({total - len(running)} of {total})")
            if time.monotonic() - news > _HEARTBEAT:
                news = time.monotonic()
                line = _newest(logs)
                if line and line != shown:
                    shown = line
                    self.say(f"  {line}")


def _newest(logs: Mapping[str, Path]) -> str:
    """Return the last line of the log that was written to last, with the name of its job."""
    there = {name: path for name, path in logs.items() if path.is_file()}
    if not there:
        return ""
    name = max(there, key=lambda name: there[name].stat().st_mtime_ns)
    lines = there[name].read_text("utf-8", errors="replace").splitlines()
    return f"{name}: {lines[-1]}" if lines else ""


@contextmanager
def _environment() -> Iterator[None]:
    """Set the environment of processes that are started inside."""
    kept = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    # A process that is spawned has loaded nothing yet: TensorFlow and its threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _stop_quietly)
    with _environment():
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _stop_quietly() -> None:
    """Let Ctrl-C end a process without a traceback; a fit keeps its checkpoint."""
    signal.signal(signal.SIGINT, _end)


def _end(_number, _frame) -> None:
    raise SystemExit(130)


def _work(log: Path, calls: list[tuple[str, dict]]) -> None:
    """Run some stages as one job, in a process of its own."""
    from odynn import stages

    failed = None
    with stages.job(log):
        try:
            for stage, arguments in calls:
                getattr(stages, stage)(**arguments)
        except OdynnError as error:
            logging.getLogger("odynn").error("Error: %s", error)
            failed = error
    if failed:
        raise failed
