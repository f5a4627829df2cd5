"""What a user sees who made a mistake: one message, and nothing half-written."""

import pytest


def break_nothing(workflow):
    """Leave the configuration as it is."""


def misspell(workflow):
    workflow.change(strats={"number": 4})


def unknown_model(workflow):
    workflow.change(model="celegan")


def text_for_number(workflow):
    workflow.edit("config/config.yaml", "iterations: 2", "iterations: 2\n        tolerance: 1e-3")


def key_twice(workflow):
    workflow.edit("config/config.yaml", "    dt: 1.0\n", "    dt: 1.0\n    dt: 0.5\n")


def bounds_reversed(workflow):
    workflow.change(parameters={"bounds": {"C_m": [4, 1]}})


def unknown_parameter(workflow):
    workflow.change(parameters={"fixed": {"g_leek": 1}})


def missing_recording(workflow):
    workflow.change(target={"file": "nothing.csv", "area": 65.89})
    config = workflow.config
    del config["experiments"]["tiny"]["target"]["synthetic"]
    workflow.config = config


def raising_model(workflow):
    workflow.edit("config/mine.py", "class Mine", "raise RuntimeError('no')\n\n\nclass Mine")


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (misspell, ["strats", "starts"]),
        (unknown_model, ["celegan", "celegans"]),
        (text_for_number, ["1e-3", "1.0e-3"]),
        (key_twice, ["dt", "twice"]),
        (bounds_reversed, ["C_m", "4", "1"]),
        (unknown_parameter, ["g_leek"]),
        (missing_recording, ["nothing.csv"]),
        (raising_model, ["mine.py", "RuntimeError", "no"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_wrong_configuration_ends_in_one_message(fresh, mistake, said):
    mistake(fresh)
    code, text = fresh.run()
    assert code != 0
    assert "Traceback" not in text
    assert "SystemExit" not in text
    message = [line for line in text.splitlines() if "config.yaml" in line]
    assert len(message) == 1, text
    assert all(word in message[0] for word in said), message
    assert "Job stats" not in text
    assert not (fresh.folder / "results").exists()


def test_no_mistake_no_message(fresh):
    assert fresh.planned()


def test_a_failed_job_shows_its_message(finished):
    # A result of another version, or cut short, is what a stage may meet that no configuration tells.
    best = finished.folder / "results/tiny/best.h5"
    best.write_bytes(best.read_bytes()[:500])
    report = finished.folder / "results/tiny/report.html"
    report.unlink()
    code, text = finished.run("--forcerun", "report")
    assert code != 0
    assert "Traceback" not in text
    assert "best.h5" in text.split("Logfile")[-1]
    assert not report.exists()
