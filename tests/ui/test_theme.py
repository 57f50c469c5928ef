import json

import numpy as np
import pytest

from studio.core.paths import resources_dir
from studio.ui import theme
from studio.ui.actions import ACTIONS

THEMES = ("light", "dark")


def luminance(colour: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", THEMES)
@pytest.mark.parametrize("ground", ["ground", "surface", "raised"])
def test_every_text_can_be_read_and_every_line_seen(name: str, ground: str) -> None:
    look = theme.load_theme(name)
    under = getattr(look, ground)
    for text in ("text", "muted", "accent", "good", "warning", "bad"):
        assert contrast(getattr(look, text), under) >= 4.5, text
    for line in look.series:
        assert contrast(line, under) >= 3.0, line


@pytest.mark.parametrize("name", THEMES)
def test_text_on_tints_can_be_read(name: str) -> None:
    look = theme.load_theme(name)
    assert contrast(look.on_accent, look.accent) >= 4.5
    for tone in ("accent", "good", "warning", "bad"):
        assert contrast(look.text, look.mix(tone, 0.14)) >= 4.5
        assert contrast(look.muted, look.mix(tone, 0.12)) >= 4.5
    for colour in (*look.series, look.bad, look.warning):  # grounds of spans, of their labels and of tokens
        assert contrast(look.text, look.mix(colour, 0.3)) >= 4.5, colour
    assert contrast(look.text, look.mix("accent", 0.2)) >= 4.5


@pytest.mark.parametrize("name", THEMES)
def test_more_attention_is_further_from_the_ground(name: str) -> None:
    look = theme.load_theme(name)
    table = theme.lookup_table("attention", look)
    assert table.dtype == np.uint32 and table.shape == (256,)
    assert f"#{table[0] & 0xFFFFFF:06X}" == look.ground and f"#{table[255] & 0xFFFFFF:06X}" == look.accent
    steps = np.diff([luminance(f"#{value & 0xFFFFFF:06X}") for value in table[::8]])
    assert (steps < 0).all() if name == "light" else (steps > 0).all()
    difference = theme.lookup_table("difference", look)
    assert f"#{difference[128] & 0xFFFFFF:06X}" == look.ground


def test_both_themes_have_the_same_tokens() -> None:
    tokens = json.loads((resources_dir() / "theme" / "tokens.json").read_text(encoding="utf-8"))
    assert tokens["light"].keys() == tokens["dark"].keys()


def test_every_icon_draws_something_and_every_action_has_its_icon(qapp) -> None:
    names = [path.stem for path in (resources_dir() / "icons").glob("*.svg")]
    assert {action.icon for action in ACTIONS if action.icon} <= set(names)
    for name in names:
        image = theme.pixmap(name, 24, theme.current().colour("text")).toImage()
        assert any(image.pixelColor(x, y).alpha() > 128 for x in range(24) for y in range(24)), name


def test_widgets_follow_a_change_of_theme(qtbot, qapp) -> None:
    from PySide6.QtWidgets import QLabel

    label, seen = QLabel(), []
    qtbot.addWidget(label)
    theme.apply(qapp, theme.load_theme("light"))
    theme.follow_theme(label, lambda look: seen.append(look.name))
    theme.apply(qapp, theme.load_theme("dark"))
    theme.apply(qapp, theme.load_theme("light"))
    assert seen == ["light", "dark", "light"]


# Machado, Oliveira and Fernandes 2009, at full severity: linear RGB as a protanope, deuteranope and tritanope sees it.
SEEN = {
    "everyone": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def seen(colours: np.ndarray, by: str) -> np.ndarray:
    """Return colours 0xRRGGBB as CIE Lab, the way someone sees them."""
    parts = np.stack([np.asarray(colours, dtype=np.int64) >> shift & 255 for shift in (16, 8, 0)], -1) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ np.array(SEEN[by]).T, 0, 1) @ XYZ.T / [0.95047, 1.0, 1.08883]
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


@pytest.mark.parametrize("name", THEMES)
@pytest.mark.parametrize("by", SEEN)
def test_colours_are_told_apart_by_the_colour_blind_too(name: str, by: str) -> None:
    """The sign of a difference, more attention from less, and the lines of several heads (2 is just noticeable)."""
    look = theme.load_theme(name)
    lab = seen(theme.lookup_table("difference", look), by)
    for step in (20, 64, 127):
        assert np.linalg.norm(lab[128 + step] - lab[127 - step]) > step * 0.65
    lightness = seen(theme.lookup_table("attention", look)[::16], by)[:, 0]
    assert (np.diff(lightness) < 0).all() if name == "light" else (np.diff(lightness) > 0).all()
    lines = seen(np.array([int(colour[1:], 16) for colour in look.series]), by)
    apart = np.linalg.norm(lines[:, None] - lines[None], axis=-1)[~np.eye(len(lines), dtype=bool)]
    assert apart.min() > 8
