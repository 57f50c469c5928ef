"""CSV, TSV and their relatives: encoding, delimiter, quotes and header are found out unless given."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.sources.tables import Read, unique_names

_SAMPLE = 200_000  # characters that are looked at to find delimiter, quotes and header


class Config(PluginConfig):
    """A text file with one row a line; `auto` is found out from the file."""

    kind: Literal["delimited"] = "delimited"
    path: str
    delimiter: str = setting("auto", "Delimiter", "What stands between two fields.")
    quotes: bool | Literal["auto"] = setting("auto", "Quotes", "Whether fields may stand in double quotes.")
    header: bool | Literal["auto"] = setting("auto", "Header", "Whether the first line names the columns.")
    encoding: str = setting("auto", "Encoding", "How characters are written as bytes.")


class Delimited:
    """Reads delimited text; every value stays the text that stands in the file."""

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
        delimiter = _find_delimiter(sample, config.path) if config.delimiter == "auto" else config.delimiter
        quotes = _has_quotes(sample, delimiter) if config.quotes == "auto" else config.quotes
        rows = _parse(sample[:50_000], delimiter, quotes)
        header = looks_like_header(rows) if config.header == "auto" else config.header
        table, problems = _read_table(text, delimiter, quotes, header, rows[0], config.path)
        found = {"delimiter": delimiter, "quotes": quotes, "header": header, "encoding": encoding}
        return Read(table, config.model_copy(update=found), problems)


def decode(path: Path, encoding: str = "auto") -> tuple[str, str]:
    """Return a file's text and its encoding: by byte order mark, else UTF-8, UTF-16, GB 18030, Windows-1252."""
    data = path.read_bytes()
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if encoding == "auto" and data.startswith(mark):
            encoding = name
    if encoding == "auto" and data[:1000].count(0) > len(data[:1000]) // 4:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    for name in [encoding] if encoding != "auto" else ["utf-8", "gb18030", "cp1252"]:
        try:
            return data.decode(name).replace("\0", ""), name
        except UnicodeDecodeError:
            continue
        except LookupError:
            break
    message = f"Its characters are not written as {encoding}. Choose another encoding, or save it as UTF-8."
    raise Failure("data-parse", "data.train", path=str(path), format="text", message=message)


def _parse(text: str, delimiter: str, quotes: bool) -> list[list[str]]:
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    lines = io.StringIO(text, newline="")
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter, quoting=quoting) if any(row)] or [[""]]
    except csv.Error:
        return [[""]]


def _find_delimiter(sample: str, path: str) -> str:
    """Return the delimiter that cuts the rows into the same number of fields, at least two, most often."""
    if path.lower().endswith((".tsv", ".tab")) and "\t" in sample:
        return "\t"

    def agreement(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in _parse(sample[:50_000], delimiter, True)]
        width, n = Counter(widths).most_common(1)[0]
        return (n / len(widths) if width > 1 else 0.0, width)

    best = max(",\t;|", key=agreement)
    return best if agreement(best)[0] > 0 else ","


def _has_quotes(sample: str, delimiter: str) -> bool:
    """Quotes enclose fields unless reading them so breaks more rows than leaving them as characters does."""
    if '"' not in sample:
        return False

    def misfits(quotes: bool) -> int:
        widths = Counter(len(row) for row in _parse(sample, delimiter, quotes))
        return sum(widths.values()) - widths.most_common(1)[0][1]

    unquoted_rows = _parse(sample, delimiter, False)
    enclosed = sum(len(cell) > 1 and cell[0] == cell[-1] == '"' for row in unquoted_rows for cell in row)
    opened = sum(cell.startswith('"') for row in unquoted_rows for cell in row)
    if not enclosed and misfits(False) == 0:
        return False
    return misfits(True) < misfits(False) or (misfits(True) == misfits(False) and 2 * enclosed >= opened)


def looks_like_header(rows: list[list[str]]) -> bool:
    """Return whether the first row names columns: short, different, no number, and no value of its column."""
    if len(rows) < 2:
        return False
    first = [cell.strip() for cell in rows[0]]
    if any(not cell or len(cell) > 40 or len(cell.split()) > 5 or _is_number(cell) for cell in first):
        return False
    if len(first) > 1 and len(set(first)) == 1:
        return False
    return all(cell != row[i].strip() for i, cell in enumerate(first) for row in rows[1:] if i < len(row))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_table(
    text: str, delimiter: str, quotes: bool, header: bool, first: list[str], path: str
) -> tuple[Any, list[Problem]]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = unique_names(first) if header else [str(i) for i in range(len(first))]
    misfits: list[int] = []

    def skip(row: Any) -> str:
        misfits.append(row.number or 0)
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text.encode()),
            # One thread, since only then the reader knows the numbers of odd lines.
            arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=max(1 << 20, len(text))),
            arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quotes else False,
                newlines_in_values=quotes,
                invalid_row_handler=skip,
            ),
            arrow_csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise Failure("data-parse", "data.train", path=path, format="CSV", message=str(error)) from error
    table = table.slice(1) if header else table
    problems = [Problem("ragged-rows", {"n_rows": len(misfits), "line": misfits[0]})] if misfits else []
    return table, problems


PLUGIN = Delimited()
