"""What the inspect engine answers, asked for real: in a worker, of a model folder; here, of a LoRA run."""

import errno
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from peft import PeftModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from studio import supervisor
from studio.attention import capture as attention
from studio.attention import maps
from studio.attention.vectors import load_vectors
from studio.core import events as ev
from studio.core.commands import Explain, Stop, Study, send
from studio.core.files import read_json
from studio.core.reasons import Failure
from studio.core.rundir import create_run
from studio.core.spec import InspectSpec, parse_spec
from studio.core.state import new_state
from studio.engine import inspect as engine
from studio.engine import train
from studio.engine.reporter import Reporter
from studio.engine.trained import Trained
from tests.in_process import execute, go_on

TOPICS = {"animals": "cat dog horse goose otter", "food": "bread soup rice plum cheese"}
WORDS = [f"word{i}" for i in range(20)] + " ".join(TOPICS.values()).split()
TEXT = "the cat word3 eats cheese word7 word7 plum"
LONG = " ".join(["word1"] * 70)
N_LAYERS, N_HEADS = 2, 4
STUDIES = [
    Study(what="ablate", text=TEXT, options={"edits": [[1, 2, "zero"]], "gold": "sad"}),
    Study(what="importance", text=TEXT),
    Study(what="attributions", text=TEXT, options={"method": "integrated"}),
    Study(what="target", text=TEXT),
]


def start(workspace, spec, texts):
    """Start an inspection and ask it for `texts`."""
    run = supervisor.start_new(workspace, spec)
    asked = [Explain(text=text) for text in texts]
    for command in [*STUDIES, *asked]:
        send(run.path, command)
    return run, asked


def answers(run, asked):
    """Return an inspection's state after it answered all and was told to stop, and its answers in order."""
    state = new_state(run)
    for batch in supervisor.follow(run, poll_seconds=0.02):
        for event in batch:
            state.apply(event)
        if len(state.explained) == len(asked) and state.is_active:
            send(run.path, Stop())
    return state, [state.explained.get(command.id) for command in asked]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A classifier with heads far from uniform, in a folder like any other."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder = tmp_path_factory.mktemp("a model")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64, model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=N_LAYERS, num_attention_heads=N_HEADS,
        intermediate_size=48, max_position_embeddings=64, pad_token_id=0,
        id2label={0: "calm", 1: "angry", 2: "sad"}, label2id={"calm": 0, "angry": 1, "sad": 2},
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embed" not in name:
                parameter.mul_(8)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def started(workspace, model_folder):
    """An inspection of the model folder, in a worker that loads while the test trains."""
    texts = [TEXT, LONG, "", TEXT + " dog", TEXT]
    return start(workspace, InspectSpec(model=str(model_folder), idle_seconds=120), texts)


@pytest.fixture(scope="module")
def trained(workspace, model_folder, started):
    """The folder of a LoRA run, trained here for a few steps."""
    chance = random.Random(5)
    rows = ["text,label"]
    for i in range(40):
        label = list(TOPICS)[i % 2]
        rows.append(" ".join(chance.choices(WORDS[:20] + TOPICS[label].split() * 3, k=8)) + f",{label}")
    (workspace / "rows.csv").write_text("\n".join(rows))
    spec = parse_spec(
        {
            "data": {"train": str(workspace / "rows.csv")}, "columns": {"text": "text", "label": "label"},
            "model": str(model_folder), "method": {"kind": "lora"},
            "training": {"num_train_epochs": 1, "learning_rate": 0.02, "per_device_train_batch_size": 8},
        }
    )  # fmt: skip
    run = create_run(workspace, spec)
    report = Reporter(run)
    report.say(train.run(run, run.spec(), report))
    report.close()
    return run


@pytest.fixture(scope="module")
def of_run(workspace, trained):
    run = create_run(workspace, InspectSpec(run=str(trained.path), idle_seconds=120))
    over_rows = Study(what="importance", text=TEXT, options={"rows": 3, "about": 7})
    for command in [*STUDIES, over_rows, Explain(text=TEXT)]:
        send(run.path, command)
    # A short question does not wait for the rows: it is answered between them.
    state = go_on(
        run, lambda report, event: isinstance(event, ev.Studied) and event.id == over_rows.id and report.obey(Stop())
    )
    return state, list(state.explained.values())


@pytest.fixture(scope="module")
def of_folder(started, of_run):
    return answers(*started)


def own_maps(model, tokenizer):
    """Return what a model says of its own attention to TEXT, [layer, head, query, key]."""
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        out = model.eval()(**tokenizer(TEXT, return_tensors="pt"), output_attentions=True)
    return torch.cat(out.attentions).numpy()


def test_a_model_folder_is_explained_in_its_one_state(of_folder, model_folder):
    state, told = of_folder
    assert state.state == "finished", state.problem
    answer = told[-1]
    assert list(answer.directories) == list(answer.probabilities) == ["after"]
    saved = maps.load(answer.directories["after"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    model = transformers.BertForSequenceClassification.from_pretrained(model_folder)
    np.testing.assert_allclose(saved.maps["attention"], own_maps(model, tokenizer), atol=1e-5)
    with torch.inference_mode():
        expected = model(**tokenizer(TEXT, return_tensors="pt")).logits[0].softmax(-1)
    assert list(answer.probabilities["after"]) == ["calm", "angry", "sad"]
    np.testing.assert_allclose(list(answer.probabilities["after"].values()), expected, atol=1e-5)


def test_files_are_as_the_contract_says(of_folder):
    folder = of_folder[1][-1].directories["after"]
    n_tokens = len(TEXT.split()) + 2
    with np.load(f"{folder}/attention.npz") as arrays:
        assert arrays.files == ["attention"]
        assert arrays["attention"].dtype == np.float32
        assert arrays["attention"].shape == (N_LAYERS, N_HEADS, n_tokens, n_tokens)
    facts = read_json(Path(folder) / "tokens.json")
    assert facts["tokens"] == ["[CLS]", "[UNK]", *TEXT.replace("eats", "[UNK]").split()[1:], "[SEP]"]
    assert facts["special"] == [True, True, False, False, True, *[False] * 4, True]
    checks = read_json(Path(folder) / "checks.json")
    assert {"row_sum_error", "causal_leak", "logit_difference", "n_layers", "n_heads", "verified"} <= set(checks)
    assert checks["verified"] and (checks["n_layers"], checks["n_heads"]) == (N_LAYERS, N_HEADS)


def test_a_refused_text_is_told_and_the_worker_goes_on(of_folder):
    _, long, empty, *others = of_folder[1]
    assert (long.reason, long.facts) == ("text-too-long", {"n_tokens": 72, "most": 64})
    assert empty.reason == "text-empty" and not empty.directories
    assert all(answer.reason is None for answer in others)


def test_only_the_newest_maps_are_kept(of_folder, workspace):
    first, _, _, *newest = of_folder[1]
    kept = {path.name for path in (workspace / "runs" / of_folder[0].id / "maps").iterdir()}
    assert kept == {answer.id for answer in newest} and first.id not in kept


def test_before_is_the_base_and_after_is_the_trained(of_run, trained, model_folder):
    state, (answer,) = of_run
    assert state.state == "finished", state.problem
    before, after = (maps.load(answer.directories[name]) for name in ("before", "after"))
    assert before.checks["verified"] and after.checks["verified"]
    assert before.tokens == after.tokens

    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    base = transformers.AutoModel.from_pretrained(model_folder)
    np.testing.assert_allclose(before.maps["attention"], own_maps(base, tokenizer), atol=1e-5)
    # Loaded without the engine: the head in the adapter's folder takes the place of the one drawn here.
    head = transformers.BertForSequenceClassification.from_pretrained(
        model_folder, num_labels=2, ignore_mismatched_sizes=True
    )
    tuned = PeftModel.from_pretrained(head, trained.model_dir).merge_and_unload()
    np.testing.assert_allclose(after.maps["attention"], own_maps(tuned, tokenizer), atol=1e-5)
    change = maps.js_divergence(before.maps["attention"], after.maps["attention"])
    assert change.shape == (N_LAYERS, N_HEADS) and change.max() > 1e-4

    labels = sorted(TOPICS)
    for name in ("before", "after"):
        assert sorted(answer.probabilities[name]) == labels
        assert sum(answer.probabilities[name].values()) == pytest.approx(1, abs=1e-5)
    with torch.inference_mode():
        expected = tuned(**tokenizer(TEXT, return_tensors="pt")).logits[0].softmax(-1)
    np.testing.assert_allclose(list(answer.probabilities["after"].values()), expected, atol=1e-5)


def test_studies_are_answered_by_a_worker(of_folder, model_folder):
    ablated, important, explained, unknown = (of_folder[0].studied[asked.id] for asked in STUDIES)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    model = transformers.BertForSequenceClassification.from_pretrained(model_folder).eval()
    with torch.no_grad():
        model.bert.encoder.layer[1].attention.output.dense.weight[:, 16:24] = 0
        by_hand = model(**tokenizer(TEXT, return_tensors="pt")).logits[0].softmax(-1)
    edited = ablated.result["states"]["after"]["edited"]
    np.testing.assert_allclose(list(edited["probabilities"].values()), by_hand, atol=1e-5)
    assert edited["loss"] == pytest.approx(-by_hand[2].log().item(), abs=1e-4)
    assert np.shape(important.result["states"]["after"]) == (N_LAYERS, N_HEADS)
    assert explained.result["states"]["after"]["missing"] < 0.05 and len(explained.result["ids"]) == 10
    assert unknown.reason == "study-unknown"


def test_studies_see_before_and_after_of_an_adapter(of_run, trained, model_folder):
    """Before is the base with the adapter off: a head taken away by hand, in the base and in what it was merged to."""
    state, (answer,) = of_run
    ablated, important = (state.studied[asked.id].result["states"] for asked in STUDIES[:2])
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    head = transformers.BertForSequenceClassification.from_pretrained(
        model_folder, num_labels=2, ignore_mismatched_sizes=True
    )
    tuned = PeftModel.from_pretrained(head, trained.model_dir).merge_and_unload().eval()
    with torch.no_grad():
        tuned.bert.encoder.layer[1].attention.output.dense.weight[:, 16:24] = 0
        by_hand = tuned(**tokenizer(TEXT, return_tensors="pt")).logits[0].softmax(-1)
    np.testing.assert_allclose(list(ablated["after"]["edited"]["probabilities"].values()), by_hand, atol=1e-5)
    for name in ("before", "after"):
        plain = list(ablated[name]["plain"]["probabilities"].values())
        np.testing.assert_allclose(plain, list(answer.probabilities[name].values()), atol=1e-5)
    assert important["before"] != important["after"]
    over_rows = [each for each in state.studied.values() if each.result.get("n_rows") == 3]
    assert len(over_rows) == 1 and over_rows[0].result["states"]["after"] != important["after"]
    assert over_rows[0].about == 7 and state.studied[STUDIES[1].id].about is None


def test_vectors_of_a_head_give_the_maps_of_both_states(workspace, trained, of_run):
    """A study of an adapter's run: each state's own queries and keys, and from them the weights that were captured."""
    _, (answer,) = of_run
    captured = {state: maps.load(Path(folder)).maps["attention"] for state, folder in answer.directories.items()}
    run = create_run(workspace, InspectSpec(run=str(trained.path), idle_seconds=120))
    asked = [Study(what="vectors", text=TEXT, options={"layer": 1, "head": head}) for head in (2, N_HEADS)]
    for command in asked:
        send(run.path, command)
    state = go_on(
        run, lambda report, event: isinstance(event, ev.Studied) and event.id == asked[1].id and report.obey(Stop())
    )
    told, refused = (state.studied[command.id] for command in asked)
    found = {name: load_vectors(Path(told.directory) / f"{name}.npz") for name in ("before", "after")}
    for name, vectors in found.items():
        weights = np.stack([vectors.row(query).weights for query in range(len(vectors.ids))])
        np.testing.assert_allclose(weights, captured[name][1, 2], atol=1e-5)
        assert told.result["states"][name]["error"] <= 1e-5
    assert np.abs(found["after"].query - found["before"].query).max() > 1e-3
    assert (refused.reason, refused.facts) == ("head-unknown", {"layer": 2, "head": N_HEADS + 1})


def test_what_can_not_be_inspected_says_why(workspace, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    _, state = execute(workspace, {"kind": "inspect", "model": str(tmp_path), "idle_seconds": 120})
    assert (state.state, state.problem.reason) == ("failed", "model-no-safetensors")


def test_a_pair_and_a_chat_are_read_as_the_model_reads_them(model_folder, tmp_path):
    subject = engine.load_subject(Path(), InspectSpec(model=str(model_folder)))
    pair = Explain(text="cat dog", fields={"text": "cat dog", "text_pair": "plum"})
    facts = read_json(Path(engine.reply(subject, pair, ("after",), tmp_path).directories["after"]) / "tokens.json")
    assert facts["tokens"] == ["[CLS]", "cat", "dog", "[SEP]", "plum", "[SEP]"]
    assert facts["segments"] == [None, 0, 0, None, 1, None] and facts["offsets"][4] == [0, 4]

    chat = Explain(text="", fields={"messages": '[{"role": "user", "content": "goose"}]'})
    with pytest.raises(Failure) as refused:
        engine.reply(subject, chat, ("after",), tmp_path)
    assert refused.value.problem.reason == "chat-unknown"
    subject.tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}"
    facts = read_json(Path(engine.reply(subject, chat, ("after",), tmp_path).directories["after"]) / "tokens.json")
    assert facts["tokens"] == ["[UNK]", "goose"]
    assert "offsets" not in facts  # they would be places in the template's text, not in what was typed
    subject.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(Failure, match="roles must alternate") as refused:
        engine.reply(subject, chat, ("after",), tmp_path)
    assert refused.value.problem.reason == "chat-refused"


def train_again(workspace, trained, seed):
    """Return a run as `trained`, from other random numbers, that was stopped: its checkpoints stay."""
    spec = read_json(trained.spec_file)
    spec["training"] |= {"seed": seed, "num_train_epochs": 3, "evaluations_per_epoch": 2}

    def stop(report, event):
        if isinstance(event, ev.Checkpoint) and event.step >= 6:
            report.obey(Stop())

    run, state = execute(workspace, spec, stop)
    assert state.state == "stopped", state.problem
    return run


def compared(workspace, **spec):
    """Return what an inspection says of TEXT, or the problem that ended it, by state."""
    run = create_run(workspace, InspectSpec(text=TEXT, **spec))
    state = go_on(run)
    return state.problem, next(iter(state.explained.values()), None)


def test_a_run_is_compared_with_another_run_and_with_a_checkpoint(workspace, trained, model_folder, monkeypatch):
    other = train_again(workspace, trained, seed=7)
    problem, answer = compared(workspace, run=str(trained.path), against={"run": str(other.path)})
    assert problem is None
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    for state, run in (("before", other), ("after", trained)):
        saved = maps.load(answer.directories[state])
        base = transformers.AutoModel.from_pretrained(model_folder)
        tuned = PeftModel.from_pretrained(
            transformers.BertForSequenceClassification.from_pretrained(
                model_folder, num_labels=2, ignore_mismatched_sizes=True
            ),
            run.model_dir,
        ).merge_and_unload()
        assert saved.checks["verified"]
        np.testing.assert_allclose(saved.maps["attention"], own_maps(tuned, tokenizer), atol=1e-5)
        assert np.abs(saved.maps["attention"] - own_maps(base, tokenizer)).max() > 1e-4

    # A text must fit both.
    with monkeypatch.context() as patch:
        patch.setattr(Trained, "max_positions", property(lambda run: 8 if run.run.id == other.id else 64))
        spec = InspectSpec(run=str(trained.path), against={"run": str(other.path)})
        assert engine.load_subject(workspace, spec).max_length == 8

    # Two checkpoints of one run: the best and the last one stay where it was stopped.
    first, last = other.checkpoints()
    spec = {"run": str(other.path), "checkpoint": last}
    problem, answer = compared(workspace, **spec, against={"run": str(other.path), "checkpoint": first})
    assert problem is None
    found = [maps.load(answer.directories[state]).maps["attention"] for state in ("before", "after")]
    assert np.abs(found[0] - found[1]).max() > 1e-4
    problem, alone = compared(workspace, run=str(other.path), checkpoint=first, state="tuned")
    np.testing.assert_array_equal(maps.load(alone.directories["after"]).maps["attention"], found[0])
    problem, _ = compared(workspace, run=str(other.path), checkpoint=last + 1)
    assert problem.reason == "checkpoint-missing"


def test_what_can_not_be_compared_is_told(workspace, trained, model_folder, tmp_path):
    def folder(name, **changes):
        config = transformers.BertConfig.from_pretrained(model_folder, **changes)
        transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / name)
        transformers.AutoTokenizer.from_pretrained(model_folder).save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    own, more = folder("same"), folder("more heads", num_attention_heads=8)
    problem, answer = compared(workspace, model=str(model_folder), against={"model": own})
    assert problem is None and [*answer.probabilities] == ["before", "after"]
    assert answer.probabilities["before"] != answer.probabilities["after"]
    problem, _ = compared(workspace, model=str(model_folder), against={"model": more})
    assert (problem.reason, problem.facts["n_own"], problem.facts["n_other"]) == ("heads-differ", "2 × 4", "2 × 8")
    tokenizer = transformers.AutoTokenizer.from_pretrained(own)
    tokenizer.add_tokens(["another"])
    tokenizer.save_pretrained(own)
    problem, _ = compared(workspace, model=str(model_folder), against={"model": own})
    assert problem.reason == "tokens-differ"
    problem, _ = compared(workspace, run=str(trained.path), against={"model": own})
    assert problem.reason == "answers-differ"
    # Other labels: the attention alone is compared, and no answer of one is shown beside that of the other.
    other = folder("other labels", id2label={0: "x", 1: "y"}, label2id={"x": 0, "y": 1})
    problem, answer = compared(workspace, model=str(model_folder), against={"model": other})
    assert problem is None and answer.probabilities == {"before": {}, "after": {}}


def test_a_full_disk_leaves_nothing_half_and_the_next_question_is_answered(workspace, model_folder, monkeypatch):
    run = create_run(workspace, InspectSpec(model=str(model_folder), idle_seconds=60))
    first, second = Explain(text=TEXT), Explain(text=TEXT)
    send(run.path, first)
    save = attention.save

    def full(captured, *, directory, **facts):
        save(captured, directory=directory, **facts)
        raise OSError(errno.ENOSPC, "No space left on device")

    def hear(report, event):
        if isinstance(event, ev.Explained) and event.id == first.id:
            monkeypatch.setattr(attention, "save", save)
            send(run.path, second)
        elif isinstance(event, ev.Explained):
            report.obey(Stop())

    monkeypatch.setattr(attention, "save", full)
    state = go_on(run, hear)
    assert state.state == "finished" and state.explained[first.id].reason == "no-room"
    assert [each.name for each in (run.path / "maps").iterdir()] == [second.id]
    assert maps.load(state.explained[second.id].directories["after"]).checks["verified"]
