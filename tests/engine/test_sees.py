"""What the model sees of a row is what it gets."""

from pathlib import Path

import pyarrow as pa

from studio.core.events import Seen
from studio.core.rundir import create_run
from studio.core.spec import ProbeSpec, TrainSpec, parse_spec
from studio.engine import models, sees
from studio.engine.reporter import Reporter
from studio.sources.texts import Texts
from studio.tasks.base import Rows
from studio.tasks.text_classification import Config, TextClassification

TASK = TextClassification(Config())


def seen(folder: Path, max_length: int, **fields: str):
    tokenizer = models.load_tokenizer(folder)
    row = Rows({role: Texts(pa.chunked_array([[text]])) for role, text in fields.items()}, [None], [0])
    encoded = TASK.encode({role: [text] for role, text in fields.items()}, tokenizer, max_length)
    feature = {name: values[0] for name, values in encoded.items()}
    found = sees.seen(TASK, feature, row, tokenizer, ["a"], max_length, "")
    given = [token.text for token in found.tokens if token.kind not in ("cut", "padding")]
    assert tokenizer.convert_tokens_to_ids(given) == feature["input_ids"], "what is given is what stands there"
    return found.tokens


def test_cut_tokens_stand_where_they_are_lost(tiny_model: Path) -> None:
    tokens = seen(tiny_model, 6, text="the apple is red and the pear is ripe")
    kinds = [token.kind for token in tokens]
    assert kinds[0] == "special" and kinds.count("cut") == 5 and kinds[10] == "special", "the end is behind the cut"
    assert kinds[-2:] == ["padding", "padding"], "to the next multiple of 8"
    whole = seen(tiny_model, 64, text="the apple is red and the pear is ripe")
    assert [t.text for t in whole if t.kind == ""] == [t.text for t in tokens if t.kind in ("", "cut")]


def test_a_pair_shows_both_texts(tiny_model: Path) -> None:
    tokens = seen(tiny_model, 64, text="the apple", text_pair="is red")
    assert [t.text for t in tokens if t.kind == ""] == ["the", "apple", "is", "red"]
    assert "cut" not in {token.kind for token in tokens}


def looked_at(workspace: Path, spec: TrainSpec) -> Seen:
    run = create_run(workspace, ProbeSpec(what="rows", train=spec))
    report = Reporter(run)
    found = sees.run(run, spec, report)
    report.close()
    return found


def test_what_the_tokenizer_does_not_know_is_counted_before_the_run(workspace: Path, tiny_spec: dict) -> None:
    data = workspace / "foreign.csv"
    data.write_text("text,label\n" + "".join(f"汉 字 {i} the,{'ab'[i % 2]}\n" for i in range(40)), encoding="utf-8")
    found = looked_at(workspace, parse_spec(tiny_spec | {"data": {"train": str(data)}}))
    given = [t["text"] for text in found.block["texts"] for t in text["tokens"] if t["kind"] != "padding"]
    assert found.unknown_share == given.count("[UNK]") / len(given) > 0.3


def test_rows_that_lose_tokens_are_counted_before_the_run(workspace: Path, tiny_spec: dict) -> None:
    spec = parse_spec(tiny_spec | {"training": {"max_length": 8}})
    found = looked_at(workspace, spec)
    n_longer = sum(
        len(models.load_tokenizer(Path(spec.model))(line.rsplit(",", 1)[0].strip('"'))["input_ids"]) > 8
        for line in Path(spec.data.train.path).read_text().splitlines()[1:]
    )
    assert (found.n_cut, found.n_rows, found.max_length) == (n_longer, 120, 8) and n_longer > 0
    assert found.unknown_share == 0
    assert len(found.block["texts"]) > 10 and "row " in found.block["texts"][0]["note"]
