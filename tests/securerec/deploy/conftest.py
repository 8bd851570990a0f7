import importlib.util
from pathlib import Path

import pytest

from securerec.data.dataset import Dataset


def _make_toy() -> Dataset:
    spec = importlib.util.spec_from_file_location("toys", Path(__file__).parents[2] / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    toy: Dataset = module.make_toy()
    return toy


@pytest.fixture(scope="package")
def module_toy() -> Dataset:
    """The toy data set, for fixtures that live longer than one test."""
    return _make_toy()
