"""Files as people really have them; each case has cost somebody an evening in a tool of this kind."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from studio.core.paths import sample_file
from studio.core.reasons import Failure
from studio.core.registry import family
from studio.sources.tables import open_table, source_for
from studio.sources.texts import Texts

TASK = family("tasks")["text-classification"]
ROWS = [{"text": f"message {i}, of some length", "label": "good" if i % 2 else "bad"} for i in range(12)]
CSV = "text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in ROWS)


@pytest.fixture
def read(tmp_path):
    """Write a file and open it as the window does."""

    def read(name, content, **options):
        path = tmp_path / "my data ü" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        config = source_for(path)
        return open_table(config.model_copy(update=options), tmp_path / "workspace")

    return read


def rows(opened):
    return opened.table.to_pylist()


def reason(read, name, content):
    with pytest.raises(Failure) as caught:
        read(name, content)
    return caught.value.problem


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", CSV),
        ("bom.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("utf16.csv", CSV.encode("utf-16")),
        ("utf16-no-mark.csv", CSV.encode("utf-16-le")),
        ("crlf.csv", CSV.replace("\n", "\r\n")),
        ("old-mac.csv", CSV.replace("\n", "\r")),
        ("no-last-newline.csv", CSV.rstrip("\n")),
        ("blank-lines.csv", CSV.replace("\n", "\n\n")),
        ("blanks-around-headers.csv", CSV.replace("text,label", " text , label ")),
        ("empty-row-first.csv", ",\n" + CSV),
        ("trailing-delimiter-in-the-header.csv", CSV.replace("text,label", "text,label,")),
        ("semicolons.csv", CSV.replace('",', '";').replace("text,label", "text;label")),
        ("tabs.tsv", CSV.replace('",', '"\t').replace("text,label", "text\tlabel")),
        ("tabs.csv", CSV.replace('",', '"\t').replace("text,label", "text\tlabel")),
        ("array.json", json.dumps(ROWS)),
        ("array-bom.json", b"\xef\xbb\xbf" + json.dumps(ROWS).encode()),
        ("columns.json", json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]})),
        ("pandas.json", json.dumps({key: {str(i): row[key] for i, row in enumerate(ROWS)} for key in ROWS[0]})),
        ("pandas-split.json", json.dumps({"columns": ["text", "label"], "data": [list(r.values()) for r in ROWS]})),
        ("nested.json", json.dumps({"data": ROWS})),
        ("nested-columns.json", json.dumps({"data": {key: [row[key] for row in ROWS] for key in ROWS[0]}})),
        ("nested-beside-others.json", json.dumps({"version": "1", "data": ROWS})),
        ("lines.jsonl", "\n".join(json.dumps(row) for row in ROWS)),
        ("lines.json", "\r\n".join(json.dumps(row) for row in ROWS) + "\r\n\r\n"),
        ("not-really-lines.jsonl", json.dumps(ROWS, indent=2)),
    ],
)
def test_every_usual_shape_gives_the_same_rows(read, name, content):
    opened = read(name, content)
    assert rows(opened) == ROWS
    assert opened.problems == []
    assert TASK.guess_roles(opened.table) == {"text": "text", "label": "label"}
    assert TASK.check(opened.table, {"text": "text", "label": "label"}) == []


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "这家餐厅的菜很好吃，服务也不错"),
        ("cp1252", "le café était très cher, mais agréable"),
        ("utf-8", "schöne Grüße 🙂"),
    ],
)
def test_old_encodings_are_told_apart(read, encoding, text):
    content = "text\tlabel\n" + "".join(f"{text} {i}\tl{i % 2}\n" for i in range(12))
    opened = read("old.tsv", content.encode(encoding))
    assert opened.config.encoding == encoding
    assert rows(opened)[3] == {"text": f"{text} 3", "label": "l1"}


def test_an_encoding_may_be_given_and_a_wrong_one_is_said(read):
    content = "текст,label\nпривет,a\n".encode("cp1251")
    assert rows(read("russian.csv", content, encoding="cp1251")) == [{"текст": "привет", "label": "a"}]
    with pytest.raises(Failure, match="not written as utf-8"):
        read("russian.csv", content, encoding="utf-8")


def test_newlines_quotes_and_delimiters_inside_quotes_belong_to_the_text(read):
    opened = read("quoted.csv", 'text,label\n"one\ntwo, ""three""",a\n"four\r\nfive",b\n')
    assert [row["text"] for row in rows(opened)] == ['one\ntwo, "three"', "four\r\nfive"]


def test_quotes_that_enclose_nothing_are_characters(read):
    lines = "".join(f'he said "no {i}\tbad\n"twice\tgood\n' for i in range(6))
    opened = read("stray.tsv", "text\tlabel\n" + lines)
    assert opened.config.quotes is False
    assert opened.table.num_rows == 12
    assert rows(opened)[1] == {"text": '"twice', "label": "good"}


def test_ragged_rows_are_left_out_and_told(read):
    opened = read("ragged.csv", CSV + "one,too,many\n\nlonely\n" + '"last, one",good\n')
    assert opened.table.num_rows == 13
    assert [(p.reason, p.facts) for p in opened.problems] == [
        ("ragged-rows", {"n_rows": 2, "row": 14, "text": "one,too,many"})
    ]


def test_headers_that_repeat_or_lack_get_names(read):
    opened = read("headers.csv", ",text,label,text\n0,a b c,x,d\n1,e f g,y,h\n")
    assert opened.table.column_names == ["column 1", "text", "label", "text (2)"]
    assert opened.table.num_rows == 2


def test_a_file_without_a_header_line_loses_no_row(read):
    opened = read("none.tsv", "a moving , funny film\t1\nno movement at all\t0\n" * 6)
    assert opened.config.header is False
    assert opened.table.num_rows == 12
    assert TASK.guess_roles(opened.table) == {"text": "0", "label": "1"}
    assert read("none.tsv", "a\tb\nc\td\n", header=False).table.num_rows == 2
    assert read("none.tsv", "a\tb\nc\td\n", header=True).table.column_names == ["a", "b"]


def test_one_column_is_one_column_whatever_stands_in_it(read):
    opened = read("lines.csv", 'One line, with a comma\nAnd "another"\nThe third; the last, or not, at all\n')
    assert opened.config.delimiter == "none"
    assert [row["0"] for row in rows(opened)][1:] == ['And "another"', "The third; the last, or not, at all"]
    quoted = read("one.csv", 'text\n"with, comma"\n"and, another"\n')
    assert rows(quoted) == [{"text": "with, comma"}, {"text": "and, another"}]


def test_numbers_as_labels_stay_what_they_are(read, tmp_path):
    assert read("n.csv", CSV.replace("good", "1").replace("bad", "0")).table["label"].to_pylist()[:2] == ["0", "1"]
    table = pa.table({"text": ["a", "b", "c"], "label": [1.0, 0.0, None], "extra": [[1], [2, 3], None]})
    parquet.write_table(table, tmp_path / "numbers.parquet")
    opened = read("numbers.parquet", (tmp_path / "numbers.parquet").read_bytes())
    assert rows(opened) == [
        {"text": "a", "label": "1", "extra": "[1]"},
        {"text": "b", "label": "0", "extra": "[2, 3]"},
        {"text": "c", "label": "", "extra": ""},
    ]
    opened = read("n.json", '[{"text": "a", "label": 1.0}, {"text": null, "label": true}, {"other": NaN}]')
    assert [row["label"] for row in rows(opened)] == ["1", "true", ""]


def test_odd_characters_in_json_survive(read):
    opened = read("odd.jsonl", '{"text": "a\u2028b", "label": "x"}\n{"text": "cut \\ud83d", "label": "y"}\n')
    assert [row["text"] for row in rows(opened)] == ["a\u2028b", "cut ?"]


def test_texts_stay_where_they_are_mapped(read):
    opened = read("many.csv", "text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(5000)))
    before = pa.total_allocated_bytes()
    texts = TASK.rows(opened.table, {"text": "text"}).fields["text"]
    mapped = opened.table["text"].chunk(0).buffers()[2].address
    assert texts.column.chunk(0).buffers()[2].address == mapped and pa.total_allocated_bytes() == before
    assert [*texts][4999] == texts[4999] == texts[-1] == "text 4999" and len(texts) == 5000
    some = texts.select([7, 3, 7])[1:]
    assert list(some) == some.values().to_pylist() == ["text 3", "text 7"]
    odd = Texts(pa.chunked_array([[" a\u2003", None, "b"]]))
    assert list(odd) == ["a", "", "b"]
    assert list(Texts(pa.chunked_array([[1, None, 0]]))) == ["1", "", "0"]


def test_blanks_around_labels_make_no_second_label(read):
    opened = read("blanks.csv", CSV.replace(",good", ", good ").replace(",bad", ",bad  "))
    found = TASK.rows(opened.table, {"text": "text", "label": "label"})
    assert set(found.gold) == {"good", "bad"}
    assert TASK.check(opened.table, {"text": "text", "label": "label"}) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (CSV.replace("bad", "good"), ["one-class"]),
        (CSV + "the only one,rare\n", ["rare-class"]),
        (CSV + ",good\n\n,bad\n", ["some-empty-texts"]),
        (CSV + "no label,\n", ["some-empty-labels"]),
        (CSV + '"message 3, of some length",bad\n', ["duplicates"]),
        ("text,label\n" + ",good\n,bad\n" * 8, ["empty-texts"]),
        ("text,label\n" + "".join(f"a,{i}\n" for i in range(12)), ["too-many-classes"]),
        ("text,label\na,b\nc,d\n", ["too-few-rows"]),
    ],
)
def test_what_stands_against_training_is_found_before_it(read, content, found):
    opened = read("check.csv", content, header=True)
    assert [p.reason for p in TASK.check(opened.table, {"text": "text", "label": "label"})] == found


def test_roles_that_lack_or_collide_are_named_at_their_field(read):
    table = read("roles.csv", CSV).table
    assert [(p.reason, p.field) for p in TASK.check(table, {"text": "text"})] == [("role-missing", "columns.label")]
    problems = TASK.check(table, {"text": "text", "label": "topic"})
    assert [(p.reason, p.facts["columns"]) for p in problems] == [("column-missing", "text, label")]
    assert [p.reason for p in TASK.check(table, {"text": "text", "label": "text"})] == ["role-twice"]


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("empty.csv", "", "data-empty"),
        ("blank.csv", "\n \n\n", "data-empty"),
        ("empty.json", "", "data-empty"),
        ("empty-array.json", "[]", "data-empty"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 8, "data-parse"),
        ("zip.tsv", b"PK\x03\x04\x14\x00\x06\x00" + bytes(range(256)) * 8, "data-parse"),
        ("torn.parquet", b"PAR1 and then nothing of the kind", "data-parse"),
        ("torn.json", '[{"text": "a"},\n {"text": ', "data-parse"),
        ("numbers.json", "[1, 2, 3]", "data-parse"),
        ("sheet.xlsx", b"PK", "data-format"),
    ],
)
def test_a_file_that_is_none_says_why(read, name, content, wanted):
    problem = reason(read, name, content)
    assert problem.reason == wanted
    assert name in problem.facts["path"]


def test_a_torn_line_is_named_by_its_number(read):
    content = '{"text": "a", "label": "x"}\n\n{"text": "b", "label": }\n'
    assert reason(read, "torn.jsonl", content).facts["message"].startswith("Line 3:")


def test_a_missing_file_is_reported_as_missing(tmp_path):
    with pytest.raises(Failure) as caught:
        source_for(tmp_path / "gone.csv")
    assert caught.value.problem.reason == "data-missing"
    config = source_for(sample_file()).model_copy(update={"path": str(tmp_path / "gone.csv")})
    with pytest.raises(Failure) as caught:
        open_table(config, tmp_path)
    assert caught.value.problem.reason == "data-missing"


def test_a_table_is_parsed_once_and_again_when_file_or_options_change(tmp_path):
    path, workspace = tmp_path / "data.csv", tmp_path / "workspace"
    path.write_text(CSV)
    first = open_table(source_for(path), workspace)
    assert rows(open_table(source_for(path), workspace)) == ROWS
    assert open_table(source_for(path), workspace).config == first.config
    assert len(list((workspace / "cache" / "tables").glob("*.arrow"))) == 1
    path.write_text(CSV.replace("good", "fine"))
    assert open_table(source_for(path), workspace).table["label"].to_pylist()[1] == "fine"
    headless = source_for(path).model_copy(update={"header": False})
    assert open_table(headless, workspace).table.num_rows == 13


def test_the_sample_opens_clean(tmp_path):
    opened = open_table(source_for(sample_file()), tmp_path)
    columns = TASK.guess_roles(opened.table)
    assert columns == {"text": "text", "label": "label"}
    assert [p for p in TASK.check(opened.table, columns) if p.field] == []
    assert opened.table.num_rows >= 640
