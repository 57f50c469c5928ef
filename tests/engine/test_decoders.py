"""Looking into encoder-decoders that write: both sides' tokens and all three kinds of maps, T5, BART and Marian."""

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
    return engine._load_folder(InspectSpec(model=str(folder))), own


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
    answer = subject.reply(Explain(text=TEXT, fields={"text": TEXT, "text_pair": given}), ("after",), tmp_path)
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


def test_one_number_of_a_written_text_is_refused_and_what_is_too_long_too(writer, tmp_path):
    subject, _ = writer
    with pytest.raises(Failure) as refused:
        subject.reply(Study(what="ablate", text=TEXT, options={"edits": [[0, 0, "zero"]]}), ("after",), tmp_path)
    assert refused.value.problem.reason == "target-written"
    vectors = subject.reply(Study(what="vectors", text=TEXT, options={"layer": 1, "head": 3}), ("after",), tmp_path)
    assert vectors.result["states"]["after"]["error"] <= 1e-5
    with pytest.raises(Failure) as refused:
        long = " ".join(["word5"] * 520)
        subject.reply(Explain(text=TEXT, fields={"text": TEXT, "text_pair": long}), ("after",), tmp_path)
    assert refused.value.problem.reason == "text-too-long"


def test_a_folder_without_its_decoder_is_refused(tmp_path):
    encoder = make_writer("t5").get_encoder()
    encoder.config.is_encoder_decoder = True
    save_folder(tmp_path, encoder)
    with pytest.raises(Failure) as refused:
        engine._load_folder(InspectSpec(model=str(tmp_path)))
    assert refused.value.problem.reason == "writer-incomplete" and "decoder" in refused.value.problem.facts["first"]


def test_a_classifiers_decoder_has_its_tokens_too(tmp_path):
    save_folder(tmp_path, make_model("bart"))
    subject = engine._load_folder(InspectSpec(model=str(tmp_path)))
    answer = subject.reply(Explain(text=TEXT), ("after",), tmp_path / "out")
    facts = read_json(tmp_path / "out" / "tokens.json")
    assert facts["decoder_tokens"] == ["</s>", *TEXT.split()] and not subject.writes
    assert sum(answer.probabilities["after"].values()) == pytest.approx(1, abs=1e-5) and not answer.said
