"""Heads over many rows, asked of an inspection: the numbers are those of each row alone, and what fails is counted."""

import numpy as np
import pytest
import torch
import transformers

from studio import supervisor
from studio.attention import capture, maps, over_rows
from studio.core import events as ev
from studio.core.commands import Explain, Stop, Study, send
from studio.core.locks import Hold
from studio.core.rundir import create_run
from studio.core.spec import InspectSpec
from studio.core.state import new_state
from studio.engine import inspect
from tests.in_process import execute, go_on

TEXTS = ["the apple is red", "", "rain fell on the lake", " ".join(["rain"] * 70), "water the the water"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_spec):
    workspace = tmp_path_factory.mktemp("workspace")
    run, state = execute(workspace, make_spec(num_train_epochs=1))
    assert state.state == "finished", state.problem
    return workspace, run


def ask(trained, asked, last=None, hear=lambda report, event: None):
    """Return what an inspection of the run says to a study, and to what `hear` asks, until the `last` is answered."""
    workspace, run = trained
    inspection = create_run(workspace, InspectSpec(run=str(run.path), idle_seconds=60))
    send(inspection.path, asked)
    said = []

    def listen(report, event):
        said.append(event)
        hear(report, event)
        if isinstance(event, ev.Studied) and event.id == (last or asked).id:
            report.obey(Stop())

    state = go_on(inspection, listen)
    assert state.state == "finished", state.problem
    return [event for event in said if isinstance(event, ev.Studied | ev.Explained)]


def own_maps(model, tokenizer, text):
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        out = model.eval()(**tokenizer(text, return_tensors="pt"), output_attentions=True)
    return torch.cat(out.attentions).numpy()


def test_numbers_are_those_of_each_row_before_and_after(trained):
    (answer,) = ask(trained, Study(what="aggregate", options={"split": "train", "n_rows": 5}))
    assert answer.reason is None
    assert answer.result == {"source": "train", "filters": [], "n_asked": 5, "n_rows": 5, "n_left_out": {}}
    numbers, rows = over_rows.load(answer.directory)
    folder = trained[1].model_dir
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    after = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    before = transformers.AutoModel.from_pretrained(trained[1].spec().model)
    for place, row in enumerate(rows):
        with torch.inference_mode():
            best = int(after.eval()(**tokenizer(row["text"], return_tensors="pt")).logits.argmax())
        assert row["said"]["after"] == after.config.id2label[best] and row["gold"] in after.config.label2id
        seen = {name: own_maps(model, tokenizer, row["text"]) for name, model in (("before", before), ("after", after))}
        for name, own in seen.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                entropy = -np.nansum(own * np.log(own), axis=-1).mean(axis=-1)
            np.testing.assert_allclose(numbers[name]["entropy"][place], entropy, atol=1e-5)
            np.testing.assert_allclose(numbers[name]["sink"][place], own[..., 0].mean(axis=-1), atol=1e-5)
            off = np.arange(own.shape[-1] - 1)
            np.testing.assert_allclose(numbers[name]["next"][place], own[..., off, off + 1].mean(axis=-1), atol=1e-5)
        change = maps.js_divergence(seen["before"], seen["after"])
        np.testing.assert_allclose(numbers["between"]["change"][place], change, atol=1e-5)
    assert np.abs(numbers["before"]["entropy"] - numbers["after"]["entropy"]).max() > 1e-4


def test_a_newer_question_replaces_an_older_one_and_a_look_does_not_wait(trained):
    old, new = (Study(what="aggregate", options={"split": "train", "n_rows": n}) for n in (60, 4))
    looks = [Explain(text="rain"), Explain(text="the lake")]
    waiting, answered = [*looks], []

    def hear(report, event):
        # One look after the other, and both while the rows are measured.
        if isinstance(event, ev.Progress) and event.done >= 1 and len(waiting) + len(answered) == len(looks):
            if waiting:
                report.obey(waiting.pop(0))
            else:
                report.obey(new)
                answered.append(event)
        if isinstance(event, ev.Explained):
            answered.append(event)

    first, second, replaced, answer = ask(trained, old, new, hear)
    assert [(each.id, each.reason) for each in (first, second)] == [(look.id, None) for look in looks]
    assert (replaced.id, replaced.reason) == (old.id, "study-replaced")
    assert (answer.id, answer.result["n_rows"]) == (new.id, 4)


def test_another_long_question_waits_and_a_short_one_does_not(trained):
    rows = Study(what="aggregate", options={"split": "train", "n_rows": 40, "about": "rows"})
    long = Study(what="importance", text="rain", options={"rows": 4, "about": 3})
    short = Study(what="ablate", text="rain", options={"edits": []})
    said, waiting = [], [long, short]

    def hear(report, event):
        said.append(event)
        while isinstance(event, ev.Progress) and event.done >= 1 and waiting:
            report.obey(waiting.pop(0))

    answers = ask(trained, rows, long, hear)
    assert [(each.id, each.about) for each in answers] == [(short.id, None), (rows.id, "rows"), (long.id, 3)]
    assert answers[2].result["part"] == "test" and answers[2].result["n_rows"] == 4
    # Each says how far it is with its own rows, and none while the other is at work.
    known = [event.name for event in said if isinstance(event, ev.Progress)]
    known = [name for name in known if name in ("aggregate", "importance")]
    assert known == sorted(known) and "importance" in known
    stop = Study(what="importance", options={"stop": True, "about": 4})
    stopping = [stop]

    def stop_it(report, event):
        if isinstance(event, ev.Progress) and event.name == "importance" and stopping:
            report.obey(stopping.pop())

    stopped, told = ask(trained, long.model_copy(update={"id": "again"}), stop, stop_it)
    assert {stopped.reason, told.reason} == {"study-replaced"} and (stopped.about, told.about) == (3, 4)


def test_a_worker_is_ready_only_when_its_long_study_is_over(tmp_path, tiny_model):
    """A text that is asked about in the middle is answered, and the phase is that of the study that goes on."""
    run = supervisor.start_new(tmp_path, InspectSpec(model=str(tiny_model), idle_seconds=60))
    study, look = Study(what="aggregate", options={"texts": [TEXTS[0]] * 300}), Explain(text="rain")
    send(run.path, study)
    state, phases, is_asked = new_state(run), {}, False
    for batch in supervisor.follow(run, poll_seconds=0.02):
        for event in batch:
            state.apply(event)
            if isinstance(event, ev.Phase):
                phases[len(state.explained), len(state.studied)] = event.name
        if state.progress_of == "aggregate" and state.progress[0] and not is_asked:
            is_asked = True
            send(run.path, look)
        if study.id in state.studied and state.phase == "ready" and state.is_active:
            send(run.path, Stop())
    assert look.id in state.explained and state.studied[study.id].result["n_rows"] == 300
    assert phases[1, 0] == "explaining"  # the look was answered, the study goes on
    assert phases[1, 1] == "ready"


def test_an_error_nobody_foresaw_is_an_answer_and_the_worker_goes_on(trained, monkeypatch):
    real, calls = capture.capture, []

    def broken(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            raise MemoryError
        if len(calls) == 2:
            raise ValueError("a shape nobody knows")
        return real(*arguments, **options)

    monkeypatch.setattr(capture, "capture", broken)
    asked = [Study(what="aggregate", options={"split": "test", "n_rows": 2}) for _ in range(3)]
    waiting = asked[1:]

    def hear(report, event):
        if isinstance(event, ev.Studied) and waiting:
            report.obey(waiting.pop(0))

    full, unknown, answer = ask(trained, asked[0], asked[-1], hear)
    assert full.reason == "out-of-memory" and unknown.reason == "unexpected"
    assert "a shape nobody knows" in unknown.facts["message"] and "ValueError" in unknown.facts["reason"]
    assert (answer.reason, answer.result["n_rows"]) == (None, 2)


def test_the_folders_of_older_answers_are_removed_and_tried_again(tmp_path, monkeypatch):
    written, folders = [], [tmp_path / str(i) for i in range(4)]
    for folder in folders[:3]:
        folder.mkdir()
        inspect._keep(written, folder, 2)
    assert [folder.exists() for folder in folders] == [False, True, True, False]
    folders[3].mkdir()
    with monkeypatch.context() as mapped:
        mapped.setattr(inspect.shutil, "rmtree", lambda *a, **o: None)  # as where the window has a file mapped
        inspect._keep(written, folders[3], 2)
    assert written == folders[1:]
    inspect._keep(written, tmp_path / "none", 2)  # an answer without a folder
    assert not folders[1].exists() and written == folders[2:]
    (folders[2] / "after").mkdir()
    hold = Hold(folders[2] / "after")  # as of another window, which shows it
    inspect._keep(written, tmp_path / "none", 1)
    assert folders[2].exists()
    hold.end()
    inspect._keep(written, tmp_path / "none", 1)
    assert not folders[2].exists() and written == folders[3:]


def test_what_failed_its_check_is_counted_and_not_shown(trained, monkeypatch):
    real, calls = capture.capture, []

    def doubtful(*arguments, **options):
        captured = real(*arguments, **options)
        calls.append(captured)
        if len(calls) == 3:  # the second row, before
            captured.checks["verified"] = False
        return captured

    monkeypatch.setattr(capture, "capture", doubtful)
    (answer,) = ask(trained, Study(what="aggregate", options={"split": "test", "n_rows": 4}))
    assert (answer.result["n_rows"], answer.result["n_left_out"]) == (3, {"unverified": 1})
    numbers, rows = over_rows.load(answer.directory)
    assert len(rows) == 3 and all(len(each) == 3 for each in numbers["after"].values())
    monkeypatch.setattr(capture, "capture", lambda *a, **o: type("Doubtful", (), {"checks": {"verified": False}})())
    (answer,) = ask(trained, Study(what="aggregate", options={"split": "test", "n_rows": 2}))
    assert answer.reason == "aggregate-nothing" and answer.facts["reasons"] == "unverified (2)"


def test_a_model_folder_measures_texts_in_a_worker(tmp_path, tiny_model):
    run = supervisor.start_new(tmp_path, InspectSpec(model=str(tiny_model), idle_seconds=60))
    questions = ({"split": "test"}, {"texts": TEXTS}, {"stop": True})
    asked = [Study(what="aggregate", options=options) for options in questions]
    waiting, state = [*asked], new_state(run)
    for batch in supervisor.follow(run, poll_seconds=0.02):
        for event in batch:
            state.apply(event)
        # One after the other: a newer one of its kind would replace it.
        if waiting and (len(waiting) == len(asked) or asked[-len(waiting) - 1].id in state.studied):
            send(run.path, waiting.pop(0))
        elif not waiting and asked[-1].id in state.studied and state.is_active:
            send(run.path, Stop())
    no_data, measured, stopped = (state.studied[each.id] for each in asked)
    assert (no_data.reason, stopped.reason) == ("aggregate-no-data", "study-replaced")
    counts = {"n_asked": 4, "n_rows": 3, "n_left_out": {"text-too-long": 1}}
    assert measured.result == {"source": "texts", "filters": []} | counts
    numbers, rows = over_rows.load(measured.directory)
    assert [row["text"] for row in rows] == [TEXTS[0], TEXTS[2], TEXTS[4]] and list(numbers) == ["after"]
    induction = numbers["after"]["induction"]
    assert np.isnan(induction[0]).all() and np.isfinite(induction[2]).all()
