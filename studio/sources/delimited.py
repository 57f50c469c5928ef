"""CSV, TSV and their relatives: encoding, delimiter, quotes and header are found out unless given."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.sources.decoding import Encoding, decode
from studio.sources.tables import Read, unique_names

_SAMPLE = 200_000  # characters that are looked at to find delimiter, quotes and header
_UNIT_SEPARATOR = "\x1f"  # stands in no text: with it every line is one field
_MOST_BLOCK = 1 << 28  # bytes; Arrow counts them with 32 bits


class Config(PluginConfig):
    """A text file with one row a line; `auto` is found out from the file."""

    kind: Literal["delimited"] = "delimited"
    path: str
    delimiter: Literal["auto", ",", ";", "\t", "|", " ", "none"] = setting(
        "auto", "Delimiter", "What stands between two fields; with none every line is one text."
    )
    quotes: Literal["auto"] | bool = setting("auto", "Quotes", "Whether fields may stand in double quotes.")
    header: Literal["auto"] | bool = setting("auto", "Header", "Whether the first line names the columns.")
    encoding: Encoding = setting("auto", "Encoding", "How characters are written as bytes.")


class Delimited:
    """Reads delimited text; every value stays the text that stands in the file.

    Rows with another number of fields than most are left out and counted; lines without any field are no rows.
    """

    id = "delimited"
    label = "CSV, TSV"
    order = 10
    endings = (".csv", ".tsv", ".tab", ".txt")
    Config = Config

    def reads(self, path: str) -> bool:
        return path.lower().endswith(self.endings)

    def read(self, config: Config) -> Read:
        """Return all rows as text columns. Raises Failure "data-parse" or "data-empty"."""
        text, encoding = decode(Path(config.path), config.encoding)
        if not text.strip():
            raise Failure("data-empty", "data.train", path=config.path, needed=10)
        sample = text[:_SAMPLE]
        if len(text) > _SAMPLE:
            sample = sample[: sample.rfind("\n") + 1] or sample
        delimiter = find_delimiter(sample, config.path) if config.delimiter == "auto" else config.delimiter
        character = _UNIT_SEPARATOR if delimiter == "none" else delimiter
        if config.quotes == "auto":
            quotes = delimiter != "none" and _has_quotes(sample, character)
        else:
            quotes = config.quotes
        rows = _parse(sample, character, quotes)
        header = looks_like_header(rows) if config.header == "auto" else config.header
        table, problems = _read_table(text, character, quotes, header, rows, config.path)
        found = {"delimiter": delimiter, "quotes": quotes, "header": header, "encoding": encoding}
        return Read(table, config.model_copy(update=found), problems)


def _parse(text: str, delimiter: str, quotes: bool) -> list[list[str]]:
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    lines = io.StringIO(text, newline="")
    csv.field_size_limit(2**31 - 1)  # its own limit of 131,072 characters is less than a long document
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter, quoting=quoting) if row] or [[""]]
    except csv.Error:
        return [[""]]


def find_delimiter(sample: str, path: str) -> str:
    """Return the delimiter that cuts most rows into the same number of fields, at least two; "none" without one."""
    if path.lower().endswith((".tsv", ".tab")) and "\t" in sample:
        return "\t"

    def agreement(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in _parse(sample, delimiter, True)]
        width, n = Counter(widths).most_common(1)[0]
        return (n / len(widths) if width > 1 else 0.0, width)

    best = max(",\t;|", key=agreement)
    if agreement(best)[0] > 0.5:
        return best
    # One column: commas inside quotes are fine, commas in plain lines belong to the text.
    return "," if '"' in sample and all(len(row) == 1 for row in _parse(sample, ",", True)) else "none"


def _has_quotes(sample: str, delimiter: str) -> bool:
    """Quotes enclose fields unless reading them so breaks more rows than leaving them as characters does."""
    if '"' not in sample:
        return False
    if all(line.count('"') % 2 == 0 for line in sample.split("\n")) and _is_well_formed(sample, delimiter):
        return True

    def misfits(quotes: bool) -> int:
        widths = Counter(len(row) for row in _parse(sample, delimiter, quotes))
        return sum(widths.values()) - widths.most_common(1)[0][1]

    unquoted_rows = _parse(sample, delimiter, False)
    enclosed = sum(len(cell) > 1 and cell[0] == cell[-1] == '"' for row in unquoted_rows for cell in row)
    opened = sum(cell.startswith('"') for row in unquoted_rows for cell in row)
    if not enclosed and misfits(False) == 0:
        return False
    return misfits(True) < misfits(False) or (misfits(True) == misfits(False) and 2 * enclosed >= opened)


def _is_well_formed(sample: str, delimiter: str) -> bool:
    """Whether every quote that opens a field is closed right before a delimiter or the end of a line."""
    try:
        return bool(list(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, strict=True)))
    except csv.Error:
        return False


def looks_like_header(rows: list[list[str]]) -> bool:
    """Return whether the first row names columns: short, different, no number, and no value of its column.

    One name may be empty, as tables with an index column have it.
    """
    rows = [row for row in rows if any(row)]
    if len(rows) < 2:
        return False
    first = [cell.strip() for cell in rows[0]]
    if any(len(cell) > 40 or len(cell.split()) > 5 or _is_number(cell) for cell in first):
        return False
    if len(first) == 1 and " " in first[0]:
        return False  # of a file of plain lines the first is a text too
    if first.count("") > (len(first) > 1) or (len(first) > 1 and len(set(first)) == 1):
        return False
    return all(cell != row[i].strip() for i, cell in enumerate(first) if cell for row in rows[1:] if i < len(row))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_table(
    text: str, delimiter: str, quotes: bool, header: bool, rows: list[list[str]], path: str
) -> tuple[Any, list[Problem]]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    n_before = next((i for i, row in enumerate(rows) if any(row)), 0)  # rows without any value above the first
    first, width = rows[n_before], _width(rows[n_before + header :] or rows)
    names = unique_names((first + [""] * width)[:width]) if header else [str(i) for i in range(width)]
    misfits: list[tuple[int, str]] = []

    def skip(row: Any) -> str:
        if row.text.strip() and row.number != (n_before + 1) * header:
            misfits.append((row.number, " ".join(row.text.split())[:60]))
        return "skip"

    data = text.encode()
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            # One thread, since only then the reader knows the numbers of odd rows.
            arrow_csv.ReadOptions(
                column_names=names, use_threads=False, block_size=min(max(1 << 20, len(data)), _MOST_BLOCK)
            ),
            arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quotes else False,
                newlines_in_values=quotes,
                invalid_row_handler=skip,
            ),
            arrow_csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=False),
        )
    except pa.ArrowException as error:
        raise Failure("data-parse", "data.train", path=path, format="CSV", message=str(error)) from error
    n_above = sum(len(row) == width for row in rows[: n_before + header])
    facts = {"n_rows": len(misfits), "row": misfits[0][0], "text": misfits[0][1]} if misfits else {}
    return table.slice(n_above), [Problem("ragged-rows", facts)] if misfits else []


def _width(rows: list[list[str]]) -> int:
    """Return the number of fields that most rows have, of the rows that have any value if there are some."""
    return Counter(len(row) for row in [row for row in rows if any(row)] or rows).most_common(1)[0][0]


PLUGIN = Delimited()
