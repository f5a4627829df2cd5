"""The stages of the workflow, one function each: paths in, paths out.

This is the only door through which the workflow's scripts and the command line reach the package.
Each function imports what it runs inside its body: that keeps TensorFlow out of the stages that do
not need it, and tells ``odynn.provenance`` which code a stage depends on.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from odynn.jobs import job as job  # the scripts run each stage in one

Settings = Mapping
PathLike = str | os.PathLike

log = logging.getLogger("odynn")


@contextmanager
def _device(settings: Settings, stamp: Mapping) -> Iterator[None]:
    """Take the device that the settings name, with the programs that earlier jobs of the kind compiled."""
    from odynn import storage
    from odynn.simulation.device import set_up_device

    with storage.kept_programs(f"{stamp['stage']} {stamp['code_fingerprint']} {stamp['versions']}"):
        log.info("device: %s", set_up_device(settings.get("device", "auto")))
        yield


def make_target(settings: Settings, output: PathLike, fetched: Sequence[PathLike] = ()) -> None:
    """Read the recording, or simulate the ground truth, that an experiment is fitted to.

    Args:
        settings: model, solver, dt, initial_state, target.
        output: the target file to write.
        fetched: the files of the recording, where they were fetched from addresses.
    """
    from odynn import provenance, storage
    from odynn.models import load_model
    from odynn.recordings import load_target
    from odynn.simulation.synthetic import synthetic_target

    target = settings["target"]
    initial = settings["initial_state"]
    if initial == "auto" and "I" in target.get("synthetic", {}).get("observed", ()):
        steady_state = True  # at the first voltage of the command
    elif initial in ("auto", "fitted"):
        steady_state = "file" in target
    else:
        steady_state = initial == "steady_state"
    if "file" in target:
        current = load_model(settings["model"]).current_unit
        found = load_target(target, settings["dt"], steady_state, fetched, current)
    else:
        found = synthetic_target(
            settings["model"],
            target["synthetic"],
            settings["dt"],
            settings["solver"],
            steady_state,
            initial == "fitted",
        )
    storage.write_target(output, found, provenance.stamp("make_target", settings))
    log.info("%d steps of %g ms, %d sweeps, %d for training", *_extent(found))


def _extent(target) -> tuple:
    return len(target.time), target.dt, len(target.sweeps), int(target.train.sum())


def get_random(settings: Settings, shard: str, output: PathLike, target: PathLike | None = None) -> None:
    """Draw a shard of random starts.

    Args:
        settings: model, parameters, starts.seed, starts.design, starts.regression; starts.number for a
            Latin hypercube; initial_state where it is fitted; solver for a regression.
        shard: name of the range of starts, such as "000000-000031".
        output: the file of starts to write.
        target: the target file, read for a regression alone.
    """
    from odynn import provenance, storage
    from odynn.fitting.regression import regressed_starts
    from odynn.fitting.starts import draw_starts
    from odynn.models import experiment_parameters, load_model

    model, wanted = load_model(settings["model"]), settings["starts"]
    parameters = experiment_parameters(model, settings["parameters"], settings.get("initial_state", "auto"))
    starts = draw_starts(
        model, parameters, _ids(shard), wanted["seed"], wanted["design"], wanted.get("number")
    )
    inputs = {}
    if wanted["regression"]:
        inputs["target"] = storage.read_target(target)
        training = inputs["target"].select(inputs["target"].train)
        starts = regressed_starts(model, starts, training, settings["solver"])
    storage.write_starts(output, starts, provenance.stamp("get_random", settings, inputs))
    log.info("drew starts %s of %s", shard, model.__name__)


def _ids(shard: str) -> range:
    first, last = map(int, shard.split("-"))
    return range(first, last + 1)


def simulate_starts(
    settings: Settings, target: PathLike, starts: PathLike, shard: str, output: PathLike, threads: int = 1
) -> None:
    """Simulate every start of a shard on the training sweeps, before any fitting.

    Args:
        settings: model, solver, dt, precision, device, loss, parameters, starts.seed.
        target: the target file.
        starts: the file of starts.
        shard: name of the range of starts.
        output: the file to write.
        threads: cores to use.
    """
    from odynn import provenance, storage
    from odynn.fitting.evaluation import experiment_problem, simulated_starts

    wanted, drawn = storage.read_target(target), storage.read_starts(starts).select(_ids(shard))
    stamp = provenance.stamp("simulate_starts", settings, {"target": wanted, "starts": drawn})
    with _device(settings, stamp):
        problem = experiment_problem(settings, wanted.select(wanted.train), drawn, threads)
        found = simulated_starts(problem, drawn, wanted)
    storage.write_simulated(output, found, stamp)


def fit(
    settings: Settings,
    target: PathLike,
    starts: PathLike,
    simulated: PathLike,
    shard: str,
    output: PathLike,
    threads: int = 1,
) -> None:
    """Fit every start of a shard.

    Starts that another shard file in the same folder already holds, fitted by the same code from the
    same settings and target, are taken from there: changing the number of starts or the size of a
    shard fits only what is new. While it runs, the state is kept in ``checkpoints/`` beside the
    folder of the output: killed at any moment and run again, it goes on and ends the same. The last
    state stays there until ``merge_fits`` has the shard: of a job that is killed after its work, while
    its process ends, the workflow throws the output away.

    Args:
        settings: model, solver, dt, precision, device, loss, parameters, starts.seed, fit.
        target: the target file.
        starts: the file of starts.
        simulated: the file that ``simulate_starts`` wrote.
        shard: name of the range of starts.
        output: the file to write.
        threads: cores to use.
    """
    import numpy as np

    from odynn import provenance, storage
    from odynn.fitting.evaluation import fitted_starts

    wanted, drawn = storage.read_target(target), storage.read_starts(starts).select(_ids(shard))
    before = storage.read_simulated(simulated)
    stamp = provenance.stamp("fit", settings, {"target": wanted})
    parts = storage.finished_starts(Path(output), drawn, stamp)
    done = [start for part in parts for start in part.ids.tolist()]
    if done:
        log.info("%d of %d starts are fitted already", len(done), len(drawn.ids))
    left = drawn.select(np.setdiff1d(drawn.ids, done))
    key = provenance.content_hash({"stamp": stamp, "starts": left})
    checkpoint = storage.Checkpoint(_fit_checkpoint(output), key)
    if len(left.ids):
        with _device(settings, stamp):
            parts.append(fitted_starts(settings, wanted, left, before, threads, checkpoint))
    joined = storage.concatenate_fits(parts)
    storage.write_fit(output, joined.take(np.argsort(joined.ids)), stamp)


def _fit_checkpoint(output: PathLike) -> Path:
    """Return the path of the checkpoint of a shard."""
    return Path(output).parent.parent / "checkpoints" / f"{Path(output).stem}.npz"


def merge_fits(settings: Settings, fits: Sequence[PathLike], output: PathLike, table: PathLike) -> None:
    """Join the fitted shards into one file, best start first; no start is dropped.

    The checkpoints of the shards are removed.

    Args:
        settings: the whole experiment.
        fits: the files of the shards.
        output: the file to write.
        table: the CSV table to write, a line a start.
    """
    from odynn import provenance, storage
    from odynn.analysis.ranking import ranked
    from odynn.analysis.tables import fit_table

    parts, inputs, stamps = [], {}, []
    for path in fits:
        parts.append(storage.read_fit(path))
        inputs[Path(path).stem] = provenance.content_hash(parts[-1])
        stamps.append(storage.read_stamp(path))
    merged = storage.concatenate_fits(parts, [str(path) for path in fits])
    parts.clear()  # of many shards, all copies at once would take several times the memory of the data
    merged = ranked(merged)
    stamp = provenance.stamp("merge_fits", settings, inputs)
    stamp["fitted_by"] = provenance.shared_stamp(stamps)
    storage.write_fit(output, merged, stamp)
    with storage.atomic_path(table) as temporary:
        fit_table(merged).to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")
    log.info("%d starts, best loss %.6g", len(merged.ids), merged.loss[0])
    storage.remove_checkpoints(map(_fit_checkpoint, fits))


def simulate_best(
    settings: Settings, target: PathLike, fit: PathLike, output: PathLike, threads: int = 1
) -> None:
    """Run the best starts freely on every sweep, training and held-out, and score them.

    Args:
        settings: model, solver, dt, precision, device, best.
        target: the target file.
        fit: the merged fit.
        output: the file to write.
        threads: cores to use.
    """
    from odynn import provenance, storage
    from odynn.analysis.best import best_runs

    wanted, found = storage.read_target(target), storage.read_fit(fit)
    stamp = provenance.stamp("simulate_best", settings, {"target": wanted, "fit": found})
    with _device(settings, stamp):
        best = best_runs(settings, wanted, found, threads)
    storage.write_best(output, best, stamp)


def uncertainty(
    settings: Settings, target: PathLike, fit: PathLike, output: PathLike, threads: int = 1
) -> None:
    """Tell how well the training sweeps determine the parameters of the best starts.

    While profiles are computed, their state is kept in ``checkpoints/`` beside the output.

    Args:
        settings: model, solver, dt, device, loss, uncertainty.
        target: the target file.
        fit: the merged fit.
        output: the file to write.
        threads: cores to use.
    """
    from odynn import provenance, storage
    from odynn.analysis.uncertainty import estimated_uncertainty

    wanted, found = storage.read_target(target), storage.read_fit(fit)
    stamp = provenance.stamp("uncertainty", settings, {"target": wanted, "fit": found})
    checkpoint = storage.Checkpoint(
        Path(output).parent / "checkpoints" / "uncertainty.npz", provenance.content_hash(stamp)
    )
    with _device(settings, stamp):
        estimated = estimated_uncertainty(settings, wanted, found, threads, checkpoint)
    storage.write_uncertainty(output, estimated, stamp)
    checkpoint.remove()


def plot_results(
    settings: Settings,
    target: PathLike,
    fit: PathLike,
    best: PathLike,
    uncertainty: PathLike,
    figures: PathLike,
    tables: PathLike,
) -> None:
    """Draw the figures and write the tables of an experiment.

    Args:
        settings: best, loss, plot.
        target: the target file.
        fit: the merged fit.
        best: the file that ``simulate_best`` wrote.
        uncertainty: the file that the stage of this name wrote.
        figures: folder of traces, waterfall, parameters, history, details, uncertainty and information,
            PNG each; and of spikes, where the recording has any.
        tables: folder of parameters, scores and uncertainty, CSV each.
    """
    from odynn import plotting, storage

    wanted, found, runs = storage.read_target(target), storage.read_fit(fit), storage.read_best(best)
    known = storage.read_uncertainty(uncertainty)
    plot, number = settings["plot"], settings["best"]["number"]
    # Weights of mean squared errors are those of the short form; those of terms are of other things.
    weights = settings["loss"] if isinstance(settings["loss"], Mapping) else None
    lines = {"target_color": plot["target_color"]}
    shades = {"color_map": plot["color_map"]}
    spikes = plotting.raster(wanted, runs, **lines, **shades)
    drawn = {} if spikes is None else {"spikes": spikes}
    # The rule cannot declare it, since only the recording tells whether it is drawn.
    (Path(figures) / "spikes.png").unlink(missing_ok=True)
    drawn |= {
        "traces": plotting.traces(wanted, runs, **lines, **shades),
        "waterfall": plotting.waterfall(found, wanted, weights=weights),
        "parameters": plotting.parameters(found, wanted, number, **lines, **shades),
        "history": plotting.history(found, **shades),
        "details": plotting.details(wanted, runs, **lines),
        "uncertainty": plotting.uncertainty(known, wanted, **lines),
        "information": plotting.information(known),
    }
    for name, figure in drawn.items():
        plotting.save(figure, Path(figures) / f"{name}.png", dpi=plot["dpi"])
    written = {
        "parameters": plotting.parameter_table(found, wanted, number),
        "scores": plotting.score_table(runs),
        "uncertainty": plotting.uncertainty_table(known, wanted),
    }
    for name, table in written.items():
        storage.atomic_text(Path(tables) / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))


def report(
    settings: Settings,
    target: PathLike,
    fit: PathLike,
    best: PathLike,
    uncertainty: PathLike,
    figures: PathLike,
    tables: PathLike,
    output: PathLike,
) -> None:
    """Write one self-contained HTML page about an experiment.

    Args:
        settings: the whole experiment.
        target: the target file.
        fit: the merged fit.
        best: the file that ``simulate_best`` wrote.
        uncertainty: the file that the stage of this name wrote.
        figures: folder of the figures.
        tables: folder of the tables.
        output: the page to write.
    """
    import pandas as pd

    from odynn import plotting, storage

    page = plotting.report(
        storage.read_target(target),
        storage.read_fit(fit),
        storage.read_best(best),
        {path.stem: path for path in sorted(Path(figures).glob("*.png"))},
        {path.stem: pd.read_csv(path) for path in sorted(Path(tables).glob("*.csv"))},
        settings,
        storage.read_stamp(fit),
        uncertainty=storage.read_uncertainty(uncertainty),
        folder=Path(output).parent,
    )
    storage.atomic_text(output, page)
