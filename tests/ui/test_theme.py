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
