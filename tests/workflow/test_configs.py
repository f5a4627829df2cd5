"""The configurations that come with odynn run to their reports, cut down to a few iterations of two starts.

All of them are one workflow, so that Snakemake runs them side by side.
"""

from pathlib import Path

import pytest
import yaml

from odynn.storage import read_best, read_fit

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "config").rglob("*.yaml"))
SMALL = {
    "starts": {"number": 2, "seed": 1, "shard_size": 2},
    "fit": {"stages": [{"method": "levenberg_marquardt", "iterations": 2}]},
    "best": {"number": 1},
    "plot": {"dpi": 50},
}


def there(file, data):
    """Return where a recording is: they are not committed, but what a file says leads there."""
    parts = file.resolve().parts
    return str(data.joinpath(*parts[parts.index("data") + 1 :]))


def cut_down(path, data):
    """Return the experiments of a configuration, small; of recordings only if their folder is there."""
    found = {}
    for name, settings in yaml.safe_load(path.read_text("utf-8"))["experiments"].items():
        settings.update(SMALL)
        if ".py:" in settings["model"]:
            settings["model"] = str(path.parent / settings["model"])
        target = settings["target"]
        if "file" in target:
            if data is None:
                continue
            places = [
                (target, "file"),
                (target.get("stimulus"), "file"),
                (target.get("protocol"), "amplitudes"),
            ]
            for keys, key in places:
                if keys and isinstance(keys.get(key), str):
                    keys[key] = there(path.parent / keys[key], data)
        found[name] = settings
    return found


@pytest.fixture(scope="module")
def finished_runs(tmp_path_factory, layout, request):
    """Give the folder of the results of all configurations."""
    try:
        data = request.getfixturevalue("data_folder")
    except pytest.skip.Exception:
        data = None
    workflow = layout(tmp_path_factory.mktemp("configs") / "a folder")
    together = [cut_down(path, data) for path in CONFIGS]
    experiments = {name: settings for found in together for name, settings in found.items()}
    assert len(experiments) == sum(map(len, together)), "two configurations have an experiment of one name"
    workflow.config = {"experiments": experiments}
    code, text = workflow.run(timeout=1200)
    assert code == 0, text
    return workflow.folder / "results"


def test_there_are_configurations():
    assert len(CONFIGS) >= 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_tiny_run_of_each_configuration(path, finished_runs):
    for name in yaml.safe_load(path.read_text("utf-8"))["experiments"]:
        folder = finished_runs / name
        if not folder.is_dir():
            pytest.skip("no real recordings: set ODYNN_DATA to their folder to run this test")
        fit, best = read_fit(folder / "fit.h5"), read_best(folder / "best.h5")
        assert sorted(fit.ids) == [0, 1]
        assert (fit.loss <= fit.start_loss).all()
        assert list(best.ids) == [fit.ids[0]]
        assert best.train.any()
        assert best.train.all() == (len(best.train) == 1)  # of several sweeps, some are held out
        assert name in (folder / "report.html").read_text("utf-8")
