"""Plain text: one row a line, or one row a paragraph."""

from pathlib import Path
from typing import Literal

from studio.core.reasons import Failure
from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.sources.decoding import Encoding, beginning, decode, lines_of
from studio.sources.delimited import find_delimiter
from studio.sources.tables import Read

_ALSO_OTHERS = (".txt",)  # an ending under which tables are written too

_LOOKED_AT = 500  # lines that tell whether a file has fields


class Config(PluginConfig):
    """A text file without fields."""

    kind: Literal["text"] = "text"
    path: str
    rows: Literal["line", "paragraph"] = setting(
        "line", "One row", "Each line, or each paragraph: the lines up to a blank one."
    )
    encoding: Encoding = setting("auto", "Encoding", "How characters are written as bytes.")


class PlainText:
    """Reads texts into the column `text`, without blanks around them; blank lines are no rows."""

    id = "text"
    label = "Plain text"
    order = 15
    endings = (".txt", ".text", ".md")
    Config = Config

    def reads(self, path: str) -> bool:
        if not path.lower().endswith(self.endings):
            return False
        if not path.lower().endswith(_ALSO_OTHERS):
            return True
        start = "\n".join(lines_of(beginning(path))[:_LOOKED_AT])
        return bool(start.strip()) and find_delimiter(start, path) == "none"

    def read(self, config: Config) -> Read:
        """Return all lines or paragraphs; the lines of a paragraph keep their ends. Raises Failure "data-empty"."""
        import pyarrow as pa

        text, encoding = decode(Path(config.path), config.encoding)
        rows = [line.strip() for line in lines_of(text)]
        if config.rows == "paragraph":
            rows = [part.strip("\n") for part in "\n".join(rows).split("\n\n")]
        rows = [row for row in rows if row]
        if not rows:
            raise Failure("data-empty", "data.train", path=config.path, needed=10)
        table = pa.table({"text": pa.array(rows, pa.string())})
        return Read(table, config.model_copy(update={"encoding": encoding}))


PLUGIN = PlainText()
