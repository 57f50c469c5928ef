import errno
import json

import pytest

from studio.core import events as ev
from studio.core.files import read_json
from studio.core.locks import Lock
from studio.core.rundir import EventWriter, RunDir, list_runs, read_events
from studio.core.spec import read_spec
from studio.core.state import RunState, read_summary
from studio.ui.store import Store


@pytest.fixture
def heard(store: Store) -> dict[str, list]:
    """What the store's signals said, by name."""
    found: dict[str, list] = {}
    for name in ("draft_changed", "run_changed", "notice", "page_requested"):
        found[name] = []
        getattr(store, name).connect(found[name].append)
    return found


def open_reviews(qtbot, store: Store, path) -> None:
    store.open_data(path)
    qtbot.waitUntil(lambda: not store.busy, timeout=10000)


def test_a_batch_is_folded_and_told_once(store: Store, heard, training_events) -> None:
    store.runs["r"] = RunState(id="r")
    store.apply("r", training_events)
    assert heard["run_changed"] == ["r"]
    state = store.runs["r"]
    assert state.state == "finished" and state.step == 20 and state.latest["test"]["accuracy"] == 0.875
    assert len(state.series["train", "loss"]) == 20


@pytest.mark.parametrize("kind", ["inspect", "train"])
def test_only_of_a_run_that_was_started_by_name_one_is_asked_to_force_its_end(store, heard, monkeypatch, kind) -> None:
    killed = []
    monkeypatch.setattr(store, "kill", killed.append)
    monkeypatch.setattr(type(store.followers), "__contains__", lambda followers, run_id: True)
    store.runs["r"] = RunState(id="r", kind=kind, state="running")
    store._offer_force("r")
    assert killed == ["r"] * (kind == "inspect") and len(heard["notice"]) == (kind == "train")


def test_a_recorded_run_is_replayed_without_a_word(qtbot, store: Store, heard, recorded_run: RunDir) -> None:
    store.select_run(recorded_run.id)
    assert store.current_run == recorded_run.id
    qtbot.waitUntil(lambda: store.runs[recorded_run.id].state == "finished", timeout=5000)
    qtbot.waitUntil(lambda: recorded_run.id not in store.followers, timeout=5000)
    assert heard["notice"] == []  # its end is old news


def test_the_past_of_a_long_run_comes_at_once_and_then_its_present(qtbot, store: Store, recorded_run: RunDir) -> None:
    started, *_, end = read_events(recorded_run)
    step = ev.Metrics(split="train", step=0, epoch=0, values={"loss": 0.5, "grad_norm": 1.0}, train_seconds=1.0)
    recorded_run.events_file.unlink()
    writer, worker, heard = EventWriter(recorded_run.events_file), Lock(recorded_run.lock_file), []
    assert worker.acquire({})
    writer.write([started, *(step.model_copy(update={"step": at}) for at in range(1, 8001))])
    store.followers.heard.connect(lambda _, batch: heard.extend(batch))
    store.select_run(recorded_run.id)
    qtbot.waitUntil(lambda: store.runs[recorded_run.id].step == 8000, timeout=20000)
    assert heard == [], "it was folded elsewhere"
    writer.write([step.model_copy(update={"step": 8001}), end])
    qtbot.waitUntil(lambda: store.runs[recorded_run.id].state == "finished", timeout=20000)
    assert store.runs[recorded_run.id].series["train", "loss"].x.tolist() == list(range(1, 8002))
    assert [event.type for event in heard] == ["metrics", "finished"]
    worker.release()
    writer.close()
    qtbot.waitUntil(lambda: recorded_run.id not in store.followers, timeout=5000)


def test_a_run_whose_worker_is_gone_says_so(qtbot, store: Store, recorded_run: RunDir) -> None:
    lines = recorded_run.events_file.read_text().splitlines(keepends=True)
    recorded_run.events_file.write_text("".join(lines[:10]))
    recorded_run.exit_file.write_text(json.dumps({"pid": 1, "code": -9}))
    store.attach(recorded_run.id)
    qtbot.waitUntil(lambda: store.runs[recorded_run.id].state == "ended", timeout=5000)
    problem = store.runs[recorded_run.id].problem
    assert problem.reason == "worker-killed" and problem.facts["signal"] == "SIGKILL"
    assert len(store.runs[recorded_run.id].series["train", "loss"]) == 6


def test_opened_data_has_its_roles_guessed(qtbot, store: Store, heard, csv_file) -> None:
    assert [p.reason for p in store.problems()] == ["data-none"]
    open_reviews(qtbot, store, csv_file)
    assert store.draft.columns == {"text": "text", "label": "label"} and len(store.draft.labels) == 2
    assert store.problems() == []
    assert heard["draft_changed"] == ["data", "task", "data", "columns", "findings"]
    assert store.settings.recent_data == [str(csv_file)]


def test_a_file_that_can_not_be_read_is_kept_as_the_problem(qtbot, store: Store, heard, tmp_path) -> None:
    store.open_data(tmp_path / "none.csv")
    qtbot.waitUntil(lambda: not store.busy, timeout=5000)
    assert [p.reason for p in store.problems()] == ["data-missing"]
    assert heard["page_requested"] == ["data"]


def test_problems_stand_at_their_fields(qtbot, store: Store, csv_file) -> None:
    open_reviews(qtbot, store, csv_file)
    store.set_role("label", None)
    store.set_training(learning_rate=7)
    store.set_method({"kind": "lora", "r": 0})
    store.set_split(validation=0.5, test=0.5)
    found = {p.field: p.reason for p in store.problems()}
    assert found == {
        "columns.label": "role-missing",
        "data.validation": "split-empty",
        "method.r": "field-invalid",
        "training.learning_rate": "field-invalid",
    }
    assert store.start() == ""


def test_a_column_has_one_role_and_a_role_one_column(qtbot, store: Store, csv_file) -> None:
    open_reviews(qtbot, store, csv_file)
    store.set_role("text", "label")
    assert store.draft.columns == {"label": "text"}
    qtbot.waitUntil(lambda: bool(store.draft.findings), timeout=5000)


def test_a_saved_spec_is_what_the_command_line_reads_and_the_window_opens(
    qtbot, store: Store, csv_file, tmp_path
) -> None:
    open_reviews(qtbot, store, csv_file)
    store.set_method({"kind": "lora", "r": 4})
    store.set_training(learning_rate=1e-3)
    store.save_spec(tmp_path / "spec.json")
    spec = read_spec(tmp_path / "spec.json")
    assert spec == store.draft.spec() and spec.method.r == 4
    store.draft = type(store.draft)()
    store.load_spec(tmp_path / "spec.json")
    qtbot.waitUntil(lambda: not store.busy, timeout=10000)
    assert store.draft.spec() == spec


def test_a_deleted_run_comes_back_by_undo(store: Store, heard, recorded_run: RunDir) -> None:
    store.rename(recorded_run.id, "my best")
    store.delete(recorded_run.id)
    assert list_runs(store.workspace) == []
    heard["notice"][-1].undo()
    assert [read_summary(run).name for run in list_runs(store.workspace)] == ["my best"]


def test_settings_are_kept_and_a_damaged_file_does_not_stop_a_start(workspace, store: Store, heard) -> None:
    store.change_settings(theme="dark", smoothing=0.9)
    assert read_json(workspace / "settings.json")["theme"] == "dark"
    (workspace / "settings.json").write_text('{"theme": "purple", "smoothing": 0.9}')
    again = Store(workspace)
    again.notice.connect(heard["notice"].append)
    again.wake()
    assert (again.settings.theme, again.settings.smoothing) == ("system", 0.9)
    assert heard["notice"][-1].tone == "warning"
    again.close()


def test_a_full_disk_is_said_in_words_wherever_it_is_met(store: Store, heard) -> None:
    store.fail(OSError(errno.ENOSPC, "No space left on device"))
    store.fail(OSError(errno.ENOENT, "No such file or directory"))
    full, other = (notice.title for notice in heard["notice"])
    assert full == "The disk is full." and other != full


def test_following_again_counts_no_event_twice(qtbot, store: Store, recorded_run: RunDir) -> None:
    store.attach(recorded_run.id)
    qtbot.waitUntil(lambda: store.runs[recorded_run.id].step > 0, timeout=5000)
    for _ in range(3):
        store._follow(recorded_run, launch=False)
    qtbot.waitUntil(lambda: recorded_run.id not in store.followers, timeout=5000)
    assert len(store.runs[recorded_run.id].series["train", "loss"]) == 20
    assert len(store.runs[recorded_run.id].checkpoints) == 1


def test_a_second_training_waits_for_the_first(qtbot, store: Store, heard, csv_file, recorded_run: RunDir) -> None:
    from studio.core.locks import Lock

    open_reviews(qtbot, store, csv_file)
    lines = recorded_run.events_file.read_text().splitlines(keepends=True)
    recorded_run.events_file.write_text("".join(lines[:10]))
    worker = Lock(recorded_run.lock_file)
    assert worker.acquire({})
    store.wake()
    qtbot.waitUntil(lambda: store.runs[recorded_run.id].step == 6, timeout=5000)
    assert store.current_run == recorded_run.id  # found alive and followed again
    assert store.start() == "" and heard["notice"][-1].fix == "queue.add"
    worker.release()
    qtbot.waitUntil(lambda: store.runs[recorded_run.id].state == "ended", timeout=5000)
    assert heard["notice"][-1].fix == "run.again", "it had no checkpoint yet"
    assert store.training_run() == ""
    qtbot.waitUntil(lambda: not store.busy, timeout=10000)
