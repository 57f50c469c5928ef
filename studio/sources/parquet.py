"""Parquet files."""

from typing import Literal

from studio.core.reasons import Failure
from studio.core.registry import PluginConfig
from studio.sources.json_rows import as_text
from studio.sources.tables import Read, unique_names


class Config(PluginConfig):
    """A Parquet file."""

    kind: Literal["parquet"] = "parquet"
    path: str


class Parquet:
    """Reads Parquet; every value becomes text, nested ones their JSON."""

    id = "parquet"
    label = "Parquet"
    order = 30
    endings = (".parquet", ".pq")
    Config = Config

    def reads(self, path: str) -> bool:
        return path.lower().endswith(self.endings)

    def read(self, config: Config) -> Read:
        """Return all rows as text columns. Raises Failure "data-parse"."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            table = parquet.read_table(config.path)
        except pa.ArrowException as error:
            raise Failure("data-parse", "data.train", path=config.path, format="Parquet", message=str(error)) from error
        columns = [
            column.cast(pa.string()).fill_null("")
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
            else pa.array([as_text(value) for value in column.to_pylist()], pa.string())
            for column in table.columns
        ]
        return Read(pa.table(columns, names=unique_names(table.column_names)), config)


PLUGIN = Parquet()
