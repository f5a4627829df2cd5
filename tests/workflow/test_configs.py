"""Each configuration that comes with odynn runs to its report, cut down to a few iterations of two starts."""

from pathlib import Path

import pytest
import yaml

from odynn.config import load
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


def test_there_are_configurations():
    assert len(CONFIGS) >= 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_tiny_run_of_each_configuration(path, fresh, request):
    config = yaml.safe_load(path.read_text("utf-8"))
    for settings in config["experiments"].values():
        settings.update(SMALL)
        if "file" in settings["target"]:
            data, target = request.getfixturevalue("data_folder"), settings["target"]
            places = [
                (target, "file"),
                (target.get("stimulus"), "file"),
                (target.get("protocol"), "amplitudes"),
            ]
            for keys, key in places:
                if keys and isinstance(keys.get(key), str):
                    keys[key] = there(path.parent / keys[key], data)
    fresh.config = config
    code, text = fresh.run()
    assert code == 0, text
    for name in load(path, check_recordings=False).experiments:
        folder = fresh.folder / "results" / name
        fit, best = read_fit(folder / "fit.h5"), read_best(folder / "best.h5")
        assert sorted(fit.ids) == [0, 1]
        assert (fit.loss <= fit.start_loss).all()
        assert list(best.ids) == [fit.ids[0]]
        assert best.train.any()
        assert best.train.all() == (len(best.train) == 1)  # of several sweeps, some are held out
        assert name in (folder / "report.html").read_text("utf-8")
