"""One head of any length: exact tiles where one looks, computed while the window stays fluid."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QWidget

from studio.attention.deep import TILE, Head, Tiles
from studio.ui.i18n import tr
from studio.ui.theme import Theme
from studio.ui.threads import background
from studio.ui.widgets import head_figure
from studio.ui.widgets.head_matrix import HeadMatrix
from studio.ui.widgets.heat import Scale, picture

MOST_IMAGES = 128  # of tiles, a quarter of a megabyte each
Place = tuple[int, int, int]


class DeepMatrix(HeadMatrix):
    """A HeadMatrix that also shows a `deep.Head`, of which no more is computed than is in sight.

    Zoomed out a pixel shows the strongest of the cells under it. Tiles come from a thread; until one is there, a
    coarser one stands in its place, and before any of them what some of the rows say.
    """

    _tiles: Tiles | None = None  # also while HeadMatrix is being made

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._images: OrderedDict[Place, QImage] = OrderedDict()
        self._asked: Place | None = None
        self._preview: np.ndarray | None = None

    def set_matrix(self, values: np.ndarray | Head, *of_tokens: list[str], **options: object) -> None:
        """Show a matrix, or a head that is too large to be one; else as HeadMatrix."""
        self._tiles = Tiles(values, mean=self._mean) if isinstance(values, Head) else None
        self._images.clear()
        self._asked, self._preview, tiles = None, None, self._tiles
        super().set_matrix(values, *of_tokens, **options)
        if tiles is not None:
            background(tiles.preview, lambda found: self._take_preview(tiles, found), self._fail, self, key="preview")

    def set_mean(self, on: bool) -> None:
        """Draw the mean of cells that share a pixel, or the strongest; as HeadMatrix."""
        is_other = on != self._mean
        super().set_mean(on)
        if is_other and self._tiles is not None:
            head, limit = self._tiles.head, self._limit
            self.set_matrix(head, self.query_tokens, self.key_tokens, self.caption, self._difference, limit)

    def is_complete(self) -> bool:
        """Return whether everything in sight is drawn as sharply as it should be."""
        return self._tiles is None or (self._preview is not None and self._asked is None and not self._missing())

    def _rescale(self) -> None:
        if self._tiles is None:
            super()._rescale()
            return
        self.scale = Scale(self._difference, self._limit or 1.0, self._gamma)
        self._images.clear()
        self._set_scroll_ranges()
        self.viewport().update()

    def _show_theme(self, theme: Theme) -> None:
        if self._tiles is not None:
            self._images.clear()
        super()._show_theme(theme)

    def figure(self) -> Callable[[], head_figure.Figure]:
        """Take what is in sight, and return what makes it a figure; a small matrix is whole in it."""
        if self._tiles is None:
            return super().figure()
        # A figure of millions of cells would be no figure: it shows what is in sight.
        tiles, (level, rows, columns) = self._tiles, self._in_sight()
        step = TILE << level
        queries = self.query_tokens[rows.start * step : rows.stop * step : 1 << level]
        keys = self.key_tokens[columns.start * step : columns.stop * step : 1 << level]
        note = tr("each cell the strongest of {n} × {n}", n=1 << level) if level else ""
        caption = " · ".join(filter(None, (self.caption, note)))
        scale = self.scale

        def make() -> head_figure.Figure:
            parts = [[tiles.tile(level, row, column) for column in columns] for row in rows]
            return head_figure.Figure(np.block(parts), queries, keys, caption, scale)

        return make

    # --- tiles -------------------------------------------------------------------------------------------------

    def _in_sight(self) -> tuple[int, range, range]:
        """Return the level at which a cell is about a pixel, and the rows and columns of tiles in sight."""
        area, cell, shift = self._area(), self._cell(), self._shift()
        level = int(np.ceil(np.log2(max(1.0, 1.0 / (cell * self.devicePixelRatioF())))))
        level = min(level, self._tiles.n_levels - 1)
        side = (TILE << level) * cell
        n_tiles = [-(-n // (TILE << level)) for n in self.values.shape]
        rows = range(int(shift.y() // side), min(n_tiles[0], int((shift.y() + area.height()) // side) + 1))
        columns = range(int(shift.x() // side), min(n_tiles[1], int((shift.x() + area.width()) // side) + 1))
        return level, rows, columns

    def _missing(self) -> list[Place]:
        level, rows, columns = self._in_sight()
        places = [(level, row, column) for row in rows for column in columns]
        return [place for place in places if self._tiles.known(*place) is None]

    def _paint_values(self, painter: QPainter, theme: Theme) -> None:
        if self._tiles is None:
            super()._paint_values(painter, theme)
            return
        level, rows, columns = self._in_sight()
        if self._preview is None:
            return
        whole = QRectF(self.cell_rect(0, 0).topLeft(), self.cell_rect(*self.values.shape).topLeft())
        painter.drawImage(whole, picture(self.scale.colours(self._preview, theme)))
        for row in rows:
            for column in columns:
                self._paint_tile(painter, theme, (level, row, column))
        self._ask()

    def _paint_tile(self, painter: QPainter, theme: Theme, place: Place) -> None:
        """Draw a tile, or what a coarser one has in its place."""
        level, row, column = place
        for up in range(self._tiles.n_levels - level):
            coarse = (level + up, row >> up, column >> up)
            image = self._tile_image(coarse, theme)
            if image is not None:
                target = self._rect(coarse, image)
                painter.save()
                painter.setClipRect(self._rect(place, None), Qt.ClipOperation.IntersectClip)
                painter.drawImage(target, image)
                painter.restore()
                return

    def _rect(self, place: Place, image: QImage | None) -> QRectF:
        """Return where a tile lies; the last ones of a row or column may be smaller than the others."""
        level, row, column = place
        step, first = 1 << level, self.cell_rect(place[1] * (TILE << level), place[2] * (TILE << level))
        width, height = (image.width(), image.height()) if image is not None else (TILE, TILE)
        return QRectF(first.left(), first.top(), width * step * self._cell(), height * step * self._cell())

    def _tile_image(self, place: Place, theme: Theme) -> QImage | None:
        if place in self._images:
            self._images.move_to_end(place)
            return self._images[place]
        values = self._tiles.known(*place)
        if values is None:
            return None
        self._images[place] = picture(self.scale.colours(values, theme))
        while len(self._images) > MOST_IMAGES:
            self._images.popitem(last=False)
        return self._images[place]

    def _ask(self) -> None:
        """Have one missing tile made; those in the middle of what is in sight come first."""
        missing = self._missing() if self._asked is None else []
        if not missing:
            return
        middle = np.mean(missing, axis=0)
        self._asked = min(missing, key=lambda place: float(np.abs(np.array(place) - middle).sum()))
        tiles, place = self._tiles, self._asked
        background(lambda: tiles.tile(*place), lambda _: self._take(tiles), self._fail, self)

    def _take_preview(self, tiles: Tiles, found: np.ndarray) -> None:
        if tiles is self._tiles:
            self._preview = found
            self.viewport().update()

    def _take(self, tiles: Tiles) -> None:
        if tiles is self._tiles:
            self._asked = None
            self.viewport().update()

    def _fail(self, error: Exception) -> None:
        self._asked = None
        raise error
