"""CoNLL columns: one token a line, a blank line between sentences, the tags in the last column."""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.sources.decoding import Encoding, beginning, decode, lines_of
from studio.sources.tables import Read

_ALSO_OTHERS = (".txt", ".tsv")  # endings under which other kinds of rows are written too
_LOOKED_AT = 2000  # lines that tell whether a file has columns
_COUNTED = 100_000  # lines of tokens whose most usual number of columns is that of the file
_DOCUMENT = "-DOCSTART-"
_TAG = re.compile(r"O|[BIESLU](-\S+)?")
_COMMENT = re.compile(r"#\s*\w[\w:.-]*\s*=")  # as in `# sent_id = 12`
_NUMBER = re.compile(r"(\d+)|\d+[-.]\d+")  # of a token; of several in one, or of one left out, as CoNLL-U has them
_MOSTLY = 0.95  # a column with so many tags is one of tags, and what else stands in it is a mistake


class Config(PluginConfig):
    """A file with one token a line."""

    kind: Literal["conll"] = "conll"
    path: str
    scheme: Literal["auto", "iob1", "iob2", "iobes", "none"] = setting(
        "auto", "Tags", "How the tags mark where an entity begins. All are read as IOB2; none leaves them as they are."
    )
    separator: Literal["auto", "\t", " "] = setting("auto", "Separator", "What stands between two columns.")
    encoding: Encoding = setting("auto", "Encoding", "How characters are written as bytes.")


class Conll:
    """Reads sentences as rows: `tokens`, `column 2`, `column 3` … and `tags`, in each the values joined by one blank.

    A value has no blank of its own: where one has in the file, it becomes `_`, so that all columns of a row have as
    many values. Columns of IOB1, IOB2, IOBES or BILOU tags become IOB2; the others, as parts of speech, stay as they
    are. A first column that numbers the tokens is left out, and the lines of CoNLL-U that stand for no token of their
    own. A sentence with a line of another number of columns than most is left out and told.
    """

    id = "conll"
    label = "CoNLL columns"
    order = 40
    endings = (".conll", ".conllu", ".bio", ".iob", ".iob2", *_ALSO_OTHERS)
    Config = Config

    def reads(self, path: str) -> bool:
        if not path.lower().endswith(self.endings):
            return False
        return not path.lower().endswith(_ALSO_OTHERS) or _looks_like_columns(beginning(path))

    def read(self, config: Config) -> Read:
        """Return one row a sentence. Raises Failure "data-parse", with the line, or "data-empty"."""
        import pyarrow as pa

        text, encoding = decode(Path(config.path), config.encoding)
        lines = lines_of(text)
        separator = _find_separator(lines) if config.separator == "auto" else config.separator
        file = _cut(lines, separator)
        if not file.sentences and not file.left_out:
            raise Failure("data-empty", "data.train", path=config.path, needed=10)
        if file.width < 2 or len(file.left_out) > len(file.sentences):
            raise Failure("data-parse", "data.train", path=config.path, format="CoNLL columns", message=_misfit(file))
        first = _leave_out_numbers(file)
        columns = [[list(sentence.values[i]) for sentence in file.sentences] for i in range(first, file.width)]
        n_blanks = sum(_without_blanks(column) for column in columns)
        problems = _told(file, n_blanks)
        scheme, wrong = config.scheme, []
        for i, column in enumerate(columns[1:], 1):
            is_last = i == len(columns) - 1
            found = _find_scheme(column) if not is_last or config.scheme == "auto" else config.scheme
            places = _to_iob2(column, found, file, config.path if is_last else "")
            if is_last:
                scheme, wrong = found, places if found != "iob1" else []
        problems += _told_of_tags(columns[-1], scheme, wrong, file)
        between = [f"column {i + 1}" for i in range(first + 1, file.width - 1)]
        joined = [pa.array(map(" ".join, column), pa.string()) for column in columns]
        table = pa.table(joined, names=["tokens", *between, "tags"])
        found = {"scheme": scheme, "separator": separator, "encoding": encoding}
        return Read(table, config.model_copy(update=found), problems)


@dataclass
class _Sentence:
    """The values of a sentence by column, and the line of each token."""

    values: list[tuple[str, ...]]
    lines: list[int]


@dataclass
class _TokenFile:
    """The sentences of a file with `width` columns; of those left out the first line that does not fit."""

    width: int
    sentences: list[_Sentence] = field(default_factory=list)
    left_out: list[tuple[int, str]] = field(default_factory=list)


def _looks_like_columns(start: str) -> bool:
    """Whether a file begins with sentences of tokens and typed tags: others may have that ending too."""
    lines = lines_of(start)[:_LOOKED_AT]
    if any(line.startswith(_DOCUMENT) for line in lines):
        return True
    if not any(line.strip() == "" for line in lines[:-1]):
        return False  # one table from end to end
    file = _cut(lines, _find_separator(lines))
    if file.width < 2 or len(file.left_out) > len(file.sentences) / 10:
        return False
    columns = [{v for sentence in file.sentences for v in sentence.values[i]} for i in range(1, file.width)]
    return any(
        "O" in found and any(value[1:2] == "-" for value in found) and all(map(_TAG.fullmatch, found))
        for found in columns
    )


def _find_separator(lines: Sequence[str]) -> str:
    """Return the tab where most lines have one, unless blanks too stand between columns in all of them."""
    used = [line for line in lines if line.strip() and not line.startswith("#")]
    if 2 * sum("\t" in line.strip() for line in used) <= len(used):
        return " "
    start = [line for line in used[:_LOOKED_AT] if not line.startswith(_DOCUMENT)]
    is_mixed = all(any(" " in value for value in _split(line, "\t")) for line in start)
    return " " if is_mixed and len({len(_split(line, " ")) for line in start}) == 1 else "\t"


def _split(line: str, separator: str) -> tuple[str, ...]:
    """Return the values of a line; the same value is the same string, however often it stands in the file."""
    if separator == "\t":
        values = [value.strip(" ") for value in line.rstrip(" \t").split("\t")]
    else:
        # Other blanks than these two may be a token, or a part of one.
        values = line.split() if line.isascii() else [value for value in re.split("[ \t]+", line) if value]
    return tuple(map(sys.intern, values))


def _cut(lines: Sequence[str], separator: str) -> _TokenFile:
    """Return the sentences in the lines of a file; a comment is a line with # that can't be one of a token."""
    first = (line for line in lines if line.strip() and not line.startswith(("#", _DOCUMENT)))
    widths = Counter(len(_split(line, separator)) for line in islice(first, _COUNTED))
    file = _TokenFile(widths.most_common(1)[0][0] if widths else 0)
    kept: list[tuple[str, ...]] = []
    numbers: list[int] = []
    misfit: tuple[int, str] | None = None
    for number, line in enumerate(chain(lines, [""]), 1):
        row = _split(line, separator) if line.strip() and not line.startswith(_DOCUMENT) else ()
        if row and row[0].startswith("#") and (len(row) != file.width or (not kept and _COMMENT.match(line))):
            continue
        if row and len(row) == file.width:
            kept.append(row)
            numbers.append(number)
        elif row:
            misfit = misfit or (number, " ".join(line.split())[:60])
        elif kept or misfit:
            if misfit:
                file.left_out.append(misfit)
            else:
                file.sentences.append(_Sentence(list(zip(*kept, strict=True)), numbers))
            kept, numbers, misfit = [], [], None
    return file


def _misfit(file: _TokenFile) -> str:
    need = "Each line needs a token and its tag, with a blank or a tab between them; a blank line ends a sentence."
    if file.width < 2:
        number = file.sentences[0].lines[0] if file.sentences else file.left_out[0][0]
        return f"Most lines have one column, from line {number} on. {need}"
    number, line = file.left_out[0]
    return f"Line {number} has not the {file.width} columns of most: {line}. {need}"


def _leave_out_numbers(file: _TokenFile) -> int:
    """Return the column of the tokens: behind a first one that only numbers them, whose lines of no token go."""
    if file.width < 3 or not all(_is_numbered(sentence.values[0]) for sentence in file.sentences):
        return 0
    for sentence in file.sentences:
        keeps = [value.isdigit() for value in sentence.values[0]]
        if not all(keeps):
            sentence.values = [
                tuple(value for value, keep in zip(values, keeps, strict=True) if keep) for values in sentence.values
            ]
            sentence.lines = [line for line, keep in zip(sentence.lines, keeps, strict=True) if keep]
    return 1


def _is_numbered(values: Iterable[str]) -> bool:
    matches = [_NUMBER.fullmatch(value) for value in values]
    numbers = [int(match[1]) for match in matches if match and match[1]]
    return all(matches) and bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _without_blanks(column: list[list[str]]) -> int:
    """Put _ for the blanks inside of values, and for values that are empty; return how many values had them."""
    n_changed = 0
    for values in column:
        if " ".join(values).split() == values:
            continue
        for at, value in enumerate(values):
            if value.split() != [value]:
                values[at] = re.sub(r"\s+", "_", value) or "_"
                n_changed += 1
    return n_changed


def _find_scheme(column: list[list[str]]) -> str:
    """Return how a column of tags marks beginnings, "none" for one of other values."""
    counts = Counter(value for values in column for value in values)
    n_tags = sum(n for value, n in counts.items() if _TAG.fullmatch(value))
    prefixes = {value[0] for value in counts if _TAG.fullmatch(value)}
    if n_tags < _MOSTLY * counts.total() or prefixes <= {"O"}:
        return "iob2" if prefixes == {"O"} and n_tags == counts.total() else "none"
    if prefixes & set("ESLU"):
        return "iobes"
    n_inside = n_begun = 0
    for values in column:
        before = "O"
        for value in values:
            if before == "O" or value[1:] != before[1:]:
                n_inside += value[0] == "I"
                n_begun += value[0] == "B"
            before = value
    return "iob1" if n_inside > n_begun else "iob2"


def _to_iob2(column: list[list[str]], scheme: str, file: _TokenFile, path: str) -> list[tuple[str, int]]:
    """Make a column of tags IOB2 in place; return the tags that could not follow what stood before, with their line.

    path: of the file, when a value that is no tag is to be a Failure "data-parse".
    """
    if scheme == "none":
        return []
    known = re.compile(r"O|[BIESLU](-\S+)?" if scheme == "iobes" else r"O|[BI](-\S+)?")
    wrong = []
    for values, sentence in zip(column, file.sentences, strict=True):
        within = None  # the type of the entity that goes on
        for at, value in enumerate(values):
            if value == "O":
                within = None
                continue
            if not known.fullmatch(value):
                if path:
                    message = _no_tag(value, sentence.lines[at], scheme)
                    raise Failure("data-parse", "data.train", path=path, format="CoNLL columns", message=message)
                within = None
                continue
            prefix, kind = value[0], value[1:]
            begins = prefix in "BSU" or kind != within
            if begins and prefix not in "BSU":
                wrong.append((value, sentence.lines[at]))
            values[at] = ("B" if begins else "I") + kind
            within = None if prefix in "ESLU" else kind
    return wrong


def _no_tag(value: str, line: int, scheme: str) -> str:
    known = {"iob1": "IOB1", "iob2": "IOB2", "iobes": "IOBES or BILOU"}[scheme]
    mend = "Mend that line, or set Tags to None to take all as they are."
    return f"Line {line}: {value} is no tag of {known}, such as B-PER, I-PER or O. {mend}"


def _told(file: _TokenFile, n_blanks: int) -> list[Problem]:
    problems = []
    if file.left_out:
        line, text = file.left_out[0]
        facts = {"n_rows": len(file.left_out), "width": file.width, "line": line, "text": text}
        problems.append(Problem("ragged-sentences", facts))
    if n_blanks:
        problems.append(Problem("blanks-in-tokens", {"n_tokens": n_blanks}))
    return problems


def _told_of_tags(tags: list[list[str]], scheme: str, wrong: list[tuple[str, int]], file: _TokenFile) -> list[Problem]:
    if wrong:
        return [Problem("tags-can-not-follow", {"n_tags": len(wrong), "tag": wrong[0][0], "line": wrong[0][1]})]
    if scheme != "none" and all(tag == "O" for values in tags for tag in values):
        return [Problem("no-tags", {"line": file.sentences[0].lines[0]})]
    return []


PLUGIN = Conll()
