"""The workflow is linted and formatted, and its profiles load."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from odynn.config import STAGE_KEYS

ROOT = Path(__file__).parents[2]
# Lint findings that cannot apply here, each with the reason.
ACCEPTED = {
    # Every rule runs in the environment that runs Snakemake too (requirements.lock, environment.yml): all of
    # them call the odynn package installed there. In an environment of its own a rule would run another
    # copy of the package than the one that its fingerprint, among its params, watches.
    "Specify a conda environment or container for each rule.",
}


def tool(*command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_lint(fresh):
    _, text = fresh.run("--lint")
    rules = re.findall(r"^Lints for rule (\w+)", text, re.M)
    assert sorted(rules) == sorted(STAGE_KEYS), text  # the accepted finding, of each: the linter has looked
    assert "Lints for snakefile" not in text, text
    assert set(re.findall(r"^    \* (.+):$", text, re.M)) == ACCEPTED, text


def test_the_workflow_is_formatted():
    code, text = tool("snakefmt", "--check", "workflow")
    assert code == 0, text


def test_the_code_is_formatted_and_clean():
    for command in (["check"], ["format", "--check"]):
        code, text = tool("ruff", *command, ".")
        assert code == 0, text


@pytest.mark.parametrize("option", ["--workflow-profile", "--profile"])
def test_the_slurm_profile_loads(fresh, option):
    code, text = fresh.run("--dry-run", option, "workflow/profiles/slurm")
    assert code == 0, text
    assert "Job stats" in text


def test_profiles_name_rules_that_there_are():
    profiles = sorted(ROOT.glob("workflow/profiles/*/config.yaml"))
    assert [path.parent.name for path in profiles] == ["default", "slurm"]
    for path in profiles:
        profile = yaml.safe_load(path.read_text("utf-8"))
        for key in ("set-threads", "set-resources", "set-resource-scopes"):
            assert set(profile.get(key) or {}) <= set(STAGE_KEYS), f"{path}: {key}"


def test_every_key_of_the_slurm_profile_is_explained():
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text("utf-8"))
    resources = [profile["default-resources"], *profile["set-resources"].values()]
    keys = set(profile) | {key for chosen in resources for key in chosen}
    text = (ROOT / "workflow/profiles/README.md").read_text("utf-8")
    assert keys == set(re.findall(r"^\| `([\w-]+)` \|", text, re.M)) - {"default", "slurm"}


def test_every_result_for_people_has_a_caption():
    rules = "".join(path.read_text("utf-8") for path in ROOT.glob("workflow/rules/*.smk"))
    captions = {path.name for path in ROOT.glob("workflow/report/*.rst")} - {"workflow.rst"}
    assert len(captions) == 11
    assert captions == {line.split("/")[-1].strip('",') for line in rules.split() if line.endswith('.rst",')}
