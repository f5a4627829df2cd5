"""pyproject.toml, environment.yml, the locks, the Makefile and the Snakefile agree on the environment."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import odynn

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA_NAMES = {"matplotlib": "matplotlib-base"}  # where conda-forge calls a package otherwise
INSTALLED = ("recordings", "features", "workflow", "test")  # extras that make installs beside cpu or cuda
LOCKS = {"requirements.lock": "cpu", "requirements-cuda.lock": "cuda"}


def by_name(requirements):
    return {canonicalize_name(Requirement(text).name): Requirement(text).specifier for text in requirements}


def read_lock(name):
    """Return {package: [(version, marker)]} of a lock, and its text."""
    text = (ROOT / name).read_text("utf-8")
    found = {}
    for line in re.findall(r"^([A-Za-z0-9][^\n]*?) \\$", text, re.M):
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        found.setdefault(canonicalize_name(requirement.name), []).append((pin.version, requirement.marker))
    return found, text


def test_conda_environment_is_that_of_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    *packages, pip = environment["dependencies"]
    conda = dict(re.fullmatch(r"([\w.-]+) ?(.*)", package).groups() for package in packages)
    assert SpecifierSet(conda.pop("python")) == SpecifierSet(PROJECT["requires-python"])
    assert conda.pop("pip") == ""
    extras = [package for extra in INSTALLED for package in EXTRAS[extra]]
    wanted = by_name([*PROJECT["dependencies"], *extras])
    assert {name: SpecifierSet(bounds) for name, bounds in conda.items()} == {
        CONDA_NAMES.get(name, name): bounds for name, bounds in wanted.items()
    }
    assert pip == {"pip": ["-e .[cpu]"]}


@pytest.mark.parametrize(("name", "extra"), LOCKS.items())
def test_lock_holds_what_pyproject_asks_for(name, extra):
    lock, _ = read_lock(name)
    assert len(lock) > 50
    extras = [package for name in (*INSTALLED, extra) for package in EXTRAS[name]]
    wanted = by_name([*PROJECT["dependencies"], *extras, *PYPROJECT["build-system"]["requires"]])
    for package, bounds in wanted.items():
        assert package in lock, f"{package} is not in {name}: make lock"
        for version, _ in lock[package]:
            assert bounds.contains(version), f"{package}{bounds} in pyproject.toml, {version} in {name}"


@pytest.mark.parametrize("name", LOCKS)
def test_lock_is_pinned_by_hash_and_names_no_index(name):
    lock, text = read_lock(name)
    blocks = re.split(r"^(?=[A-Za-z0-9])", re.sub(r"^ *#.*\n", "", text, flags=re.M), flags=re.M)[1:]
    assert len(blocks) == sum(map(len, lock.values()))
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]
    assert not re.search(r"https?:|index-url|find-links|file:| @ ", text)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", ["linux x86_64", "linux aarch64", "darwin arm64"])
def test_lock_gives_one_tensorflow_everywhere(python, platform):
    system, machine = platform.split()
    where = {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": system,
        "platform_machine": machine,
        "platform_system": system.capitalize(),
    }
    lock, _ = read_lock("requirements.lock")
    chosen = [
        (package, version)
        for package in ("tensorflow", "tensorflow-cpu", "numpy", "h5py", "snakemake")
        for version, marker in lock[package]
        if marker is None or marker.evaluate(where)
    ]
    names = [package for package, _ in chosen]
    tensorflow = "tensorflow-cpu" if platform == "linux x86_64" else "tensorflow"
    assert names == [tensorflow, "numpy", "h5py", "snakemake"]


def test_locks_agree():
    cpu, cuda = (read_lock(name)[0] for name in LOCKS)
    shared = set(cpu) & set(cuda) - {"tensorflow"}
    assert len(shared) > 50
    for name in shared:
        assert {version for version, _ in cpu[name]} == {version for version, _ in cuda[name]}, name
    assert cpu["tensorflow-cpu"][0][0] == cuda["tensorflow"][0][0]


def test_makefile_takes_the_pythons_of_pyproject():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    low, high = re.search(r"not \((\d, \d+)\) <= sys.version_info\[:2\] <= \((\d, \d+)\)", makefile).groups()
    bounds = SpecifierSet(PROJECT["requires-python"])
    minors = [minor for minor in range(5, 30) if bounds.contains(f"3.{minor}")]
    assert (low, high) == (f"3, {minors[0]}", f"3, {minors[-1]}")
    assert all(f"python3.{minor}" in makefile for minor in minors)


def test_snakefile_asks_for_the_snakemake_of_pyproject():
    version = re.search(r'min_version\("(.+?)"\)', (ROOT / "workflow" / "Snakefile").read_text("utf-8"))[1]
    assert f">={version}" in str(by_name(EXTRAS["workflow"])["snakemake"])


def test_version_stands_in_one_place():
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", odynn.__version__)
    assert odynn.__version__ not in (ROOT / "pyproject.toml").read_text("utf-8")


def test_wheel_holds_the_package(tmp_path):
    code = "import sys; from flit_core.buildapi import build_wheel; print(build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    name = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout.split()[-1]
    with zipfile.ZipFile(tmp_path / name) as wheel:
        held = set(wheel.namelist())
        entry = next(member for member in held if member.endswith("entry_points.txt"))
        assert "odynn=odynn.cli:main" in wheel.read(entry).decode().replace(" ", "")
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "odynn").rglob("*")
        if path.suffix in {".py", ".yaml", ".html", ".css", ".j2"}
    }
    assert len(wanted) > 30
    assert wanted <= held
    assert odynn.__version__ in name
