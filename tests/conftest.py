"""Settings of the test run, and what several files of tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

# Time is no property of the code: a loaded machine must not fail a test.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture(scope="session")
def by_dvc(tmp_path_factory) -> Path:
    """A project that `dvc repro` has made. Tests that change more than its cache work on a copy."""
    from finished_project import project
    from small_project import run

    root = project(tmp_path_factory.mktemp("end") / "dvc")
    run("dvc", "repro", cwd=root)
    return root
