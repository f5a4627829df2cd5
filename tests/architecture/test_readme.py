"""README, CONTRIBUTING, CHANGELOG and CITATION say what is true: examples run, names and links exist."""

import re
import shlex
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml

import odynn
from odynn import cli, config, recordings
from odynn.data import Best, Fit, Parameter, Status
from odynn.fitting.staged import METHODS
from odynn.models import MODEL_PATHS, load_model
from odynn.recordings import FORMATS
from odynn.storage import write_best, write_fit

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SWEEPS, STARTS = (0, 1), (7, 2)


def blocks(text, language):
    """Return the code blocks in a language; "" for those that name none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in found if name == language]


def rows(text, heading):
    """Return the rows of the table whose first column has this heading, as lists of cells."""
    table = re.search(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def write_recording(path):
    """Write 400 ms under the README's header, at its sampling interval: at rest, and a step of 10 pA."""
    header, first, second = next(iter(blocks(README, "csv"))).splitlines()
    interval = float(second.split(",")[0]) - float(first.split(",")[0])
    table = pd.DataFrame({name: np.full(4000, -60.0) for name in header.split(",")})
    table["time_ms"] = np.round(np.arange(4000) * interval, 6)
    stimuli = [name for name in table if name.startswith("stimulus_pA")]
    assert len(stimuli) == len(SWEEPS)
    for name in stimuli:
        table[name] = np.where(table["time_ms"].between(100, 300), 10.0, 0.0)
    table.to_csv(path, index=False)


def write_results(folder):
    """Write the two files that the README reads, with numbers that tell where they were read from."""
    number, units = len(STARTS), {"V": "mV", "loss": "(mV)²", "r2_V": "1"}
    each = np.arange(number, dtype=float)
    row = Parameter("g_L", 0.1, "mS/cm²", (1e-4, 10.0), scale="log")
    fit = Fit(
        ids=np.array(STARTS),
        parameters={"g_L": row},
        start_values={"g_L": 0.5 + each},
        values={"g_L": 0.2 + each},
        start_loss=9.0 + each,
        loss=1.0 + each,
        rmse_train={"V": 1.0 + each},
        rmse_test={"V": 2.0 + each},
        status=np.full(number, Status.CONVERGED, dtype=np.int8),
        cause=np.zeros(number, dtype=np.int8),
        iterations=np.full(number, 3),
        history=np.ones((3, number)),
        stage=np.zeros(3, dtype=int),
        units=units,
    )
    voltage = np.arange(5 * len(SWEEPS) * number, dtype=np.float32).reshape(5, len(SWEEPS), number)
    best = Best(
        ids=fit.ids,
        time=np.arange(1, 6) * 0.5,
        states={"V": voltage},
        currents={},
        scores={"r2_V": np.array([[0.99, 0.98], [0.97, 0.96]])},
        units=units,
        sweeps=np.array(SWEEPS),
        train=np.array([True, False]),
    )
    folder.mkdir(parents=True)
    write_fit(folder / "fit.h5", fit)
    write_best(folder / "best.h5", best)
    return voltage


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with what a reader of the README would have saved there, as the working directory."""
    (tmp_path / "config" / "data").mkdir(parents=True)
    write_recording(tmp_path / "config" / "data" / "mine.csv")
    own, graded = blocks(README, "yaml")
    (tmp_path / "config" / "mine.yaml").write_text(own, "utf-8")
    (tmp_path / "config" / "graded.yaml").write_text(graded, "utf-8")
    (tmp_path / "config" / "graded.py").write_text(blocks(README, "python")[0], "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_own_recording_in_five_lines(project):
    assert len(blocks(README, "yaml")[0].splitlines()) == 5
    settings = config.load("config/mine.yaml").experiments["mine"]
    assert Path(settings["target"]["file"]).resolve() == project / "config" / "data" / "mine.csv"
    target = recordings.load_target(settings["target"], settings["dt"], steady_state=True)
    # Every other sweep is fitted; pA over µm² are 100 µA/cm².
    assert target.train.tolist() == [True, False]
    assert target.stimulus.max() == pytest.approx(10 * 100 / 65.89)


def test_own_model(project):
    settings = config.load("config/graded.yaml").experiments["graded"]
    model = load_model(settings["model"])
    # Alone and at rest, the voltage is where the currents add up to nothing: here and in the equation.
    P = model.default_params
    neuron = model(dt=settings["dt"])
    V, n = neuron.calculate(np.zeros(4000))[-1]
    assert n == pytest.approx(1 / (1 + np.exp((P["n__mdp"] - V) / P["n__scale"])), rel=1e-6)
    assert P["g_L"] * (V - P["E_L"]) + P["g_K"] * n**2 * (V - P["E_K"]) == pytest.approx(0, abs=1e-6)
    assert neuron.init_state[0] == model.initial_voltage


def test_model_used_alone(project):
    scope = {}
    exec(compile(blocks(README, "python")[1], "README.md", "exec"), scope)
    states, stimulus, neuron = scope["states"], scope["stimulus"], scope["neuron"]
    assert states.shape == (800, 2, 2)
    # At the end of a long step the currents carry the whole stimulus.
    assert sum(neuron.currents(states).values())[599] == pytest.approx(stimulus[599], rel=1e-2)
    assert [path.name for path in project.glob("*.png")] == ["results_graded.png"]


def test_results_read_in_python(project):
    voltage = write_results(project / "results" / "mine")
    scope = {}
    exec(compile(blocks(README, "python")[2], "README.md", "exec"), scope)
    assert scope["best"] == {"g_L": 0.2}
    np.testing.assert_array_equal(scope["voltage"], voltage[:, 1, 0])
    assert scope["voltage"].attrs["units"] == "mV"
    assert scope["scores"].index.tolist() == list(SWEEPS)
    assert scope["scores"].columns.tolist() == list(STARTS)


def test_every_block_is_one_that_is_tested():
    assert {name: len(blocks(README, name)) for name in ("yaml", "python", "csv")} == {
        "yaml": 2,
        "python": 3,
        "csv": 1,
    }
    languages = set(re.findall(r"^```(\w+)$", README + CONTRIBUTING, re.MULTILINE))
    assert languages == {"sh", "yaml", "python", "csv"}


def test_the_loss_in_contributing_is_a_loss():
    (block,) = blocks(CONTRIBUTING, "python")
    scope = {"__name__": "example"}
    exec(compile(block, "CONTRIBUTING.md", "exec"), scope)
    term = scope["RelativeError"](deviation=2.0)
    simulated, channels = {"V": np.array([[1.0, 5.0]])}, {"V": np.array([[3.0]])}
    assert term.states == ("V",)
    assert term.memory(simulated) == ()
    memory, residuals = term.residuals(simulated, (), channels)
    assert memory == ()
    np.testing.assert_array_equal(residuals, [[[-1.0, 1.0]]])


def test_odynn_commands_work(project, capsys):
    write_results(project / "results" / "mine")
    commands = sorted(set(re.findall(r"\.venv/bin/odynn ([^`\n]+)", README)))
    names = {command.split()[0] for command in commands}
    assert names == {"check", "inspect", "models", "show", "archive", "reproduce"}
    for command in commands:
        words = shlex.split(command, comments=True)
        if words[0] in ("archive", "reproduce"):  # tests/workflow/test_reproduction.py has results for them
            assert cli._parser().parse_args(words).results
            continue
        assert cli.main(shlex.split(command)) == 0, command
        assert capsys.readouterr().out.strip(), command


def test_make_targets_and_variables_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)", makefile, re.MULTILINE)[1].split())
    variables = set(re.findall(r"^([A-Z]+) =", makefile, re.MULTILINE))
    pattern = r"(?:^|`|: )make ([a-z]+)((?: [A-Z]+=[^\s`]+)*)"
    used = re.findall(pattern, README + CONTRIBUTING, re.MULTILINE)
    assert {"run", "test", "environment", "check"} <= {target for target, _ in used} <= targets
    set_to = set(re.findall(r"([A-Z]+)=", "".join(more for _, more in used)))
    assert {"CONFIG", "EXTRA"} <= set_to <= variables


def test_model_table_is_that_of_the_library():
    table = {row[0].strip("`"): row for row in rows(README, "name")}
    assert list(table) == list(MODEL_PATHS)
    for name, (_, _, states, parameters) in table.items():
        model = load_model(name)
        assert (int(states), int(parameters)) == (len(model.states), len(model.parameter_names)), name


def test_status_table_is_complete():
    assert {row[0].strip("`") for row in rows(README, "status")} == {status.name.lower() for status in Status}


def test_results_tree_is_that_of_the_rules():
    (tree,) = (block for block in blocks(README, "") if "results/mine/" in block)
    cells = [cell for line in tree.splitlines()[1:] for cell in re.split(" {2,}", line.strip())]
    listed = {cell.partition("/")[0] for cell in cells if re.fullmatch(r"[\w*./]+[./][\w*./]*", cell)}
    rules = "".join(path.read_text("utf-8") for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    made = set(re.findall(r'"<results>/\{experiment\}/([\w.]+)', rules)) | {"logs", "benchmarks"}
    assert len(made) > 8
    assert listed == made


def test_methods_and_formats_are_mentioned():
    assert METHODS.keys() == {"levenberg_marquardt", "adam", "cma_es"}
    assert all(name in README for name in ("Levenberg–Marquardt", "Adam", "CMA-ES"))
    named = {"csv": "CSV", "hdf5": "HDF5", "abf": "ABF", "nwb": "NWB", "ibw": "Igor", "mat": "MATLAB"}
    assert FORMATS.keys() == named.keys()
    assert all(word in README for word in named.values()), "README: which recordings are read"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text("utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    local = [link for link in links if not link.startswith("https://")]
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_files_named_in_contributing_exist():
    named = set(re.findall(r"`((?:odynn|workflow|tests|config|\.ci)/[\w./-]+)`", CONTRIBUTING))
    later = {path for path in named if "NAME" in path}
    assert len(named - later) > 12
    assert sorted(path for path in named - later if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("name", [*DOCUMENTS, "CITATION.cff", "docs/overview.svg"])
def test_documents_name_no_path_of_one_machine(name):
    text = (ROOT / name).read_text("utf-8")
    assert not re.search(r"(?<![\w.:/])/(?:home|Users|root|tmp|work|mnt)/", text)


def test_pictures():
    shown = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", README)
    assert {path for _, path in shown} == {"docs/overview.svg", "docs/example.png", "docs/inspection.png"}
    assert all(len(alternative) > 40 for alternative, _ in shown)
    for name in ("example.png", "inspection.png"):
        assert (ROOT / "docs" / name).stat().st_size < 250_000
    svg = (ROOT / "docs" / "overview.svg").read_text("utf-8")
    root = ElementTree.fromstring(svg)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert {"title", "desc", "text"} <= tags
    assert not {"script", "image", "foreignObject"} & tags
    assert "prefers-color-scheme: dark" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_citation_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # those that the format asks for
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert citation["version"] == odynn.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == citation["license"] == "MIT"
    holder = citation["authors"][0]["name"]
    licence = (ROOT / "LICENSE").read_text("utf-8")
    assert re.match(rf"MIT License\n\nCopyright \(c\) \d{{4}} {holder}\n", licence)


def test_changelog_keeps_its_form():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
    kinds = set(re.findall(r"^### (.*)", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert odynn.__version__ in text
