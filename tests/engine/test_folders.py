"""Model folders with heads of their own: what they say is what transformers says, and their heads can be studied."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from studio.attention import gates, maps
from studio.core.anatomy import HEADLESS
from studio.core.commands import Explain, Study
from studio.core.spec import InspectSpec
from studio.engine import inspect as engine
from tests.attention.tiny_models import make_model

TEXT = "word5 word9 word9 word31 word17"
WRITING = {
    "gpt2": transformers.GPT2LMHeadModel,
    "llama": transformers.LlamaForCausalLM,
    "mistral": transformers.MistralForCausalLM,
    "gpt_neox": transformers.GPTNeoXForCausalLM,
    "gemma2": transformers.Gemma2ForCausalLM,
}
HIDING = {
    "bert": transformers.BertForMaskedLM,
    "roberta": transformers.RobertaForMaskedLM,
    "distilbert": transformers.DistilBertForMaskedLM,
    "electra": transformers.ElectraForMaskedLM,
    "modernbert": transformers.ModernBertForMaskedLM,
}
OTHERS = {
    "bert": [transformers.BertForTokenClassification, transformers.BertForQuestionAnswering],
    "distilbert": [transformers.DistilBertForTokenClassification, transformers.DistilBertForQuestionAnswering],
}


def save(folder: Path, model) -> Path:
    """Write a model with a tokenizer of words that adds nothing to a text."""
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<mask>", "<unk>", *(f"word{i}" for i in range(3, 60))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    model.save_pretrained(folder)
    return folder


def opened(folder: Path, kind, family: str, **changes):
    """Return the subject of a folder, its model loaded without the engine, and what it says of TEXT."""
    save(folder, make_model(family, kind, **changes))
    subject = engine.load_subject(Path(), InspectSpec(model=str(folder)))
    own = kind.from_pretrained(folder).eval()
    return subject, own


def ask(subject, what, text=TEXT, **options):
    asked = Study(what=what, text=text, options=options)
    return SimpleNamespace(**engine.reply(subject, asked, ("after",), Path()).result)


@pytest.mark.parametrize("family", WRITING)
def test_a_language_model_says_what_comes_next_and_its_heads_are_studied(family, tmp_path):
    subject, own = opened(tmp_path / "model", WRITING[family], family)
    encoded = subject.encode(TEXT, {})
    with torch.inference_mode():
        expected = own(**encoded, labels=encoded["input_ids"])
        assert torch.equal(subject.tuned(**encoded).logits, expected.logits)
    shares = expected.logits[0, -1].softmax(-1)
    answer = engine.reply(subject, Explain(text=TEXT), ("after",), tmp_path / "maps")
    best, share = next(iter(answer.probabilities["after"].items()))
    assert best == subject.tokenizer.convert_ids_to_tokens(int(shares.argmax()))
    assert share == pytest.approx(shares.max().item(), abs=1e-6) and answer.answers == "next-token"
    saved = maps.load(Path(answer.directories["after"]))
    assert saved.checks["verified"] is True
    own.set_attn_implementation("eager")
    with torch.inference_mode():
        eager = torch.cat(own(**encoded, output_attentions=True).attentions).numpy()
    np.testing.assert_allclose(saved.maps["attention"], eager, atol=1e-5)

    edited = ask(subject, "ablate", edits=[[1, 2, "zero"]])
    state = edited.states["after"]
    assert edited.target["facts"] == {"token": best} and edited.target["per_token"]
    assert state["plain"]["value"] == pytest.approx(shares.max().item(), abs=1e-5)
    assert state["plain"]["loss"] == pytest.approx(expected.loss.item(), abs=1e-4)
    assert state["edited"]["value"] != pytest.approx(state["plain"]["value"], abs=1e-6)
    # Of the same tokens before and after, whichever are the likeliest then.
    module = saved.facts["modules"]["attention"][1]
    module = next(name for name, _ in own.named_modules() if name.endswith(module))
    with torch.inference_mode(), gates.ablated(own, {module: {2: "zero"}}):
        changed = own(**encoded).logits[0, -1].softmax(-1)
    assert list(state["edited"]["probabilities"]) == list(state["plain"]["probabilities"])
    for name, found in state["edited"]["probabilities"].items():
        assert found == pytest.approx(changed[subject.tokenizer.convert_tokens_to_ids(name)].item(), abs=1e-6)
    assert np.shape(ask(subject, "importance").states["after"]) == saved.maps["attention"].shape[:2]
    for method in ("gradient", "relevance", "integrated", "flow"):
        weights = ask(subject, "attributions", method=method).states["after"]["weights"]
        assert len(weights) == len(TEXT.split()) and np.abs(weights).max() > 0


def test_the_token_that_is_asked_about_may_be_another_one(tmp_path):
    subject, own = opened(tmp_path, WRITING["llama"], "llama")
    with torch.inference_mode():
        shares = own(**subject.encode(TEXT, {})).logits[0].softmax(-1)
    words = [subject.tokenizer.convert_tokens_to_ids(word) for word in TEXT.split()]
    follows = ask(subject, "ablate", edits=[], token=2)  # what the text goes on with after its third token
    assert follows.target["facts"] == {"token": "word31", "before": "word9"}
    assert follows.states["after"]["plain"]["value"] == pytest.approx(shares[2, words[3]].item(), abs=1e-6)
    named = ask(subject, "ablate", edits=[], label="word40")
    assert named.states["after"]["plain"]["value"] == pytest.approx(shares[-1, 40].item(), abs=1e-6)
    assert ask(subject, "ablate", edits=[], label="<pad>").target["facts"]["token"] == "<pad>"  # whose id is 0
    # What comes after the place that is asked about has no part in it.
    assert ask(subject, "attributions", token=2, method="gradient").stays == [False, False, False, True, True]


@pytest.mark.parametrize("family", HIDING)
def test_a_masked_word_is_answered_for(family, tmp_path):
    subject, own = opened(tmp_path / "model", HIDING[family], family)
    text = "word5 <mask> word9 word31"
    encoded = subject.encode(text, {})
    with torch.inference_mode():
        logits = own(**encoded).logits
        assert torch.equal(subject.tuned(**encoded).logits, logits)
    shares = logits[0, 1].softmax(-1)
    answer = engine.reply(subject, Explain(text=text), ("after",), tmp_path / "maps")
    best, share = max(answer.probabilities["after"].items(), key=lambda item: item[1])
    assert best == subject.tokenizer.convert_ids_to_tokens(int(shares.argmax()))
    assert share == pytest.approx(shares.max().item(), abs=1e-6)
    assert maps.load(Path(answer.directories["after"])).checks["verified"] is True
    edited = ask(subject, "ablate", text, edits=[[0, 0, "zero"]])
    assert edited.states["after"]["plain"]["value"] == pytest.approx(share, abs=1e-6)
    unasked = engine.reply(subject, Explain(text=TEXT), ("after",), tmp_path / "maps")
    assert unasked.probabilities == {"after": {}} and not unasked.said


def test_a_masked_word_is_told_as_people_write_it(tmp_path):
    subject, _ = opened(tmp_path / "model", HIDING["bert"], "bert")
    subject.tokenizer.backend_tokenizer.decoder = decoders.Replace("word", "·")  # as bytes of a BPE become letters
    answer = engine.reply(subject, Explain(text="word5 <mask> word9"), ("after",), tmp_path / "maps")
    best = max(answer.probabilities["after"], key=answer.probabilities["after"].get)
    assert best.startswith("·")
    target = ask(subject, "ablate", "word5 <mask> word9", edits=[[0, 0, "zero"]]).target
    assert target["facts"] == {"token": best}


@pytest.mark.parametrize(("family", "kind"), [("llama", WRITING["llama"]), ("bert", HIDING["bert"])])
def test_a_vocabulary_may_be_larger_than_its_tokenizers(family, kind, tmp_path):
    """Of a round size, as of many published models: what has no name has a number."""
    subject, _ = opened(tmp_path / "model", kind, family, vocab_size=4096)
    text = "word5 <mask> word9"
    answer = engine.reply(subject, Explain(text=text), ("after",), tmp_path / "maps")
    assert len(answer.probabilities["after"]) == 5
    assert sum(name.startswith("#") for name in answer.probabilities["after"]) > 3
    found = ask(subject, "ablate", text, edits=[[0, 0, "zero"]])
    assert found.target["facts"]["token"] == next(iter(answer.probabilities["after"]))


@pytest.mark.parametrize("family", OTHERS)
def test_tags_and_answers_to_questions_are_said_too(family, tmp_path):
    for_tags, for_questions = OTHERS[family]
    subject, own = opened(tmp_path / "tags", for_tags, family, num_labels=3, id2label={0: "O", 1: "B", 2: "I"})
    with torch.inference_mode():
        tags = own(**subject.encode(TEXT, {})).logits[0].argmax(-1).tolist()
    answer = engine.reply(subject, Explain(text=TEXT), ("after",), tmp_path / "maps")
    assert answer.said == {"after": " ".join("OBI"[tag] for tag in tags)}
    assert "tags" in ask(subject, "ablate", edits=[[0, 0, "zero"]]).target["words"]

    subject, own = opened(tmp_path / "questions", for_questions, family, num_labels=2)
    with torch.inference_mode():
        out = own(**subject.encode(TEXT, {}))
    sums = np.triu(out.start_logits[0].numpy()[:, None] + out.end_logits[0].numpy()[None] + 1000)
    start, end = np.unravel_index(sums.argmax(), sums.shape)
    answer = engine.reply(subject, Explain(text=TEXT), ("after",), tmp_path / "maps")
    assert answer.said == {"after": " ".join(TEXT.split()[start : end + 1])}


def test_a_head_that_is_not_in_the_folder_is_not_drawn_at_random(tmp_path):
    model = make_model("bert", transformers.BertModel)
    model.config.architectures = None
    save(tmp_path, model)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    for name in ("BertForMaskedLM", "BertForTokenClassification", "BertForSequenceClassification", "BertLMHeadModel"):
        config.architectures = [name]
        config.save_pretrained(tmp_path)
        subject = engine.load_subject(Path(), InspectSpec(model=str(tmp_path)))
        assert type(subject.tuned) is transformers.BertModel and subject.answers == "embeddings", name
        assert not subject.labels
        answer = engine.reply(subject, Explain(text=TEXT), ("after",), tmp_path / "maps")
        assert answer.answers == HEADLESS and not answer.said, "and that is told"
