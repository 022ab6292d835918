"""Settings of the test run, and what several files of tests share."""

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

# Time is no property of the code: a loaded machine must not fail a test.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


pytest.register_assert_rewrite("served_sources")


@pytest.fixture(scope="module")
def one_thread():
    """More would only wait for each other in models of this size."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A database with MLflow's tables, made once a process: it takes seconds."""
    from vrft_core import tracking
    from vrft_core.cell import Layout

    root = tmp_path_factory.mktemp("store")
    with tracking.open_store(Layout(root)) as client:
        client.search_experiments()
    return root / "mlflow.db"


@pytest.fixture(scope="session")
def by_dvc(tmp_path_factory, request) -> Path:
    """A project that `dvc repro` has made: once for all processes of a run, a copy for each."""
    from finished_project import project
    from small_project import run

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if hasattr(request.config, "workerinput") else own
    made, done = shared / "made_by_dvc", shared / "made_by_dvc.done"
    with FileLock(shared / "made_by_dvc.lock"):
        if not made.exists():
            run("dvc", "repro", cwd=project(made))
            done.touch()
        assert done.exists(), "another process could not make it"
        return Path(shutil.copytree(made, own / "by_dvc", symlinks=True))
