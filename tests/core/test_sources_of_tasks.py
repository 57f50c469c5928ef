"""Sentences of tokens, questions, spans and plain texts, as people really have them."""

import json

import pytest

from studio.core.reasons import Failure, describe
from studio.core.registry import family, parse_config
from studio.core.spec import DataSpec, parse_spec
from studio.sources.decoding import beginning
from studio.sources.tables import open_table, source_for

IOB1 = """\
-DOCSTART- -X- -X- O

Ada NNP I-NP I-PER
Bob NNP B-NP B-PER
left VBD I-VP O

Rome NNP I-NP I-LOC
"""
TAGS = ["B-PER B-PER O", "B-LOC"]


@pytest.fixture
def read(tmp_path):
    """Write a file and open it as the window does, or as the source `kind`."""

    def read(name, content, kind=None, **options):
        path = tmp_path / "my data ü" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        config = source_for(path) if kind is None else parse_config("sources", {"kind": kind, "path": str(path)})
        opened = open_table(config.model_copy(update=options), tmp_path / "workspace")
        again = open_table(opened.config, tmp_path / "other")
        assert again.table.equals(opened.table) and again.config == opened.config, "what was found reads the same"
        assert all(field.type == "string" for field in opened.table.schema)
        return opened

    return read


def told(opened):
    """Return the problems by reason, and see that each has all its words."""
    for problem in opened.problems:
        described = describe(problem.reason, problem.facts)
        assert "?: " not in f"{described.title} {described.hint}" and described.reason == problem.reason
        assert not problem.field, "what a file has of odd rows keeps no training from starting"
    return {problem.reason: problem.facts for problem in opened.problems}


def refused(read, *arguments, **options):
    with pytest.raises(Failure) as caught:
        read(*arguments, **options)
    assert caught.value.problem.field == "data.train"
    return caught.value.problem


# --- CoNLL columns ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "scheme"),
    [
        ("iob1.conll", IOB1, "iob1"),
        ("iob1.txt", IOB1.replace("-DOCSTART- -X- -X- O\n\n", ""), "iob1"),
        ("tabs.tsv", IOB1.replace(" ", "\t"), "iob1"),
        ("crlf.bio", IOB1.replace("\n", "\r\n"), "iob1"),
        ("old-mac.iob", IOB1.replace("\n", "\r"), "iob1"),
        ("bom.conll", b"\xef\xbb\xbf" + IOB1.encode(), "iob1"),
        ("utf16.txt", IOB1.encode("utf-16"), "iob1"),
        ("no-last-newline.conll", IOB1.rstrip("\n"), "iob1"),
        ("many-blanks.txt", IOB1.replace(" ", "   ").replace("\n\n", "\n \n\n\t\n"), "iob1"),
        ("comments.conll", "# sent_id = 1\n# text = Ada\n" + IOB1.replace("\nRome", "\n# newdoc id = x\nRome"), "iob1"),
        ("iob2.conll", IOB1.replace("I-PER", "B-PER").replace("I-LOC", "B-LOC"), "iob2"),
        ("iobes.conll", IOB1.replace("I-PER", "S-PER").replace("B-PER", "S-PER").replace("I-LOC", "S-LOC"), "iobes"),
        ("bilou.conll", IOB1.replace("I-PER", "U-PER").replace("B-PER", "U-PER").replace("I-LOC", "U-LOC"), "iobes"),
    ],
)  # fmt: skip
def test_every_way_to_write_tags_gives_the_same_sentences(read, name, content, scheme):
    opened = read(name, content)
    assert opened.config.kind == "conll" and opened.config.scheme == scheme and opened.problems == []
    assert opened.table.to_pydict() == {
        "tokens": ["Ada Bob left", "Rome"],
        "column 2": ["NNP NNP VBD", "NNP"],
        "column 3": ["B-NP B-NP B-VP", "B-NP"],
        "tags": TAGS,
    }


def test_entities_of_several_tokens_keep_their_borders(read):
    def tags(*values, **options):
        opened = read("t.conll", "".join(f"w {value}\n" for value in values), **options)
        return opened.table["tags"].to_pylist()[0].split(), opened

    iob2 = ["B-A", "I-A", "B-A", "O", "B-B", "B-A"]
    for written in (
        ["I-A", "I-A", "B-A", "O", "I-B", "I-A"],
        iob2,
        ["B-A", "E-A", "S-A", "O", "S-B", "S-A"],
        ["B-A", "L-A", "U-A", "O", "U-B", "U-A"],
    ):
        found, opened = tags(*written)
        assert found == iob2 and opened.problems == []
    found, opened = tags("B-A", "I-A", "O", "I-A", "B-B", "I-A")
    assert found == ["B-A", "I-A", "O", "B-A", "B-B", "B-A"]
    assert told(opened) == {"tags-can-not-follow": {"n_tags": 2, "tag": "I-A", "line": 4}}
    found, opened = tags("B-A", "E-A", "I-A", "E-A", "S-A")
    assert found == ["B-A", "I-A", "B-A", "I-A", "B-A"]
    assert told(opened)["tags-can-not-follow"] == {"n_tags": 1, "tag": "I-A", "line": 3}
    found, opened = tags("I-A", "I-A", "O", scheme="iob2")
    assert found == ["B-A", "I-A", "O"] and told(opened)["tags-can-not-follow"]["line"] == 1
    assert tags("I-A", "I-A", "O", scheme="none")[0] == ["I-A", "I-A", "O"]


def test_parts_of_speech_stay_as_they_are(read):
    opened = read("pos.conll", "The DET\ncat NOUN\n\n# NOUN\n1 NUM\n")
    assert opened.config.scheme == "none" and opened.problems == []
    assert opened.table.to_pydict() == {"tokens": ["The cat", "# 1"], "tags": ["DET NOUN", "NOUN NUM"]}


def test_numbers_of_tokens_and_lines_of_no_token_are_left_out(read):
    row = "{}\t{}\t{}\tX\tY\t_\t0\troot\t_\tSpaceAfter=No\n".format
    sentence = row("1-2", "du", "_") + row(1, "de", "de") + row(2, "le", "le") + row("2.1", "gap", "_")
    opened = read("fr.conllu", f"# text = du chat\n{sentence}{row(3, '1 000', 'mille')}\n{row(1, 'Oui', 'oui')}")
    assert opened.table["tokens"].to_pylist() == ["de le 1_000", "Oui"]
    assert opened.table.column_names[:3] == ["tokens", "column 3", "column 4"]
    assert opened.table["column 4"].to_pylist() == ["X X X", "X"]
    assert told(opened) == {"blanks-in-tokens": {"n_tokens": 1}}
    odd = read("odd.conll", "\u3000 O\na\u00a0b B-X\n")
    assert odd.table["tokens"].to_pylist() == ["_ a_b"] and told(odd) == {"blanks-in-tokens": {"n_tokens": 2}}


def test_sentences_with_ragged_lines_are_left_out_and_told_by_their_line(read):
    opened = read("ragged.conll", IOB1 + "\nParis NNP I-LOC\nis VBZ I-VP O\n\nOslo NNP I-NP I-LOC\n")
    assert opened.table["tokens"].to_pylist() == ["Ada Bob left", "Rome", "Oslo"]
    assert told(opened) == {"ragged-sentences": {"n_rows": 1, "width": 4, "line": 9, "text": "Paris NNP I-LOC"}}
    problem = refused(read, "torn.conll", "a O\nb\n\nc O\nd\n\ne O\n")
    assert problem.reason == "data-parse" and problem.facts["message"].startswith("Line 2 has not the 2 columns")


@pytest.mark.parametrize(
    ("content", "reason", "said"),
    [
        ("", "data-empty", ""),
        ("\n \n", "data-empty", ""),
        ("# only a comment\n", "data-empty", ""),
        ("\n-DOCSTART-\n\none\ntwo\n", "data-parse", "one column, from line 4 on"),
        ("w B-A\n" * 30 + "w 0\n", "data-parse", "Line 31: 0 is no tag of IOB2"),
    ],
)
def test_a_file_that_is_no_conll_says_what_to_do(read, content, reason, said):
    problem = refused(read, "bad.conll", content)
    assert problem.reason == reason and said in problem.facts.get("message", "")
    assert told(read("all.conll", "a O\nb O\n")) == {"no-tags": {"line": 1}}
    assert "Line 1: S-A is no tag of IOB2" in refused(read, "s.conll", "a S-A\n", scheme="iob2").facts["message"]


def test_blanks_among_tabs_are_between_columns_where_all_lines_have_them(read):
    opened = read("mixed.conll", "Ada\tNNP B-PER\nleft VBD\tO\n\nRome\tNNP B-LOC\n")
    assert opened.table.to_pylist()[0] == {"tokens": "Ada left", "column 2": "NNP VBD", "tags": "B-PER O"}
    one = read("blank.conll", "New York\tB-LOC\nis\tO\n\nRome\tB-LOC\n")
    assert one.table["tokens"].to_pylist() == ["New_York is", "Rome"]


# --- questions -------------------------------------------------------------------------------------------------------


def nested(*questions, context="Ada met Bob. 🙂 Ada left."):
    return {"version": "v2.0", "data": [{"title": "A", "paragraphs": [{"context": context, "qas": list(questions)}]}]}


WHO = {"id": "1", "question": "Who left?", "answers": [{"text": "Ada", "answer_start": 15}]}
NOBODY = {"id": "2", "question": "Who came?", "answers": [], "is_impossible": True, "plausible_answers": WHO["answers"]}
FLAT = [
    {"id": "1", "title": "A", "context": "Ada met Bob. 🙂 Ada left.", "question": "Who left?", "level": 3,
     "answers": {"text": ["Ada"], "answer_start": [15]}},
    {"id": "2", "title": "A", "context": "Ada met Bob. 🙂 Ada left.", "question": "Who came?", "level": 4,
     "answers": {"text": [], "answer_start": []}},
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v2.json", json.dumps(nested(WHO, NOBODY))),
        ("v1-bom.json", b"\xef\xbb\xbf" + json.dumps(nested(WHO, NOBODY), ensure_ascii=False, indent=1).encode()),
        ("list.json", json.dumps(nested(WHO, NOBODY)["data"])),
        ("blanks.json", json.dumps(nested(WHO | {"answers": [{"text": "Ada", "answer_start": 17}]}, NOBODY,
                                          context=" \nAda met Bob. 🙂 Ada left. "))),
        ("flat.json", json.dumps(FLAT)),
        ("flat.jsonl", "\r\n".join(json.dumps(row) for row in FLAT)),
        ("flat-list.json", json.dumps({"data": [FLAT[0] | {"answers": WHO["answers"]}, FLAT[1] | {"answers": None}]})),
    ],
)  # fmt: skip
def test_every_shape_of_questions_gives_the_same_rows(read, name, content):
    opened = read(name, content)
    assert opened.config.kind == "squad" and opened.problems == []
    rows = opened.table.to_pylist()
    assert [row.pop("level", "") for row in rows] == (["3", "4"] if "flat" in name else ["", ""])
    assert [json.loads(row.pop("answers")) for row in rows] == [row["answers"] for row in FLAT]
    assert rows == [{name: row[name] for name in ("id", "title", "context", "question")} for row in FLAT]


def test_answers_that_stand_elsewhere_are_told(read):
    wrong = WHO | {"answers": [{"text": "Ada", "answer_start": 15}, {"text": "Ada", "answer_start": 14}]}
    opened = read("off.json", json.dumps(nested(WHO, wrong, WHO | {"answers": ["Ada", "Eve"]})))
    assert told(opened) == {"answers-misplaced": {"n_answers": 2, "row": 2, "text": "Ada"}}
    assert json.loads(opened.table["answers"][2].as_py()) == {"text": ["Ada", "Eve"], "answer_start": [0, -1]}


def test_nothing_is_left_out_in_silence(read):
    opened = read("some.json", json.dumps(nested(WHO, {"id": "7", "answers": []}, {"id": "8", "question": "Where?"})))
    assert told(opened) == {"no-question": {"n_rows": 1, "text": '{"id": "7", "answers": []}'}}
    assert opened.table["answers"].to_pylist()[1] == "", "nothing is said of an answer, not that there is none"
    without = {"data": [{"paragraphs": [{"qas": [WHO]}]}]}
    assert "no question with a context" in refused(read, "no-context.json", json.dumps(without)).facts["message"]


@pytest.mark.parametrize(("name", "n_characters"), [("q.json", -30), ("q.json", -1), ("rows.jsonl", -20)])
def test_a_file_that_was_cut_off_says_so(read, name, n_characters):
    content = json.dumps(nested(WHO)) if name == "q.json" else "\n".join(map(json.dumps, FLAT))
    assert "cut off" in refused(read, name, content[:n_characters]).facts["message"]
    assert "Mend that line" in refused(read, "odd.jsonl", '{"a": 1}\n{"a": x}\n').facts["message"]


def test_questions_of_another_shape_say_which(read):
    bad = WHO | {"answers": {"text": ["Ada", "Bob"], "answer_start": [1]}}
    assert "question 2 " in refused(read, "bad.json", json.dumps(nested(WHO, bad))).facts["message"]
    assert "no question" in refused(read, "none.json", '[{"context": "a"}]', kind="squad").facts["message"]
    assert refused(read, "empty.json", "", kind="squad").reason == "data-empty"


# --- spans -----------------------------------------------------------------------------------------------------------

TEXT = "Ada lives in Paris 🙂 with Bob"
PLACES = [(0, 3, "PER"), (13, 18, "LOC"), (26, 29, "PER")]
LISTED = [list(span) for span in PLACES]
NAMED = [{"start": a, "end": b, "label": label} for a, b, label in PLACES]
STUDIO = [{"value": {"start": a, "end": b, "text": TEXT[a:b], "labels": [c]}, "type": "labels"} for a, b, c in PLACES]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("doccano.jsonl", {"id": 7, "text": TEXT, "label": LISTED, "Comments": []}),
        ("doccano-data.jsonl", {"id": 7, "data": TEXT, "label": LISTED}),
        ("doccano-relations.jsonl", {"id": 7, "text": TEXT, "entities": [
            {"id": i, "label": c, "start_offset": a, "end_offset": b} for i, (a, b, c) in enumerate(PLACES)
        ]}),
        ("prodigy.jsonl", {"text": TEXT, "id": 7, "_task_hash": 1, "tokens": [{"text": "Ada", "start": 0, "end": 3}],
                           "spans": [each | {"token_start": 0} for each in NAMED], "answer": "accept"}),
        ("spacy.json", [TEXT, {"entities": LISTED, "id": 7}]),
        ("spacy-object.json", {"text": TEXT, "entities": LISTED[::-1], "id": 7}),
        ("label-studio.json", {"annotations": [{"was_cancelled": True, "result": []}, {"result": STUDIO}],
                               "data": {"id": 7, "text": TEXT}}),
        ("label-studio-min.json", {"id": 7, "text": TEXT, "label": [each["value"] for each in STUDIO]}),
    ],
)  # fmt: skip
def test_every_tool_that_marks_spans_gives_the_same_rows(read, name, row):
    content = json.dumps(row, ensure_ascii=False) if name.endswith("l") else json.dumps([row, row])
    opened = read(name, content + "\r\n")
    assert opened.config.kind == "spans" and opened.problems == []
    found = opened.table.to_pylist()[0]
    assert json.loads(found.pop("spans")) == NAMED
    assert found.pop("answer", "accept") == "accept"
    assert found == {"text": TEXT, "id": "7"}


def test_spans_that_can_not_be_are_left_out_and_told_by_their_row(read):
    rows = [
        {"text": " Ada met Bob ", "spans": [[1, 4, "PER"], [0, 13, "ALL"], [9, 12, "PER"]]},
        {"text": "Ada", "spans": [[0, 3, "A"], [2, 2, "B"], [0, 4, "C"], [-1, 2, "D"], [0, 2], [0, 3, "A"]]},
        {"text": "Ada", "spans": [{"start": 0, "end": 2, "label": "A", "text": "Ada"}], "topic": "x"},
        {"text": "nobody has looked", "spans": None},
        {"text": "\n\tIn Paris", "spans": [[5, 10, "LOC"], [0, 2, "X"]]},
    ]
    opened = read("odd.jsonl", "\n".join(map(json.dumps, rows)))
    assert opened.table["text"].to_pylist() == ["Ada met Bob", "Ada", "Ada", "In Paris"]
    assert opened.table["topic"].to_pylist() == ["", "", "x", ""]
    found = [json.loads(spans) for spans in opened.table["spans"].to_pylist()]
    assert found[:2] == [[{"start": 0, "end": 11, "label": "ALL"}], [{"start": 0, "end": 3, "label": "A"}]]
    assert found[2:] == [[], [{"start": 3, "end": 8, "label": "LOC"}]], "places are those in the text without blanks"
    assert told(opened) == {
        "spans-misplaced": {"n_spans": 6, "row": 2, "span": '[2, 2, "B"]'},
        "spans-overlap": {"n_spans": 2, "row": 1, "span": '[1, 4, "PER"]'},
        "rows-not-labelled": {"n_rows": 1, "row": 4},
    }
    places = [{"text": "Ada met", "spans": [{"start": 0.0, "end": "3", "label": "A"}, [True, 3, "B"]]}]
    opened = read("written-by-a-table.json", json.dumps(places))
    assert opened.table["spans"].to_pylist() == ['[{"start": 0, "end": 3, "label": "A"}]']
    message = refused(read, "no.json", '[{"text": "a", "spans": []}, {"title": 3}]', kind="spans").facts["message"]
    assert message.startswith("Row 2 has no text")


# --- plain text ------------------------------------------------------------------------------------------------------

POEM = "Ein Lied, ganz kurz\nüber Äpfel\n\n\n  Und noch eins; das „letzte“  \r\nvon allen\u2028hier"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_plain_text_is_read_by_lines_or_by_paragraphs(read, encoding):
    content = POEM.replace("\u2028", " ") if encoding == "cp1252" else POEM
    lines = read("poem.txt", content.encode(encoding))
    assert lines.config.kind == "text"
    first, second, third, last = lines.table["text"].to_pylist()
    assert (first, second, third) == ("Ein Lied, ganz kurz", "über Äpfel", "Und noch eins; das „letzte“")
    assert last == content.split("\n")[-1]
    paragraphs = read("poem.txt", content.encode(encoding), rows="paragraph")
    assert paragraphs.table["text"].to_pylist() == [f"{first}\n{second}", f"{third}\n{last}"]
    assert refused(read, "empty.md", "\n \n").reason == "data-empty"


# --- which source reads which file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.txt", "text\tlabel\nO\tB-X\na b c\tO\n", "delimited"),
        ("a.txt", "text,label\n\nO,B-X\n\nI,O\n", "delimited"),
        ("a.tsv", "O\tB-X\nO\tO\n", "delimited"),
        ("a.txt", "Two words\n\nOr three, not\n\nAnd - more\n", "text"),
        ("a.txt", "Vitamin B-12\n\nVitamin B-6\n", "text"),
        ("a.txt", "", "delimited"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 8, "delimited"),
        ("a.json", '[{"text": "its \\"qas\\", \\"context\\"", "label": "a"}]', "json"),
        ("a.json", '[{"context": "a", "question": "b", "answers": ["c", "d"], "label": 1}]', "json"),
        ("a.json", '[{"text": "a", "labels": [1, 2, 3]}, {"text": "b", "label": ["x", "y"]}]', "json"),
        ("a.json", '{"text": "torn', "json"),
    ],
)
def test_the_content_tells_kinds_with_the_same_ending(tmp_path, name, content, kind):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert source_for(path).kind == kind


def test_a_long_beginning_without_a_line_end_is_told_too(tmp_path):
    context = "一" * 100_000
    (tmp_path / "long.json").write_text(json.dumps(nested(WHO, context=context), ensure_ascii=False), encoding="utf-8")
    assert source_for(tmp_path / "long.json").kind == "json", "the questions come later than the look at it"
    assert beginning(str(tmp_path / "long.json")).endswith("一一"), "a character that is cut through is left out"
    (tmp_path / "long.json").write_text(json.dumps(FLAT[:1] + [FLAT[1] | {"context": context}], ensure_ascii=False),
                                        encoding="utf-8")  # fmt: skip
    assert source_for(tmp_path / "long.json").kind == "squad"


def test_a_spec_looks_into_the_files_beside_it(tmp_path, monkeypatch):
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "train.txt").write_text(IOB1)
    value = {"data": {"train": "train.txt", "validation": "gone.txt"}, "columns": {"text": "tokens", "label": "tags"}}
    spec = parse_spec(value, tmp_path / "beside")
    assert (spec.data.train.kind, spec.data.validation.kind) == ("conll", "delimited")
    monkeypatch.chdir(tmp_path / "beside")
    assert DataSpec(train="train.txt").train.kind == "conll"


def test_every_source_can_be_carried_by_a_script(tmp_path):
    from types import SimpleNamespace

    from studio.takeaway.code import Bundle

    bundle = Bundle(given=["Failure"])
    for source in family("sources").values():
        bundle.add_methods(type(source).__module__, type(source).__name__, ["read"])
    assert not any("studio" in line for line in bundle.imports)
    space: dict = {}
    exec("\n".join(["from __future__ import annotations", *bundle.imports, bundle.text]), space)  # noqa: S102
    (tmp_path / "a.conll").write_text(IOB1)

    class Settings(SimpleNamespace):
        def model_copy(self, update):
            return Settings(**(vars(self) | update))

    options = family("sources")["conll"].Config(path=str(tmp_path / "a.conll")).model_dump()
    assert space["Conll"]().read(Settings(**options)).table["tags"].to_pylist() == TAGS
