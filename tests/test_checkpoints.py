"""Which checkpoints count, which one is chosen, and which run folder a training goes on with."""

import errno

import pytest
from safetensors import SafetensorError

from vrft_core.errors import InputError
from vrft_core.run_folder import open_run
from vrft_core.training.callbacks import best_step, exhausted
from vrft_core.training.checkpoints import complete_checkpoints, drop_checkpoints, full_disk_named, write_marker
from vrft_core.training.record import Record


def test_other_parameters_never_go_on_with_a_run_and_never_lose_it(tmp_path, capsys):
    first, second = (
        {"settings": {"rft": {"learning_rate": rate, "beta": 0.0}}, "versions": {"trl": trl}, "data": "a"}
        for rate, trl in ((0.001, "1.15"), (0.002, "1.16"))
    )
    run = open_run(tmp_path / "run", first)
    (run / "checkpoint-2").mkdir()
    assert (open_run(run, first) / "checkpoint-2").exists()

    open_run(run, second)

    assert not (run / "checkpoint-2").exists()
    said = capsys.readouterr().err
    assert "settings.rft.learning_rate changed from 0.001 to 0.002, versions.trl changed from 1.15 to 1.16; " in said
    assert "starting from zero" in said and "beta" not in said
    [aside] = [path for path in tmp_path.iterdir() if path != run]
    assert aside.name in said and (aside / "checkpoint-2").exists()

    assert (open_run(run, first) / "checkpoint-2").exists()
    assert f"back from {aside.name}" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_whose_origin_is_unknown_is_kept_but_not_continued(tmp_path):
    (tmp_path / "run/checkpoint-2").mkdir(parents=True)
    run = open_run(tmp_path / "run", {"data": "a"})
    assert not (run / "checkpoint-2").exists()
    assert len(list(tmp_path.glob("run-*/checkpoint-2"))) == 1


def test_a_removal_that_is_cut_short_leaves_no_checkpoint_that_looks_complete(tmp_path, monkeypatch):
    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
        write_marker(tmp_path / f"checkpoint-{step}", {"log": []})
    monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        drop_checkpoints(tmp_path, keep={4})
    monkeypatch.undo()
    assert [step for step, *_ in complete_checkpoints(tmp_path)] == [4]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/0"),
    ],
)
def test_a_full_disk_is_recognised_in_whatever_words(error, tmp_path):
    with pytest.raises(InputError, match="no space left on the disk"), full_disk_named(tmp_path):
        raise RuntimeError("while saving") from error
    with pytest.raises(ValueError, match="unrelated"), full_disk_named(tmp_path):
        raise ValueError("unrelated")


def test_a_checkpoint_without_its_seal_is_skipped_and_removed(tmp_path):
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        write_marker(tmp_path / f"checkpoint-{step}", {"log": []})
    (tmp_path / "checkpoint-12").mkdir()
    assert [step for step, *_ in complete_checkpoints(tmp_path)] == [2, 10]
    assert not (tmp_path / "checkpoint-12").exists()


def test_of_equally_good_checkpoints_the_earliest_is_chosen_and_never_the_untrained_policy():
    scores = [(0, 0.9), (10, 0.3), (20, 0.5), (30, 0.5)]
    assert best_step(Record(validation=[{"step": step, "score": value} for step, value in scores])) == 20


def test_training_ends_once_checkpoints_stop_getting_better():
    scores = [0.9, 0.3, 0.5, 0.5, 0.4, 0.4]  # the first is the untrained policy's
    records = [
        Record(validation=[{"step": step, "score": value} for step, value in enumerate(scores[:count])])
        for count in range(1, 7)
    ]
    assert [exhausted(record, 3) for record in records] == [False, False, False, False, False, True]
    assert [exhausted(record, 1) for record in records] == [False, False, False, True, True, True]
    assert not any(exhausted(record, None) for record in records)
