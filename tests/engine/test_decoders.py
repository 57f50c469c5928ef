"""Looking into encoder-decoders that write: both sides' tokens and all three kinds of maps, T5, BART and Marian."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from studio.attention import maps
from studio.core.commands import Explain, Study
from studio.core.files import read_json
from studio.core.reasons import Failure
from studio.core.spec import InspectSpec
from studio.engine import decoders
from studio.engine import inspect as engine
from tests.attention.tiny_models import make_model

TEXT, GIVEN = "word5 word9 word9 word31", "word7 word12 word40"
CLASSES = {
    "t5": transformers.T5ForConditionalGeneration,
    "bart": transformers.BartForConditionalGeneration,
    "marian": transformers.MarianMTModel,
}


def save_folder(folder, model):
    """Write a model with a tokenizer of words, which ends each text with an end token."""
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", *(f"word{i}" for i in range(3, 60))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A $B </s>", [("</s>", 2)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<pad>",
        model_max_length=64, model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    model.save_pretrained(folder)
    return folder


def make_writer(family):
    """Return a model with heads far from uniform that writes several words before it ends."""
    model = make_model(family, CLASSES[family])
    if family != "marian":
        model.generation_config.forced_eos_token_id = None
    return model


@pytest.fixture(scope="module", params=list(CLASSES))
def writer(request, tmp_path_factory):
    """The subject of a folder, and its model loaded without the engine."""
    folder = save_folder(tmp_path_factory.mktemp(request.param), make_writer(request.param))
    own = CLASSES[request.param].from_pretrained(folder, attn_implementation="eager").eval()
    return engine.load_subject(Path(), InspectSpec(model=str(folder))), own


def ids_of(subject, tokens):
    return torch.tensor([subject.tokenizer.convert_tokens_to_ids(tokens)])


def greedy(model, ids, most):
    """Return what the decoder reads while the model writes, one most likely token after the other."""
    read = [model.config.decoder_start_token_id]
    with torch.inference_mode():
        for _ in range(most):
            logits = model(input_ids=ids, decoder_input_ids=torch.tensor([read])).logits[0, -1]
            for never in model.generation_config.bad_words_ids or []:
                logits[never] = -torch.inf
            if (following := int(logits.argmax())) == model.config.eos_token_id:
                break
            read.append(following)
    return read


@pytest.mark.parametrize("given", ["", GIVEN])
def test_maps_of_three_kinds_are_the_models_own_with_the_tokens_of_both_sides(writer, given, tmp_path, monkeypatch):
    subject, model = writer
    monkeypatch.setattr(decoders, "MOST_WRITTEN", 6)
    subject._last_written = None
    answer = engine.reply(subject, Explain(text=TEXT, fields={"text": TEXT, "text_pair": given}), ("after",), tmp_path)
    ids = ids_of(subject, [*TEXT.split(), "</s>"])
    written = greedy(model, ids, 6)
    if model.config.model_type == "marian":
        written = written[:6]  # its sixth word is an end token, for its config forces one
    start = model.config.decoder_start_token_id
    read = written if not given else [start, *ids_of(subject, given.split())[0].tolist()]

    saved = maps.load(Path(answer.directories["after"]))
    assert saved.checks["verified"] is True and list(saved.maps) == ["encoder", "decoder", "cross"]
    assert saved.tokens == [*TEXT.split(), "</s>"]
    assert saved.facts["decoder_ids"] == read and len(read) > 3
    assert saved.facts["decoder_tokens"] == subject.tokenizer.convert_ids_to_tokens(read)
    assert saved.facts["decoder_special"] == [token < 3 for token in read]
    with torch.inference_mode():
        own = model(input_ids=ids, decoder_input_ids=torch.tensor([read]), output_attentions=True)
    for kind in ("encoder", "decoder", "cross"):
        expected = torch.cat(getattr(own, f"{kind}_attentions")).numpy()
        np.testing.assert_allclose(saved.maps[kind], expected, atol=1e-5)
    assert saved.maps["cross"].shape[2:] == (len(read), 5)
    assert np.triu(saved.maps["decoder"], 1).max() == 0
    # What it says is what it would write, whatever its decoder was given.
    said = subject.tokenizer.decode(written, skip_special_tokens=True)
    assert said and answer.said == {"after": said}


SUFFIXES = {
    "encoder": ("encoder", ("SelfAttention", "self_attn")),
    "decoder": ("decoder", ("SelfAttention", "self_attn")),
    "cross": ("decoder", ("EncDecAttention", "encoder_attn")),
}


def ask(subject, what, given=GIVEN, states=("after",), **options):
    asked = Study(what=what, text=TEXT, fields={"text": TEXT, "text_pair": given}, options=options)
    return engine.reply(subject, asked, states, Path()).result


def silence(model, kind, layer, head):
    """Take a head's slice out of the projection behind it."""
    side, endings = SUFFIXES[kind]
    found = [each for name, each in model.named_modules() if f"{side}." in name and name.endswith(endings)]
    weight = getattr(found[layer], "o", None) or found[layer].out_proj
    width = weight.weight.shape[1] // (model.config.num_attention_heads if kind == "encoder" else _heads(model))
    with torch.no_grad():
        weight.weight[:, head * width : (head + 1) * width] = 0


def _heads(model):
    return getattr(model.config, "decoder_attention_heads", model.config.num_attention_heads)


@pytest.mark.parametrize("kind", list(SUFFIXES))
def test_a_head_of_each_kind_is_silenced_as_by_hand(writer, kind, tmp_path):
    subject, own = writer
    ids, labels = (ids_of(subject, [*text.split(), "</s>"]) for text in (TEXT, GIVEN))
    with torch.inference_mode():
        plain = own(input_ids=ids, labels=labels).loss.item()
    edited = copy.deepcopy(own)
    silence(edited, kind, 1, 1)
    with torch.inference_mode():
        by_hand = edited(input_ids=ids, labels=labels).loss.item()
        third = edited(input_ids=ids, labels=labels).logits[0, 2].softmax(-1)[labels[0, 2]].item()
    state = ask(subject, "ablate", kind=kind, edits=[[1, 1, "zero"]])["states"]["after"]
    for found, loss in ((state["plain"], plain), (state["edited"], by_hand)):
        assert found["loss"] == pytest.approx(loss, abs=1e-4)
        assert found["value"] == pytest.approx(np.exp(-loss), rel=1e-4)
    assert abs(by_hand - plain) > 1e-4
    one = ask(subject, "ablate", kind=kind, edits=[[1, 1, "zero"]], token=2)
    if kind == "encoder":  # whose tokens are not the decoder's: no place of it is meant
        assert one["states"]["after"] == state
    else:
        assert one["states"]["after"]["edited"]["value"] == pytest.approx(third, rel=1e-4)
        assert one["target"]["facts"] == {"token": "word40", "before": "word12"}


def test_what_is_written_without_some_heads_is_written_anew(writer):
    subject, own = writer
    subject._written.clear()  # of fewer tokens, in another test
    edits = [[layer, head, "zero"] for layer in range(3) for head in range(_heads(own))]
    edited = copy.deepcopy(own)
    for layer, head, _ in edits:
        silence(edited, "cross", layer, head)
    found = ask(subject, "ablate", "", kind="cross", edits=edits)["states"]["after"]
    ids = ids_of(subject, [*TEXT.split(), "</s>"])
    for name, model in (("plain", own), ("edited", edited)):
        written = greedy(model, ids, decoders.MOST_WRITTEN)
        if model.config.model_type == "marian":
            written = written[: decoders.MOST_WRITTEN]  # its config forces the last token to be an end token
        assert found[name]["answers"] == [subject.tokenizer.decode(written, skip_special_tokens=True).strip()]
    assert found["plain"]["value"] != found["edited"]["value"]
    with pytest.MonkeyPatch.context() as patch:  # what it writes with all heads is known by now
        asked, real = [], decoders.written
        patch.setattr(decoders, "written", lambda *given: asked.append(given) or real(*given))
        assert ask(subject, "ablate", "", kind="cross", edits=edits)["states"]["after"] == found
    assert len(asked) == 1


def test_of_two_models_each_says_what_it_writes_itself(tmp_path):
    first, second = make_writer("bart"), make_writer("bart")
    second.final_logits_bias[0, 12] = 1e3
    names = [str(save_folder(tmp_path / name, model)) for name, model in (("first", first), ("second", second))]
    subject = engine.load_subject(Path(), InspectSpec(model=names[0], against={"model": names[1]}))
    answer = engine.reply(subject, Explain(text=TEXT), ("before", "after"), tmp_path / "maps")
    assert set(answer.said["before"].split()) == {"word12"} and "word12" not in answer.said["after"]
    found = ask(subject, "ablate", "", states=("before", "after"), edits=[])["states"]
    assert {name: each["plain"]["answers"][0] for name, each in found.items()} == answer.said
    # What the decoder reads is the same of both, else their maps could not be compared.
    facts = [read_json(tmp_path / "maps" / name / "tokens.json")["decoder_tokens"] for name in answer.said]
    assert facts[0] == facts[1]


@pytest.mark.parametrize("kind", list(SUFFIXES))
def test_importance_of_each_kind_is_what_a_little_less_of_a_head_does(writer, kind):
    subject, own = writer
    matters = np.array(ask(subject, "importance", kind=kind)["states"]["after"])
    assert matters.shape == ((2, own.config.num_attention_heads) if kind == "encoder" else (3, _heads(own)))
    less, more = (
        ask(subject, "ablate", kind=kind, edits=[[1, 1, factor]])["states"]["after"]["edited"]["loss"]
        for factor in (0.99, 1.01)
    )
    assert matters[1, 1] == pytest.approx(abs(more - less) / 0.02, rel=0.05, abs=1e-4)


def test_a_written_text_is_explained_by_the_text_that_was_read(writer):
    subject, _ = writer
    for kind in ("encoder", "cross"):
        for method in ("gradient", "relevance", "integrated"):
            state = ask(subject, "attributions", kind=kind, method=method)["states"]["after"]
            weights = np.array(state["weights"])
            assert weights.shape == (5,) and np.abs(weights).max() > 0
            assert method != "relevance" or (weights >= 0).all()
            assert method != "integrated" or state["missing"] <= 0.05
            value = ask(subject, "ablate", edits=[])["states"]["after"]["plain"]["value"]
            assert state["deletion"][0] == pytest.approx(value, abs=1e-6) and state["uniform"] is not None
    assert len(ask(subject, "attributions", kind="encoder", method="flow")["states"]["after"]["weights"]) == 5
    for kind, method in (("decoder", "gradient"), ("cross", "flow")):
        with pytest.raises(Failure, match="has no meaning"):
            ask(subject, "attributions", kind=kind, method=method)
    with pytest.raises(Failure, match="no vision attention"):
        ask(subject, "importance", kind="vision")


def test_vectors_are_the_encoders_and_what_is_too_long_is_refused(writer, tmp_path):
    subject, _ = writer
    asked = Study(what="vectors", text=TEXT, options={"layer": 1, "head": 3})
    vectors = engine.reply(subject, asked, ("after",), tmp_path)
    assert vectors.result["states"]["after"]["error"] <= 1e-5
    with pytest.raises(Failure) as refused:
        long = " ".join(["word5"] * 520)
        engine.reply(subject, Explain(text=TEXT, fields={"text": TEXT, "text_pair": long}), ("after",), tmp_path)
    assert refused.value.problem.reason == "text-too-long"


def test_a_folder_without_its_decoder_is_refused(tmp_path):
    encoder = make_writer("t5").get_encoder()
    encoder.config.is_encoder_decoder = True
    save_folder(tmp_path, encoder)
    with pytest.raises(Failure) as refused:
        engine.load_subject(Path(), InspectSpec(model=str(tmp_path)))
    assert refused.value.problem.reason == "writer-incomplete" and "decoder" in refused.value.problem.facts["first"]


def test_a_classifiers_decoder_has_its_tokens_too(tmp_path):
    save_folder(tmp_path, make_model("bart"))
    subject = engine.load_subject(Path(), InspectSpec(model=str(tmp_path)))
    answer = engine.reply(subject, Explain(text=TEXT), ("after",), tmp_path / "out")
    facts = read_json(tmp_path / "out" / "tokens.json")
    assert facts["decoder_tokens"] == ["</s>", *TEXT.split()] and not subject.writes
    assert sum(answer.probabilities["after"].values()) == pytest.approx(1, abs=1e-5) and not answer.said
