"""A model of sentences: tokens pooled to vectors, as sentence-transformers trains and keeps it."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOSS_CLASSES = {
    "multiple-negatives": "MultipleNegativesRankingLoss",
    "triplet": "TripletLoss",
    "cosine": "CosineSimilarityLoss",
    "cosent": "CoSENTLoss",
    "batch-all-triplet": "BatchAllTripletLoss",
}


def as_sentences(model: Any, way: str, is_unit: bool, loss_name: str) -> Any:
    """Return a model whose outputs are `sentence_embedding` and, with labels, the `loss` of sentence-transformers.

    Token ids [row, text, token] give [row, text, channel], with as little padding as sentence-transformers has;
    [text, token] give [text, channel]. way: `mean` or `cls`. is_unit: vectors have the length 1.
    """
    kind = type(model)

    class Sentences(kind):
        def forward(
            self,
            input_ids: Any,
            attention_mask: Any,
            token_type_ids: Any = None,
            labels: Any = None,
            return_dict: bool = True,
        ) -> dict[str, Any]:
            if input_ids.dim() == 2:
                return {"sentence_embedding": self.embed(input_ids, attention_mask, token_type_ids)}
            # As sentence-transformers: the first texts in one pass, all others in a second one.
            n = input_ids.shape[1]
            texts = []
            for places in ([0], list(range(1, n))):
                parts = [None if each is None else each[:, places].transpose(0, 1).flatten(0, 1)
                         for each in (input_ids, attention_mask, token_type_ids)]  # fmt: skip
                if places:
                    texts += self.embed(*without_padding(*parts)).unflatten(0, (len(places), -1)).unbind(0)
            import torch

            found = {"sentence_embedding": torch.stack(texts, 1)}
            if labels is None:
                return found
            with torch.autocast(labels.device.type, enabled=False):
                loss = loss_of(loss_name).compute_loss_from_embeddings([each.float() for each in texts], labels)
            return {"loss": loss} | found

        def embed(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            given = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            tokens = super().forward(input_ids=input_ids, attention_mask=attention_mask, **given)[0]
            return pool(tokens, attention_mask, way, is_unit)

    Sentences.__name__ = Sentences.__qualname__ = kind.__name__  # a saved config names the library's own class
    model.__class__ = Sentences
    model.pooling_way, model.is_unit = way, is_unit
    return model


def without_padding(input_ids: Any, mask: Any, kinds: Any) -> list[Any]:
    """Return batches [text, token] without the tokens that are padding in all texts, but for a multiple of 8."""
    width = -(-int(mask.sum(-1).max()) // 8) * 8
    is_left = bool((mask[:, :width].sum() != mask.sum()).item())
    part = slice(-width, None) if is_left else slice(0, width)
    return [None if each is None else each[:, part] for each in (input_ids, mask, kinds)]


def pool(tokens: Any, mask: Any, way: str, is_unit: bool) -> Any:
    """Return one vector a text of its tokens [text, token, channel], as sentence-transformers does."""
    import torch

    if way == "cls":
        vectors = tokens[:, 0]
    else:
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        vectors = (tokens * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(vectors, dim=-1) if is_unit else vectors


@functools.cache
def loss_of(name: str) -> Any:
    """Return a loss of sentence-transformers, which works on embeddings and knows no model."""
    from sentence_transformers.sentence_transformer import losses
    from torch.nn import Identity

    return getattr(losses, LOSS_CLASSES[name])(Identity())


class SentenceBatch:
    """Makes batches [row, text, token] of features, padded to a multiple of 8 tokens."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        names = [name for name in features[0] if name != "labels"]
        n = len(features[0]["input_ids"])
        flat = [{name: feature[name][i] for name in names} for feature in features for i in range(n)]
        padded = self.tokenizer.pad(flat, return_tensors="pt", pad_to_multiple_of=8)
        batch = {name: values.view(len(features), n, -1) for name, values in padded.items()}
        if "labels" in features[0]:
            batch["labels"] = torch.tensor([feature["labels"] for feature in features])
        return batch


def read_pooling(folder: Path) -> tuple[str, bool]:
    """Return how a folder of sentence-transformers pools (`mean` or `cls`), and whether vectors get the length 1."""
    modules, way, is_unit = folder / "modules.json", "mean", False
    if not modules.is_file():
        return way, is_unit
    for module in json.loads(modules.read_text(encoding="utf-8")):
        is_unit |= module["type"].endswith("Normalize")
        config = folder / module["path"] / "config.json"
        if module["type"].endswith("Pooling") and config.is_file():
            told = json.loads(config.read_text(encoding="utf-8"))
            is_cls = told.get("pooling_mode") == "cls" or told.get("pooling_mode_cls_token")
            way = "cls" if is_cls else "mean"
    return way, is_unit


def write_sentence_folder(folder: Path, way: str, is_unit: bool, width: int) -> None:
    """Add what makes a model's folder one of sentence-transformers."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if is_unit else [])]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    pooling = {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": way == "cls",
        "pooling_mode_mean_tokens": way == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    for path, _ in kinds[1:]:
        (folder / path).mkdir(exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(modules, indent=2), encoding="utf-8")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling, indent=2), encoding="utf-8")
