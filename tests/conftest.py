"""Settings that all tests share."""

import os

import pytest
from hypothesis import settings

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regen", action="store_true", help="write the golden files anew")


@pytest.fixture
def regen(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are written rather than compared."""
    return bool(request.config.getoption("--regen"))


@pytest.fixture(autouse=True)
def _tight_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asserts a time, so none waits between timed runs as a plan does."""
    monkeypatch.setattr("edgewise.profiling.timing.PAUSE_S", 0.0)
