"""The models that the contract is checked for."""

from pathlib import Path

import numpy as np
import pytest

from odynn.models import MODEL_PATHS, load_model

USERS = Path(__file__).with_name("user_models.py")
TEMPLATE = Path(__file__).parents[2] / "odynn" / "models" / "template.py"
DECLARED = [*MODEL_PATHS, f"{TEMPLATE}:MorrisLecar"]
OWN = [
    f"{TEMPLATE}:ResonantMembrane",
    f"{USERS}:Bare",
    f"{USERS}:Original",
    f"{USERS}:AssignedLater",
]


def short(name):
    return name.rpartition(":")[2]


def pytest_generate_tests(metafunc):
    """Run a test that takes ``model`` over every model, ``declared`` or ``own`` over some."""
    for argument, names in (("model", DECLARED + OWN), ("declared", DECLARED), ("own", OWN)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, names, ids=short, indirect=True)


@pytest.fixture
def model(request):
    """Give a model class, of the library or of a user."""
    return load_model(request.param)


declared = own = model


@pytest.fixture
def neurons(model):
    """Give the parameters of five different neurons, near the defaults so that all stay finite."""
    generator = np.random.default_rng(7)
    return [
        {name: value * generator.uniform(0.9, 1.1) for name, value in model.default_params.items()}
        for _ in range(5)
    ]


@pytest.fixture
def figure_calls(monkeypatch):
    """Keep windows closed, and give the list of figures that were to be shown."""
    import matplotlib.pyplot as plt

    calls = []
    monkeypatch.setattr(plt, "show", lambda *arguments, **named: calls.append(arguments))
    yield calls
    plt.close("all")
