"""What is asked of a row besides its attention, in every task: the numbers against other ways to the same ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from studio.attention import gates, maps, over_rows
from studio.attention.vectors import load_vectors
from studio.core.commands import Explain, Study
from studio.core.reasons import Failure
from studio.core.registry import plugin
from studio.core.spec import parse_spec
from studio.engine import models, studies
from studio.engine.inspect import reply
from studio.engine.studies.faithfulness import faithfulness
from studio.engine.studies.target import blank_of, states_of, target_of, value_function
from studio.engine.subject import Subject
from studio.engine.trained import Trained
from studio.sources.texts import Texts
from studio.tasks.base import Rows
from studio.ui.views.filters import Filters
from studio.ui.views.look import load_look

TEXT = "The red cup of the old house is on a blue boat"
FIELDS = {
    "text-classification": {"text": TEXT},
    "token-classification": {"text": TEXT},
    "question-answering": {"question": "which cup is it", "context": TEXT},
    "masked-lm": {"text": "The red [MASK] of the old house"},
    "multiple-choice": {"question": "which is alive", "option_1": "a red cup", "option_2": "a blue cat"},
    "embeddings": {"text": TEXT},
}
LABELS = {"text-classification": ["calm", "angry", "sad"], "token-classification": ["O", "B-X", "I-X"]}
GRADIENTS = ("gradient", "relevance", "integrated")


@pytest.fixture(scope="module")
def make_subject(tiny: Callable[[str], Path]) -> Callable[..., Subject]:
    """A function that returns a task's subject with heads that are far from uniform, before and after some change."""

    def make(task: str, family: str = "bert", labels: list[str] | None = None, **settings: Any) -> Subject:
        import torch

        labels = LABELS.get(task, []) if labels is None else labels
        wanted = {"kind": task} | settings
        spec = parse_spec({"data": {"train": "a.csv"}, "columns": {}, "task": wanted, "model": str(tiny(family))})
        tokenizer = models.load_tokenizer(tiny(family))
        base, tuned = (models.load_base(spec, labels, tokenizer).eval() for _ in range(2))
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter, other in zip(base.parameters(), tuned.parameters(), strict=True):
                if parameter.ndim == 2:
                    parameter.mul_(4)
                    other.copy_(parameter + 0.02 * torch.randn_like(parameter))
        base.config.problem_type = tuned.config.problem_type = settings.get("problem_type")
        trained = Trained(None, spec, labels, 64, {}, "fp32", spec.task)
        return Subject(tuned, base, tokenizer, 64, labels, trained)

    return make


def ask(subject: Subject, what: str, fields: dict[str, str], **options: Any) -> dict[str, Any]:
    asked = Study(what=what, fields=fields, options=options)
    return studies.find(what)(subject, asked, ("before", "after"), Path())["result"]


@pytest.mark.parametrize("task", FIELDS)
def test_every_task_has_maps(make_subject: Callable, task: str, tmp_path: Path) -> None:
    answers = make_subject(task).explain("", FIELDS[task], ("before", "after"), tmp_path, with_attention=True)
    assert all(answer["checks"]["verified"] for answer in answers.values())


@pytest.mark.parametrize("task", FIELDS)
def test_every_task_has_its_number_and_its_heads(make_subject: Callable, task: str) -> None:
    subject = make_subject(task)
    found = ask(subject, "ablate", FIELDS[task], edits=[[0, 1, "zero"], [1, 2, "uniform"], [1, 0, 0.5]])
    assert found["target"]["words"].format(**found["target"]["facts"])
    assert list(found["states"]) == ["before", "after"]
    for state in found["states"].values():
        assert state["plain"]["value"] != pytest.approx(state["edited"]["value"], abs=1e-7)
        shares = state["plain"]["probabilities"]
        assert not shares or task == "masked-lm" or sum(shares.values()) == pytest.approx(1, abs=1e-5)
        if found["target"]["is_probability"]:
            assert 0 < state["edited"]["value"] < 1
    matters = ask(subject, "importance", FIELDS[task])["states"]
    for values in matters.values():
        assert np.shape(values) == (2, 4) and (np.array(values) > 0).all()
    assert matters["before"] != matters["after"]


@pytest.mark.parametrize("task", FIELDS)
def test_every_task_has_the_vectors_of_a_head_and_numbers_over_rows(
    make_subject: Callable, task: str, tmp_path: Path
) -> None:
    subject, states = make_subject(task), ("before", "after")
    asked = Study(what="vectors", fields=FIELDS[task], options={"layer": 1, "head": 2})
    studies.find("vectors")(subject, asked, states, tmp_path / "vectors")
    subject.explain("", FIELDS[task], states, tmp_path / "maps", with_attention=True)
    for state in states:
        vectors = load_vectors(tmp_path / "vectors" / f"{state}.npz")
        seen = maps.load(tmp_path / "maps" / state).maps["attention"][1, 2]
        rows = np.stack([vectors.row(i).weights for i in range(len(seen))])
        np.testing.assert_allclose(rows, seen, atol=1e-5)
    n_rows = 2
    data = Rows({role: Texts(pa.chunked_array([[text] * n_rows])) for role, text in FIELDS[task].items()},
                [None] * n_rows, list(range(n_rows)))  # fmt: skip
    subject._parts = {"validation": data}
    asked = Study(what="aggregate", options={"n_rows": n_rows})
    found = studies.find("aggregate")(subject, asked, states, tmp_path / "rows")["result"]
    assert found["n_rows"] == n_rows and not found["n_left_out"]


@pytest.mark.parametrize("filters", [["without_special"], ["without_first", "whole_words"]])
def test_rows_are_measured_as_they_are_drawn(make_subject: Callable, filters: list[str], tmp_path: Path) -> None:
    """What View leaves out and merges, row by row the same numbers as those of the look with it."""
    subject = make_subject("text-classification")
    texts = ["The red cup of the old house", "unbelievable grandchildren"]
    asked = Study(what="aggregate", options={"texts": texts, "filters": filters})
    answer = reply(subject, asked, ("after",), tmp_path / "rows")
    assert answer.result["filters"] == filters
    numbers, _ = over_rows.load(tmp_path / "rows")
    for place, text in enumerate(texts):
        whole = load_look(reply(subject, Explain(text=text), ("after",), tmp_path / f"{place}"), "a model")
        shown = Filters(**dict.fromkeys(filters, True)).apply(whole)
        assert len(shown.tokens) < len(whole.tokens)
        expected = over_rows.measure(shown.maps["after"], shown.ids, shown.special)
        for name, values in numbers["after"].items():
            np.testing.assert_allclose(values[place], expected[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("task", FIELDS)
def test_every_task_is_explained_and_the_explanation_tested(make_subject: Callable, task: str) -> None:
    subject = make_subject(task)
    encoded = subject.encode("", FIELDS[task])
    for method in GRADIENTS:
        found = ask(subject, "attributions", FIELDS[task], method=method)
        stays = np.array(found["stays"])
        assert found["ids"] == encoded["input_ids"][0].tolist() and stays[0] and stays[-1] and not stays.all()
        for name, state in found["states"].items():
            weights = np.array(state["weights"])
            assert weights.shape == stays.shape and np.abs(weights).max() > 0
            if method == "integrated":
                assert state["missing"] <= 0.05
            elif method == "relevance":
                assert (weights >= 0).all()
            check_curves(subject, FIELDS[task], name, weights, state)


@pytest.mark.parametrize("task", FIELDS)
def test_an_adapter_is_switched_off_for_before(make_subject: Callable, task: str) -> None:
    """The same base, once with an adapter that changes it and once without: before is the base's, after is not."""
    import torch

    plain = make_subject(task)
    wanted = {"data": {"train": "a.csv"}, "columns": {}, "model": plain.trained.spec.model, "method": {"kind": "lora"}}
    method = parse_spec(wanted).method
    tuned = plugin("methods", method).apply(make_subject(task).base, method).eval()
    torch.manual_seed(4)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    subject = Subject(tuned, None, plain.tokenizer, 64, plain.labels, plain.trained)
    same = Subject(plain.base, plain.base, plain.tokenizer, 64, plain.labels, plain.trained)
    for what, options in [
        ("ablate", {"edits": [[1, 1, "zero"]], "label": (plain.labels or [""])[0]}),
        ("importance", {"label": (plain.labels or [""])[0]}),
    ]:
        asked = Study(what=what, fields=FIELDS[task], options=options)
        # Of the base alone, so that the answer that counts is the base's own in both.
        states, by_base = (
            studies.find(what)(each, asked, ("before",), Path())["result"]["states"] for each in (subject, same)
        )
        after = studies.find(what)(subject, asked, ("after",), Path())["result"]["states"]["after"]
        if what == "ablate":
            values = [each["edited"]["value"] for each in (states["before"], by_base["before"], after)]
        else:
            values = [np.array(each) for each in (states["before"], by_base["before"], after)]
        np.testing.assert_allclose(values[0], values[1], rtol=1e-4, atol=1e-6)
        assert np.abs(values[2] - values[1]).max() > 1e-6
    found = ask(subject, "attributions", FIELDS[task], method="relevance")["states"]
    assert found["before"]["weights"] != found["after"]["weights"]
    assert {parameter.requires_grad for name, parameter in tuned.named_parameters() if "lora_" in name} == {True}


def check_curves(subject: Subject, fields: dict[str, str], name: str, weights: np.ndarray, state: dict) -> None:
    """By hand: texts with the strongest tokens replaced, one after the other through the model."""
    import torch

    encoded = subject.encode("", fields)
    with subject.state(name) as model, torch.no_grad():
        choice = next(target for each, _, target in states_of(subject, ("after",), Study(what="", fields=fields), {}))
        target = target_of(subject, model, encoded, fields, choice.choice)
        free = np.flatnonzero(~target.stays)
        order = free[np.argsort(-weights[free], kind="stable")]
        for step, value in zip(state["steps"], state["deletion"], strict=True):
            ids = target.inputs["input_ids"].clone()
            ids[..., order[:step]] = blank_of(subject.tokenizer)
            by_hand = target.value(model(**target.inputs | {"input_ids": ids}))[0].item()
            assert value == pytest.approx(by_hand, abs=1e-5)
    for kind in ("deletion", "insertion"):
        ends = np.array([state[kind], state[f"random_{kind}"]])[:, [0, -1]]
        np.testing.assert_allclose(ends[0], ends[1], atol=1e-5)
    assert state["deletion"][0] == pytest.approx(state["insertion"][-1], abs=1e-5)
    assert len(state["occlusion"]) == len(free) and state["uniform"] is not None


def test_zero_is_the_heads_slice_of_the_projection(make_subject: Callable) -> None:
    import torch

    subject = make_subject("text-classification")
    found = ask(subject, "ablate", {"text": TEXT, "label": "sad"}, edits=[[1, 2, "zero"]])["states"]["after"]
    inputs = subject.encode(TEXT, {})
    with torch.no_grad():
        plain = subject.tuned(**inputs).logits[0].softmax(-1)
        subject.tuned.bert.encoder.layer[1].attention.output.dense.weight[:, 16:24] = 0
        by_hand = subject.tuned(**inputs).logits[0].softmax(-1)
    np.testing.assert_allclose(list(found["plain"]["probabilities"].values()), plain, atol=1e-6)
    np.testing.assert_allclose(list(found["edited"]["probabilities"].values()), by_hand, atol=1e-5)
    assert found["edited"]["loss"] == pytest.approx(-by_hand[2].log().item(), abs=1e-4)
    assert found["plain"]["answers"] == [LABELS["text-classification"][int(plain.argmax())]]


def test_importance_is_what_a_little_less_of_a_head_does(make_subject: Callable) -> None:
    subject = make_subject("text-classification", "llama")  # two heads share keys
    matters = np.array(ask(subject, "importance", {"text": TEXT})["states"]["after"])
    for layer, head in [(0, 0), (0, 3), (1, 1)]:
        values = []
        for factor in (1.01, 0.99):
            edited = ask(subject, "ablate", {"text": TEXT}, edits=[[layer, head, factor]])["states"]["after"]
            values.append(np.log(edited["edited"]["value"]))
        assert matters[layer, head] == pytest.approx(abs(values[0] - values[1]) / 0.02, rel=0.02, abs=1e-4)


def test_gradient_times_attention_adds_up_to_the_gates(make_subject: Callable) -> None:
    """What the tokens did and what the heads did is the same sum, by two ways through the model."""
    subject = make_subject("text-classification")
    weights = ask(subject, "attributions", {"text": TEXT}, method="gradient")["states"]["after"]["weights"]
    encoded = subject.encode(TEXT, {})
    target = target_of(subject, subject.tuned, encoded, {}, {})
    by_head = gates.head_gradients(subject.tuned, target.inputs, target.one).gates
    assert sum(weights) == pytest.approx(sum(float(each.sum()) for each in by_head.values()), rel=1e-3, abs=1e-5)


def test_flow_is_followed_from_where_the_answer_is_read(make_subject: Callable, tmp_path: Path) -> None:
    from studio.attention import paths

    subject = make_subject("text-classification")
    flow = ask(subject, "attributions", {"text": TEXT}, method="flow")["states"]["after"]["weights"]
    subject.explain(TEXT, {}, ("after",), tmp_path, with_attention=True)
    by_hand = paths.max_flow(maps.load(tmp_path).maps["attention"])[0]  # the first token is what is read
    np.testing.assert_allclose(flow, by_hand, atol=1e-5)
    subject.max_length = 200
    with pytest.raises(Failure, match="flow is computed for up to 128"):
        ask(subject, "attributions", {"text": "cup " * 127}, method="flow")


def test_the_answer_is_read_from_where_the_head_looks(make_subject: Callable) -> None:
    """A classifier of BERT reads its first token, a decoder its last; tags are read from every word."""
    for task, family, place in [("text-classification", "bert", 0), ("text-classification", "llama", -1)]:
        reads = ask(make_subject(task, family), "attributions", {"text": TEXT}, method="reads")["states"]["after"]
        assert reads["reads"][place] == pytest.approx(1) and "weights" not in reads
    reads = ask(make_subject("token-classification"), "attributions", {"text": TEXT}, method="reads")["states"]
    assert np.count_nonzero(reads["after"]["reads"]) >= len(TEXT.split())
    one = ask(make_subject("token-classification"), "ablate", {"text": TEXT}, token=3, edits=[])
    assert "“{token}”" in one["target"]["words"] and len(one["states"]["after"]["plain"]["probabilities"]) == 3


def test_two_tokens_of_one_name_have_their_own_chance(make_subject: Callable) -> None:
    """The same word twice in a text: what is asked of one of them is no answer for the other."""
    subject = make_subject("token-classification")
    text = {"text": "the red cup of the old house"}
    tokens = subject.tokenizer.convert_ids_to_tokens(subject.encode("", text)["input_ids"][0].tolist())
    first, second = (i for i, token in enumerate(tokens) if token == "the")
    weights = {"after": list(range(len(tokens)))}
    found = []
    for place in (first, second):
        asked = {"method": "given", "weights": weights, "states": ["after"], "token": place, "label": "B-X"}
        found.append(ask(subject, "attributions", text, **asked))
    assert found[0]["target"] == found[1]["target"]
    one, other = (each["states"]["after"] for each in found)
    assert one["deletion"] != other["deletion"] and one["occlusion"] != other["occlusion"]
    for each in (one, other):
        assert each["random_deletion"][0] == pytest.approx(each["deletion"][0], abs=1e-6)


@pytest.mark.parametrize(
    ("task", "unasked", "asked"),
    [
        ("masked-lm", {"text": "The red cup"}, {"text": "The red [MASK]"}),
        ("multiple-choice", {"question": "which is alive", "option_1": "a red cup"}, FIELDS["multiple-choice"]),
    ],
)
def test_who_is_asked_nothing_answers_nothing(make_subject: Callable, tmp_path: Path, task, unasked, asked) -> None:
    subject = make_subject(task)
    for fields, is_asked in ((unasked, False), (asked, True)):
        answer = reply(subject, Explain(text="-", fields=fields), ("after",), tmp_path)
        assert bool(answer.said) is is_asked and answer.answers == task, fields
    if task == "multiple-choice":  # the score of one option is no answer: it is the target itself
        found = ask(subject, "ablate", unasked, edits=[[0, 0, "zero"]])["states"]["after"]["plain"]
        assert found["answers"] == [] and found["value"] is not None


def test_a_better_order_falls_sooner_and_a_wrong_one_does_not(make_subject: Callable) -> None:
    """Sabotage: occlusion's own order must win, its reverse must lose, and agree with nothing."""
    subject = make_subject("text-classification")
    encoded = subject.encode(TEXT, {})
    target = target_of(subject, subject.tuned, encoded, {}, {})
    free = np.flatnonzero(~target.stays)
    lost = np.array(faithfulness(subject, subject.tuned, target, np.zeros(len(target.stays)), 1)["occlusion"])
    weights = np.zeros(len(target.stays))
    weights[free] = lost
    right, wrong = (faithfulness(subject, subject.tuned, target, sign * weights, 1) for sign in (1, -1))
    assert right["spearman"] == pytest.approx(1) and wrong["spearman"] == pytest.approx(-1)
    assert right["deletion_area"] < wrong["deletion_area"] and right["random_deletion"] == wrong["random_deletion"]
    value = value_function(subject.tuned, target, blank_of(subject.tokenizer))
    alone = np.ones((1, len(free)), dtype=bool)
    alone[0, 2] = False
    assert value(np.ones_like(alone))[0] - value(alone)[0] == pytest.approx(lost[2], abs=1e-6)
    texts = []
    hook = subject.tuned.register_forward_hook(lambda module, args, outputs: texts.append(len(outputs.logits)))
    value = value_function(subject.tuned, target, blank_of(subject.tokenizer))
    assert value(np.concatenate([alone, alone])).tolist() == [*value(alone)] * 2
    hook.remove()
    assert texts == [1], "what is known is not asked again"


def test_all_heads_even_is_a_model_whose_queries_are_nothing(make_subject: Callable) -> None:
    import torch

    subject = make_subject("text-classification")
    found = ask(subject, "attributions", {"text": TEXT}, method="given", weights={
        name: list(range(subject.encode(TEXT, {})["input_ids"].shape[1])) for name in ("before", "after")
    })  # fmt: skip
    best = subject.labels.index(found["target"]["facts"]["label"])
    with torch.no_grad():
        for layer in subject.tuned.bert.encoder.layer:
            layer.attention.self.query.weight.zero_()
            layer.attention.self.query.bias.zero_()
        even = subject.tuned(**subject.encode(TEXT, {})).logits[0].softmax(-1)[best].item()
    assert found["states"]["after"]["uniform"] == pytest.approx(even, abs=1e-5)


def test_what_can_not_be_found_out_says_why(make_subject: Callable, tiny: Callable[[str], Path]) -> None:
    import transformers

    subject = make_subject("text-classification")
    for what in ("target", "faithfulness", "nothing"):
        with pytest.raises(Failure, match="Nobody knows"):
            studies.find(what)
    for edit in ([2, 0, "zero"], [0, 4, "zero"], [0, 0, "louder"]):
        with pytest.raises(Failure, match="There is no head"):
            ask(subject, "ablate", {"text": TEXT}, edits=[edit])
    config = transformers.MPNetConfig(vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                                      intermediate_size=48, num_labels=3)  # fmt: skip
    fixed = transformers.MPNetForSequenceClassification(config).eval()
    tokenizer = models.load_tokenizer(tiny("bert"))
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    other = Subject(fixed, fixed, tokenizer, 64, LABELS["text-classification"])
    asked = Study(what="ablate", text=TEXT, options={"edits": [[0, 0, "zero"]]})
    for what in ("ablate", "importance", "attributions"):
        with pytest.raises(Failure, match="can be seen, but not changed"):
            studies.find(what)(other, asked, ("after",), Path())
    # What needs no heads is found out all the same.
    asked = Study(what="attributions", text=TEXT, options={"method": "integrated"})
    state = studies.find("attributions")(other, asked, ("after",), Path())["result"]["states"]["after"]
    assert state["uniform"] is None and len(state["deletion"]) == len(state["steps"])
    reads = Study(what="attributions", text=TEXT, options={"method": "reads"})
    assert studies.find("attributions")(other, reads, ("after",), Path())["result"]["states"]["after"]["reads"] is None


@pytest.mark.parametrize(
    ("kind", "labels"), [("regression", ["score"]), ("multi_label_classification", ["calm", "angry", "sad"])]
)
def test_a_number_and_several_labels_are_targets_too(make_subject: Callable, kind: str, labels: list[str]) -> None:
    subject = make_subject("text-classification", labels=labels, problem_type=kind)
    state = ask(subject, "ablate", {"text": TEXT}, edits=[[0, 0, "zero"]])["states"]["after"]
    assert (state["plain"]["probabilities"] == {}) == (kind == "regression")
    assert state["plain"]["value"] != state["edited"]["value"]


def test_a_model_without_a_head_is_measured_by_its_vector(tiny: Callable[[str], Path]) -> None:
    import transformers

    model = transformers.AutoModel.from_pretrained(tiny("bert")).eval()
    subject = Subject(model, model, models.load_tokenizer(tiny("bert")), 64, [])
    asked = Study(what="ablate", text=TEXT, options={"edits": [[0, 0, "zero"]]})
    state = studies.find("ablate")(subject, asked, ("after",), Path())["result"]["states"]["after"]
    assert state["plain"]["value"] == pytest.approx(1, abs=1e-5) and state["edited"]["value"] < 1
