"""What a task shows, as data: the window and the reports draw each kind of block once."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SpanKind = Literal["", "missed", "invented", "wrong type", "wrong border"]
TokenKind = Literal["", "special", "padding", "cut", "continued"]


class Data(BaseModel):
    """Base of blocks and of what they hold; NaN and infinity survive JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Block(Data):
    """Base of all blocks."""

    title: str = ""


class Tiles(Block):
    """A row of named numbers."""

    type: Literal["tiles"] = "tiles"
    values: dict[str, float]


class Bars(Block):
    """One bar a name; `select` is the column of the rows that a click filters by.

    intervals: low and high end by name, in the unit of the values, for all or some names. reference: a value that the
    bars are measured against, such as the metric over all rows. whole: a bar of full length, where it is not the
    largest, and what shares are of, where that is not the sum of all.
    """

    type: Literal["bars"] = "bars"
    values: dict[str, float]
    unit: str = ""
    select: str = ""
    intervals: dict[str, tuple[float, float]] = {}
    reference: float | None = None
    whole: float | None = None


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


class Points(Data):
    """A curve's points: x [n] and y [n], joined in this order, NaN is a gap; `note` stands in the legend (AUC 0.94)."""

    x: list[float]
    y: list[float]
    note: str = ""

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        _check(x=self.x, y=self.y)
        return self


class Curves(Block):
    """Curves by name over one x axis, such as precision over recall, ROC or a calibration curve.

    diagonal: x = y as a dashed line, what chance or perfect calibration gives. unit_square: both axes from 0 to 1.
    """

    type: Literal["curves"] = "curves"
    series: dict[str, Points]
    x_axis: str = ""
    y_axis: str = ""
    diagonal: bool = False
    unit_square: bool = False


class Scatter(Block):
    """Points x [n], y [n], each with its group [n or 0] as a colour and its text [n or 0] on hover.

    diagonal: x = y as a dashed line (predicted against gold). zero_line: y = 0 as a dashed line (residuals).
    """

    type: Literal["scatter"] = "scatter"
    x: list[float]
    y: list[float]
    groups: list[str] = []
    texts: list[str] = []
    x_axis: str = ""
    y_axis: str = ""
    diagonal: bool = False
    zero_line: bool = False

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        _check(x=self.x, y=self.y, groups=self.groups or self.x, texts=self.texts or self.x)
        return self


class Span(Data):
    """Characters `start` up to `end` of a text with their label; `kind` tells the error, "" for none."""

    start: int
    end: int
    label: str = ""
    kind: SpanKind = ""


class SpanText(Data):
    """A text with its gold and its predicted spans; `row` is the row of the data, -1 where there is none."""

    text: str
    gold: list[Span] = []
    predicted: list[Span] = []
    note: str = ""
    row: int = -1


class SpanTexts(Block):
    """Texts with spans: entities, or the answer in its context.

    labels: all that there can be, in the order of their colours, so that blocks side by side have the same ones.
    """

    type: Literal["span_texts"] = "span_texts"
    texts: list[SpanText]
    labels: list[str] = []

    def colour_order(self) -> list[str]:
        """Return `labels`, and behind them those that occur besides, by name."""
        there = {span.label for text in self.texts for span in (*text.gold, *text.predicted)}
        return [*self.labels, *sorted(there - set(self.labels))]


class Token(Data):
    """A token as the model gets it; `label` is what it is trained on, "" for nothing.

    kind: "special" the tokenizer's own ([CLS]), "padding", "cut" off by the longest length, "continued" a piece of
    the word before.
    """

    text: str
    kind: TokenKind = ""
    label: str = ""


class TokenText(Data):
    """A row as the model gets it."""

    tokens: list[Token]
    note: str = ""


class TokenTexts(Block):
    """Rows as the model gets them, token by token."""

    type: Literal["token_texts"] = "token_texts"
    texts: list[TokenText]


class Texts(Block):
    """Texts side by side: `rows` [n, columns] under `columns`, wrapped."""

    type: Literal["texts"] = "texts"
    columns: list[str]
    rows: list[list[str]]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        for row in self.rows:
            _check(columns=self.columns, row=row)
        return self


def _check(**lists: list[Any]) -> None:
    if len({len(values) for values in lists.values()}) > 1:
        raise ValueError("not equally many: " + ", ".join(f"{name} {len(values)}" for name, values in lists.items()))


AnyBlock = Annotated[
    Tiles | Bars | Histogram | Matrix | Table | Curves | Scatter | SpanTexts | TokenTexts | Texts,
    Field(discriminator="type"),
]
