"""The fingerprint follows the code that runs and nothing else; hashes follow contents, not layouts."""

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import odynn
from odynn import fingerprint, provenance, storage
from odynn.data import Parameter, Simulated, Starts, Target
from odynn.errors import ModelError, OdynnError, StorageError

ROOT = Path(odynn.__file__).parent

PACKAGE = {
    "__init__.py": '"""A package."""\n\n__version__ = "1.0"\n',
    "errors.py": "class Wrong(Exception):\n    pass\n",
    "units.py": "MILLI = 1e-3\n",
    "jobs.py": "def job():\n    return 1\n",
    "plotting/__init__.py": "from pkg.plotting.style import line\n",
    "plotting/style.py": "def line():\n    return 1\n",
    "fitting/__init__.py": "def __getattr__(name):\n    from pkg.fitting import unused\n",
    "fitting/staged.py": (
        "from typing import TYPE_CHECKING\n"
        "from ..units import MILLI\n"
        "from . import losses\n"
        "if TYPE_CHECKING:\n"
        "    from pkg.fitting import hints\n\n\n"
        "def fit(model):\n"
        '    """Fit."""\n'
        "    from pkg.simulation import simulate\n"
        "    return simulate(model)\n"
    ),
    "fitting/losses.py": "def loss(x):\n    return x**2\n",
    "fitting/hints.py": "A = 1\n",
    "fitting/unused.py": "B = 1\n",
    "simulation.py": "import pkg.models.model as model\n\n\ndef simulate(model):\n    return model\n",
    "models/__init__.py": "",
    "models/model.py": (
        "class Model:\n    step = 1\n\n    def draw(self):\n        from pkg.plotting import line\n"
    ),
    "models/cfg_model.py": "from pkg.models import one, other\n",
    "models/one.py": "from pkg.models.kinetics import gate\nfrom pkg.models.other import Other\nA = 1\n",
    "models/other.py": "from pkg.models.model import Model\n\n\nclass Other(Model):\n    a = 1\n",
    "models/third.py": "class Third:\n    a = 1\n",
    "models/kinetics.py": "def gate():\n    return 0.5\n",
    "models/registry.py": (
        "from pkg.models.model import Model\n\n"
        "MODEL_PATHS = {\n"
        '    "one": "pkg.models.one:One",\n'
        '    "other": "pkg.models.other:Other",\n'
        '    "third": "pkg.models.third:Third",\n'
        "}\n\n\n"
        "def load(name):\n"
        "    from pkg.models import cfg_model, third\n"
        "    return Model\n"
    ),
    "stages.py": (
        '"""The stages."""\n\n'
        "import json\n"
        "from pkg.errors import Wrong\n"
        "from pkg.jobs import job\n\n"
        "SIZE = 3\n"
        "LIMIT: int = 5\n"
        "OTHER = 4\n\n\n"
        "def fit(settings, output):\n"
        '    """Fit."""\n'
        "    from pkg.fitting.staged import fit as run\n\n"
        "    model = _load(settings)\n"
        "    return run(model, LIMIT)\n\n\n"
        "def plot(fit, best):\n"
        "    from pkg import plotting\n\n"
        "    json = [fit for fit in best]\n"
        "    return plotting.line(fit, json, OTHER)\n\n\n"
        "def _load(settings):\n"
        "    from pkg.models import registry\n\n"
        "    return registry.load(settings, _size())\n\n\n"
        "def _size():\n"
        "    return SIZE\n\n\n"
        "def _nobody():\n"
        "    return 1\n"
    ),
}


@pytest.fixture
def package(tmp_path):
    for name, text in PACKAGE.items():
        path = tmp_path / "pkg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "pkg"


def edit(root, name, old, new):
    path = root / name
    text = path.read_text()
    assert text.count(old) == 1, (name, old)
    path.write_text(text.replace(old, new))
    # A disk may note times too coarsely to see two edits in one test.
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns + 1_000_000))


def code(root, stage, model=""):
    return fingerprint.code_fingerprint(stage, model, package_root=root)


COUNTS = {
    "its own code": ("stages.py", "run(model, LIMIT)", "run(model, LIMIT + 1)"),
    "its own default": ("stages.py", "fit(settings, output)", "fit(settings, output=1)"),
    "a helper": ("stages.py", "_load(settings):\n    from", "_load(settings):\n    SIZE\n    from"),
    "a helper's helper": ("stages.py", "return SIZE", "return SIZE + 1"),
    "a constant of a helper's helper": ("stages.py", "SIZE = 3", "SIZE = 4"),
    "an annotated constant": ("stages.py", "LIMIT: int = 5", "LIMIT: int = 6"),
    "a module of the stages": ("errors.py", "pass", "code = 2"),
    "a module of the stage": ("fitting/staged.py", "simulate(model)", "simulate(-model)"),
    "a relative import": ("units.py", "1e-3", "1e-6"),
    "a submodule imported from its package": ("fitting/losses.py", "x**2", "x**4"),
    "an import in a function": ("simulation.py", "return model", "return None"),
    "an import by another name": ("models/model.py", "step = 1", "step = 2"),
    "the package above a module": ("fitting/__init__.py", "def __getattr__", "A = 1\n\n\ndef __getattr__"),
    "the registry": ("models/registry.py", "return Model", "return Model()"),
    "what the registry imports in a function": ("models/cfg_model.py", "one, other", "other, one"),
}

COUNTS_NOT = {
    "another stage": ("stages.py", "json, OTHER", "json, -OTHER"),
    "another stage's constant": ("stages.py", "OTHER = 4", "OTHER = 5"),
    "a helper that nobody calls": ("stages.py", "return 1", "return 2"),
    "what a model draws itself with": ("plotting/style.py", "return 1", "return 2"),
    "what a stage runs in": ("jobs.py", "return 1", "return 2"),
    "a package of another stage": ("plotting/__init__.py", "import line", "import line as curve"),
    "an import for type checkers": ("fitting/hints.py", "A = 1", "A = 2"),
    "an import in a function of a package above": ("fitting/unused.py", "B = 1", "B = 2"),
    "the version": ("__init__.py", "1.0", "1.1"),
    "a docstring": ("fitting/staged.py", '"""Fit."""', '"""Fits."""'),
    "no docstring": ("fitting/staged.py", '    """Fit."""\n', ""),
    "the docstring of the stages": ("stages.py", "The stages.", "All stages."),
    "a comment": ("units.py", "MILLI", "# why\nMILLI"),
    "the layout": ("fitting/losses.py", "return x**2", "return (\n        x ** 2\n    )"),
    "one more import in the stages": ("stages.py", "import json", "import json\nimport os"),
    "one more name of an import": ("stages.py", "import Wrong", "import Wrong, Right"),
    "one more model": (
        "models/registry.py",
        "MODEL_PATHS = {",
        'MODEL_PATHS = {\n    "new": "pkg.models.new:New",',
    ),
    "a library model without a name": ("models/other.py", "a = 1", "a = 2"),
    "what only a library model imports": ("models/kinetics.py", "0.5", "0.7"),
}


@pytest.mark.parametrize("what", COUNTS)
def test_code_that_a_stage_runs_counts(what, package):
    before = code(package, "fit")
    edit(package, *COUNTS[what])
    assert code(package, "fit") != before


@pytest.mark.parametrize("what", COUNTS_NOT)
def test_other_code_does_not_count(what, package):
    before = code(package, "fit")
    edit(package, *COUNTS_NOT[what])
    assert code(package, "fit") == before


def test_a_loss_of_the_users_own_counts(package, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from pkg.models import kinetics\n\n\nclass Mine:\n    power = 2\n")
    kind = f"{path}:Mine"

    def own():
        return fingerprint.code_fingerprint("fit", "", [kind], package_root=package)

    without, before = code(package, "fit"), own()
    assert before != without
    edit(tmp_path, "mine.py", "class Mine", "# why\nclass Mine")
    assert own() == before
    edit(tmp_path, "mine.py", "power = 2", "power = 4")
    changed = own()
    assert changed != before
    edit(package, "models/kinetics.py", "0.5", "0.7")  # what the file imports
    assert own() != changed
    path.unlink()
    with pytest.raises(ModelError, match="loss: there is no file .*mine.py"):
        own()


def test_losses_of_the_users_own_are_found_in_every_place():
    mine, other = {"kind": "a/mine.py:Mine", "weight": 1.0}, {"kind": "other.py:Other"}
    library = {"kind": "squared_error"}
    stages = [{"method": "adam", "loss": [other, mine]}, {"method": "adam", "loss": None}]
    settings = {"loss": [library, mine], "fit": {"stages": stages}}
    assert provenance.own_losses(settings) == ["a/mine.py:Mine", "other.py:Other"]
    assert [path for path, _ in fingerprint.losses_of(settings)] == [("loss",), ("fit", "stages", 0, "loss")]
    for none in ({}, {"loss": {"V": 1.0}, "fit": {"stages": "default"}}, {"loss": [library]}):
        assert provenance.own_losses(none) == []


def test_a_stamp_covers_the_losses_of_the_users_own(package, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("class Mine:\n    pass\n")
    settings = {"model": "one", "loss": [{"kind": f"{path}:Mine"}]}
    found = provenance.stamp("fit", settings, package_root=package)
    assert found["code_fingerprint"] == fingerprint.code_fingerprint(
        "fit", "one", [f"{path}:Mine"], package_root=package
    )
    assert found["settings"]["loss"] == [{"kind": "mine.py:Mine"}]


def test_an_argument_called_as_a_stage_is_not_the_stage(package):
    """Three stages have an argument `fit`: they must not depend on all that the stage `fit` imports."""
    before = code(package, "plot")
    edit(package, "fitting/losses.py", "x**2", "x**4")
    edit(package, "stages.py", "run(model, LIMIT)", "run(model)")
    assert code(package, "plot") == before
    edit(package, "plotting/style.py", "return 1", "return 2")
    assert code(package, "plot") != before


@pytest.mark.parametrize(
    ("edited", "changed"),
    [
        ("third.py", {"third"}),
        ("other.py", {"other", "one"}),  # `one` imports it
        ("one.py", {"one"}),
    ],
)
def test_of_the_library_only_the_model_named_counts(edited, changed, package):
    before = {model: code(package, "fit", model) for model in ("", "one", "other", "third")}
    assert len(set(before.values())) == 4
    edit(package, f"models/{edited}", "= 1", "= 2")
    assert {model for model, value in before.items() if code(package, "fit", model) != value} == changed


def test_what_a_model_imports_counts(package):
    before = code(package, "plot", "one"), code(package, "plot", "third")
    edit(package, "models/kinetics.py", "0.5", "0.7")
    assert code(package, "plot", "one") != before[0]
    assert code(package, "plot", "third") == before[1]


def test_a_users_model_counts_with_what_it_imports(package, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('"""Mine."""\nfrom pkg.models.other import Other\n\n\nclass Mine(Other):\n    b = 1\n')
    before = code(package, "fit", f"{path}:Mine")
    assert before != code(package, "fit", f"{path}:Yours")
    edit(tmp_path, "mine.py", '"""Mine."""\n', "# A comment\n")
    assert code(package, "fit", f"{path}:Mine") == before
    edit(package, "models/third.py", "a = 1", "a = 2")
    assert code(package, "fit", f"{path}:Mine") == before
    edit(tmp_path, "mine.py", "b = 1", "b = 2")
    assert (after := code(package, "fit", f"{path}:Mine")) != before
    edit(package, "models/other.py", "a = 1", "a = 2")
    assert code(package, "fit", f"{path}:Mine") != after


def test_a_users_model_in_another_folder_is_the_same_model(package, tmp_path):
    found = set()
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("class Mine:\n    pass\n")
        found.add(code(package, "fit", f"{tmp_path / folder / 'mine.py'}:Mine"))
    assert len(found) == 1


def test_a_users_model_that_cannot_be_parsed_counts_by_its_bytes(package, tmp_path):
    path = tmp_path / "mine.py"
    found = set()
    for text in ("class Mine(:", "class Mine(: # comment"):
        path.write_text(text)
        found.add(code(package, "fit", f"{path}:Mine"))
    assert len(found) == 2


def test_unknown_names_are_refused(package):
    with pytest.raises(OdynnError, match="Received: 'fti'. Did you mean 'fit'"):
        code(package, "fti")
    with pytest.raises(ModelError, match="Received: 'thrid'. Did you mean 'third'"):
        code(package, "fit", "thrid")
    with pytest.raises(ModelError, match="a file that exists. Received: 'nowhere.py:Mine'"):
        code(package, "fit", "nowhere.py:Mine")
    with pytest.raises(OdynnError, match="must hold the stages"):
        code(package / "plotting", "fit")


def test_a_fingerprint_is_short_and_the_same_in_every_process(package):
    here = code(package, "fit", "one")
    assert len(here) == 16 and int(here, 16) >= 0
    call = (
        "import sys; from odynn.provenance import code_fingerprint; "
        "print(code_fingerprint('fit', 'one', package_root=sys.argv[1]))"
    )
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", call, str(package)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT.parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == here


def test_the_folder_of_the_package_does_not_count(package, tmp_path):
    before = code(package, "fit", "one")
    (tmp_path / "elsewhere").mkdir()
    moved = package.rename(tmp_path / "elsewhere" / "pkg")
    assert code(moved, "fit", "one") == before


def test_forty_modules_are_read_fast_and_once(package):
    body = "\n\n".join(
        f"def f{n}(x, y={n}):\n    return [x * {n} + y for _ in range({n})]" for n in range(30)
    )
    for n in range(40):
        (package / f"m{n}.py").write_text(f"from pkg.m{(n + 1) % 40} import f1\n\n\n{body}\n")
    edit(package, "units.py", "MILLI", "from pkg.m0 import f0\nMILLI")
    spent = []
    for _ in range(2):
        begin = time.process_time()
        code(package, "fit", "one")
        spent.append(time.process_time() - begin)
    assert spent[0] < 1.0  # 40 modules of 90 lines: about 0.06 s alone on a laptop
    assert spent[1] < spent[0] / 2


@pytest.mark.skipif(not (ROOT / "stages.py").is_file(), reason="the stages are not written yet")
def test_the_real_stages_have_fingerprints_that_tell_models_apart():
    names = ["make_target", "get_random", "simulate_starts", "fit", "merge_fits", "simulate_best"]
    found = {
        (name, model): provenance.code_fingerprint(name, model)
        for name in names
        for model in ("leaky", "celegans")
    }
    assert len(set(found.values())) == len(found) == 12


def target(**changes):
    rng = np.random.default_rng(0)
    return replace(
        Target(
            time=np.arange(1, 6) * 0.5,
            stimulus=rng.normal(size=(5, 2)),
            observed={"V": rng.normal(size=(5, 2)), "Ca": rng.normal(size=(5, 2))},
            units={"V": "mV", "Ca": "mM"},
            sweeps=np.arange(2),
            train=np.array([True, False]),
        ),
        **changes,
    )


def test_a_content_hash_is_independent_of_layout():
    one = target()
    assert len(provenance.content_hash(one)) == 64
    other = target(
        stimulus=np.asfortranarray(one.stimulus),
        observed=dict(reversed(one.observed.items())),
        units=dict(reversed(one.units.items())),
        time=one.time.astype(">f8"),
        sweeps=np.arange(4)[::2] // 2,
    )
    assert provenance.content_hash(other) == provenance.content_hash(one)


@pytest.mark.parametrize(
    "changes",
    [
        dict(stimulus=np.zeros((5, 2))),
        dict(stimulus=target().stimulus.astype("f4")),
        dict(stimulus=target().stimulus.reshape(2, 5)),
        dict(time=np.nextafter(target().time, 9)),
        dict(units={"V": "mV", "Ca": "µM"}),
        dict(observed={"V": target().observed["Ca"], "Ca": target().observed["V"]}),
        dict(initial=np.zeros(2)),
        dict(truth={}),
        dict(truth={"g": 1.0}),
        dict(source={"file": "a.csv"}),
        dict(train=np.array([True, True])),
    ],
)
def test_any_change_of_content_changes_the_hash(changes):
    assert provenance.content_hash(target(**changes)) != provenance.content_hash(target())


def test_the_order_of_a_parameter_table_counts_and_of_values_does_not():
    rows = {name: Parameter(name, 1.0, "1", (0.0, 2.0)) for name in "ba"}
    values = {name: np.zeros(3) for name in "ba"}
    starts = Starts(np.arange(3), values, rows)
    turned = dict(reversed(rows.items()))
    one = provenance.content_hash(starts)
    assert provenance.content_hash(replace(starts, values=dict(reversed(values.items())))) == one
    assert provenance.content_hash(replace(starts, parameters=turned)) != one
    wider = {**rows, "a": rows["a"].changed(bounds=(0.0, 3.0))}
    assert provenance.content_hash(replace(starts, parameters=wider)) != one


def test_neighbouring_texts_are_not_confused():
    hashes = [
        2**53, 2**53 + 1, {"ab": "c"}, {"a": "bc"}, {"a": "b", "c": ""}, ["a", "b", "c", ""],
        [["a", "b"], ["c", ""]], ["a", "text"], ["atext", ""],
        "1", 1, True, None, "None", 1.5, [], {}, np.zeros(0), np.zeros((0, 1)), np.float32(0.1), 0.1,
    ]  # fmt: skip
    assert len({provenance.content_hash(value) for value in hashes}) == len(hashes)
    assert provenance.content_hash(1) == provenance.content_hash(1.0) == provenance.content_hash(np.int8(1))


def test_what_has_no_content_is_refused():
    for value in (object(), {"a": {1, 2}}, np.array([object()])):
        with pytest.raises(TypeError, match="arrays and plain values"):
            provenance.content_hash(value)


def test_a_container_read_from_its_file_keeps_its_hash(tmp_path):
    shard = Simulated(
        np.arange(3),
        np.array([1.0, np.nan, 2.0]),
        {"V": np.ones(3)},
        np.zeros(3, "i1"),
        {"V": "mV", "loss": "1"},
    )
    storage.write_simulated(tmp_path / "s.h5", shard)
    assert provenance.content_hash(storage.read_simulated(tmp_path / "s.h5")) == provenance.content_hash(
        shard
    )


def test_a_file_hash_is_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert provenance.file_hash(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(bytes(3_000_000))
    assert provenance.file_hash(path) == hashlib.sha256(bytes(3_000_000)).hexdigest()
    with pytest.raises(
        StorageError, match="gone.csv' must be a file that can be read. Received: No such file"
    ):
        provenance.file_hash(tmp_path / "gone.csv")


def test_versions_are_those_of_what_runs():
    found = provenance.versions()
    assert found["numpy"] == np.__version__
    assert found["python"].split(".")[:2] == [str(part) for part in sys.version_info[:2]]
    assert found.keys() <= {"python", "numpy", "scipy", "h5py", "tensorflow"}
    found.clear()
    assert provenance.versions()


def test_a_stamp_says_how_a_file_was_made(package):
    settings = {"model": "one", "precision": "float64", "starts": {"seed": 3}, "loss": {"V": 1.0}}
    found = provenance.stamp("fit", settings, {"target": target(), "recording": "00ff"}, package_root=package)
    assert found == {
        "stage": "fit",
        "code_fingerprint": code(package, "fit", "one"),
        "seed": 3,
        "precision": "float64",
        "versions": provenance.versions(),
        "inputs": {"target": provenance.content_hash(target()), "recording": "00ff"},
        "settings": settings,
    }


def test_a_stamp_has_the_seed_that_there_is(package):
    def seed(settings):
        return provenance.stamp("plot", settings, package_root=package).get("seed")

    assert seed({}) is None
    assert seed({"target": {"file": "aiy.csv", "synthetic": None}}) is None
    assert seed({"target": {"synthetic": {"seed": 0}}}) == 0
    assert seed({"target": {"synthetic": {"seed": 5}}, "starts": {"number": 3}}) == 5
    assert seed({"target": {"synthetic": {"seed": 5}}, "starts": {"seed": 0}}) == 0


def test_a_stamp_says_nothing_of_the_machine(package, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("class Mine:\n    pass\n")
    settings = {
        "model": f"{path}:Mine",
        "target": {"file": str(tmp_path / "data" / "aiy.csv"), "window": (0, 1.5)},
        "other": [{"file": "data/aiy.csv"}, "https://example.org/aiy.csv", path],
    }
    found = provenance.stamp("fit", settings, package_root=package)
    assert str(tmp_path) not in repr(found)
    assert found["settings"] == {
        "model": "mine.py:Mine",
        "target": {"file": "aiy.csv", "window": [0, 1.5]},
        "other": [{"file": "data/aiy.csv"}, "https://example.org/aiy.csv", "mine.py"],
    }
    assert json.loads(json.dumps(found)) == found


def test_a_stamp_goes_through_a_file(package, tmp_path):
    stamp = provenance.stamp(
        "fit", {"model": "one", "starts": {"seed": 1}}, {"a": target()}, package_root=package
    )
    storage.write_target(tmp_path / "target.h5", target(), stamp)
    assert storage.read_stamp(tmp_path / "target.h5").items() >= stamp.items()


def test_a_stamp_has_the_hashes_of_the_users_own_code(package, tmp_path):
    model, loss = tmp_path / "mine.py", tmp_path / "losses.py"
    model.write_text("class Mine:\n    a = 1\n")
    loss.write_text("class Term:\n    a = 1\n")
    settings = {"model": f"{model}:Mine", "loss": [{"kind": f"{loss}:Term"}]}

    def own(settings=settings):
        return provenance.stamp("fit", settings, package_root=package).get("own_code")

    before = own()
    assert before.keys() == {"mine.py:Mine", "losses.py:Term"}
    edit(tmp_path, "mine.py", "a = 1", "a = 1  # one")
    assert own() == before
    edit(tmp_path, "losses.py", "a = 1", "a = 2")
    assert own()["mine.py:Mine"] == before["mine.py:Mine"]
    assert own()["losses.py:Term"] != before["losses.py:Term"]
    assert own({"model": "one", "loss": [{"kind": "squared_error"}]}) is None
    model.unlink()
    with pytest.raises(ModelError, match="there is no file .*mine.py"):
        provenance.own_code(settings)


@pytest.mark.parametrize(
    ("stage", "settings", "library"),
    [
        ("fit", {"fit": {"stages": "default"}}, "cma"),
        ("fit", {"fit": {"stages": [{"method": "adam"}, {"method": "cma_es"}]}}, "cma"),
        ("fit", {"fit": {"stages": [{"method": "adam"}]}}, None),
        ("make_target", {}, None),
        ("simulate_best", {}, "efel"),
    ],
)
def test_a_stamp_has_the_versions_of_what_a_stage_uses(stage, settings, library):
    more = provenance.stamp(stage, settings)["versions"].keys() - provenance.versions().keys()
    assert more == ({library} if library else set())


def test_what_the_stamps_of_several_files_share():
    one = {"kind": "fit", "stage": "fit", "settings": {}, "code_fingerprint": "a", "versions": {"numpy": "2"}}
    other = one | {"versions": {"numpy": "3"}, "settings": {"dt": 1.0}}
    assert provenance.shared_stamp([one, one]) == {"code_fingerprint": "a", "versions": {"numpy": "2"}}
    assert provenance.shared_stamp([one, other])["versions"] == [{"numpy": "2"}, {"numpy": "3"}]
