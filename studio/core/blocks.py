"""What a task shows, as data: the window and the reports draw each kind of block once."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Block(BaseModel):
    """Base of all blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")
    title: str = ""


class Tiles(Block):
    """A row of named numbers."""

    type: Literal["tiles"] = "tiles"
    values: dict[str, float]


class Bars(Block):
    """One bar a name; `select` is the column of the rows that a click filters by."""

    type: Literal["bars"] = "bars"
    values: dict[str, float]
    unit: str = ""
    select: str = ""


class Histogram(Block):
    """Counts [n] between edges [n + 1]."""

    type: Literal["histogram"] = "histogram"
    edges: list[float]
    counts: list[float]
    unit: str = ""


class Matrix(Block):
    """Values [rows, columns] with names; a click on a cell filters the rows by the columns in `select`."""

    type: Literal["matrix"] = "matrix"
    rows: list[str]
    columns: list[str]
    values: list[list[float]]
    row_axis: str = ""
    column_axis: str = ""
    select: tuple[str, str] | None = None


class Table(Block):
    """Rows of cells under headers."""

    type: Literal["table"] = "table"
    header: list[str]
    rows: list[list[Any]]


AnyBlock = Annotated[Tiles | Bars | Histogram | Matrix | Table, Field(discriminator="type")]
