"""Imports point one way, each module imports alone, and importing odynn is quick and changes nothing."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "odynn"
MODULES = sorted(PACKAGE.rglob("*.py"))

BASE = {"errors", "units", "data", "fingerprint", "provenance", "spikes", "stimuli", "findings", "atomic"}
# What each part of the package may import of the others. Parts that know the containers alone come first.
MAY_IMPORT = {
    "errors": set(),
    "atomic": {"errors"},
    "safeguards": set(),
    "jobs": {"errors", "slurm"},
    "units": {"errors"},
    "data": {"errors", "units"},
    "stimuli": {"errors"},
    "fingerprint": {"errors"},
    "provenance": {"errors", "units", "data", "fingerprint"},
    "spikes": {"errors"},
    "findings": {"data"},
    "slurm": {"errors"},
    "storage": BASE,
    "plotting": BASE,
    "models": BASE | {"plotting"},
    "recordings": BASE,
    "simulation": BASE | {"models"},
    "config": BASE | {"models", "recordings", "fitting"},
    "fitting": BASE | {"models", "simulation"},
    "analysis": BASE | {"models", "simulation", "fitting"},
}
MAY_IMPORT["stages"] = set(MAY_IMPORT)
MAY_IMPORT["reproduction"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = set(MAY_IMPORT)
HEAVY = ("tensorflow", "matplotlib", "pint")
LIGHT_PARTS = (
    "errors",
    "config",
    "provenance",
    "storage",
    "models",
    "recordings",
    "stages",
    "reproduction",
    "cli",
)
LIGHT_MODULES = ("odynn", *(f"odynn.{part}" for part in LIGHT_PARTS))


def dotted(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module):
    """Return the part of the package that a module belongs to; config_checks, say, is of config."""
    name = module.split(".")[1] if "." in module else ""
    return name.split("_")[0] if name.startswith(("config_", "stages_", "cli_")) else name


def imports_of(path):
    """Yield the full name of every odynn module that a file imports, wherever in the file."""
    package = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "odynn")
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module == "odynn":
                yield from (f"odynn.{alias.name}" for alias in node.names)
            elif module.startswith("odynn."):
                yield module


def run_python(code, *arguments):
    """Run code in a new interpreter; return what it printed."""
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_part_of_the_package_has_a_place():
    parts = {part_of(dotted(path)) for path in MODULES} - {""}
    assert len(parts) > 8
    assert parts <= set(MAY_IMPORT), "new parts: say in MAY_IMPORT what they may import"


def test_the_layers_have_no_cycle():
    assert len(list(TopologicalSorter(MAY_IMPORT).static_order())) == len(MAY_IMPORT)


def test_imports_point_one_way():
    wrong, seen = [], 0
    for path in MODULES:
        part = part_of(dotted(path))
        for module in imports_of(path):
            other = part_of(module)
            if part and other in MAY_IMPORT and other != part:
                seen += 1
                if other not in MAY_IMPORT[part]:
                    wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert seen > 30
    assert not wrong, "\n".join(wrong)


def test_scripts_import_the_stages_alone():
    scripts = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
    assert len(scripts) == 9
    for script in scripts:
        assert set(imports_of(script)) == {"odynn.stages"}, script.name


def test_each_module_imports_alone():
    # A fork for each module: the libraries are loaded once, nothing of odynn is before its turn.
    code = """
import os, sys
import h5py, jsonschema, matplotlib.figure, numpy, pandas, scipy, tensorflow, yaml
failed = []
for name in sys.argv[1:]:
    if any(loaded.split(".")[0] == "odynn" for loaded in sys.modules):
        sys.exit("odynn is loaded already")
    child = os.fork()
    if not child:
        try:
            __import__(name)
        except BaseException as error:
            print(f"{name}: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
print(len(sys.argv) - 1)
sys.exit(f"cannot be imported alone: {failed}" if failed else 0)
"""
    names = [dotted(path) for path in MODULES]
    assert len(names) > 30
    assert int(run_python(code, *names).split()[-1]) == len(names)


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_light_modules_load_no_heavy_library(module):
    code = (
        "import sys; __import__(sys.argv[1]); print(*(name for name in sys.argv[2:] if name in sys.modules))"
    )
    assert run_python(code, module, *HEAVY).split() == []


def test_help_loads_no_tensorflow():
    code = """
import sys
from odynn.cli import main
try:
    main(["--help"])
except SystemExit as end:
    code = end.code
else:
    code = 0
print()
print(code or 0, "tensorflow" in sys.modules)
"""
    assert run_python(code).splitlines()[-1] == "0 False"


def test_importing_changes_nothing_outside():
    code = """
import logging, os, random, sys, warnings
import matplotlib, numpy, tensorflow
import matplotlib.pyplot
def state():
    kind, keys, *rest = numpy.random.get_state()
    return {
        "environment": dict(os.environ),
        "random": random.getstate(),
        "numpy.random": (kind, keys.tolist(), rest),
        "plot settings": dict(matplotlib.rcParams),
        "figures": matplotlib.pyplot.get_fignums(),
        "logging": (logging.root.level, list(logging.root.handlers)),
        "working directory": os.getcwd(),
        "numpy errors": numpy.geterr(),
        "devices": tensorflow.config.get_visible_devices(),
        "precision": tensorflow.keras.backend.floatx(),
    }
before, before_hooks = state(), (sys.excepthook, sys.stdout, sys.stderr)
for name in sys.argv[1:]:
    __import__(name)
after = state()
print("changed:", *(key for key in before if before[key] != after[key]))
print("hooks:", before_hooks == (sys.excepthook, sys.stdout, sys.stderr))
"""
    names = [dotted(path) for path in MODULES]
    assert run_python(code, *names).splitlines()[-2:] == ["changed:", "hooks: True"]
