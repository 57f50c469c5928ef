"""The one stylesheet, filled from the tokens.

Widgets ask for a look by dynamic properties, never by a stylesheet of their own:
`level` = title, small, number or strong (labels); `tone` = muted, good, warning, bad (labels); `main` (push
buttons); `flat` (push buttons without a ground); `card` (frames on the surface); `chip` (small rounded labels).
"""

from pathlib import Path
from typing import Any

TEMPLATE = """
QWidget {{ font-size: {body}px; }}
QMainWindow, QDialog {{ background: {ground}; }}
QToolTip {{ background: {raised}; color: {text}; border: 1px solid {hairline}; padding: 4px 6px; }}

QLabel[level="title"] {{ font-size: {title}px; font-weight: 600; }}
QLabel[level="strong"] {{ font-weight: 600; }}
QLabel[level="small"] {{ font-size: {small}px; color: {muted}; }}
QLabel[tone="muted"] {{ color: {muted}; }}
QLabel[tone="good"] {{ color: {good}; }}
QLabel[tone="warning"] {{ color: {warning}; }}
QLabel[tone="bad"] {{ color: {bad}; }}
QLabel[chip="true"] {{ background: {pressed}; border-radius: 9px; padding: 2px 8px; font-size: {small}px; }}
QLabel[chip="true"][tone="good"] {{ background: {good_tint}; }}
QLabel[chip="true"][tone="warning"] {{ background: {warning_tint}; }}
QLabel[chip="true"][tone="bad"] {{ background: {bad_tint}; }}

QFrame[card="true"] {{ background: {surface}; border: none; border-radius: {radius}px; }}
QFrame[frameShape="4"], QFrame[frameShape="5"] {{ color: {hairline}; }}

QPushButton {{
    background: {pressed}; color: {text}; border: 1px solid transparent; border-radius: 6px;
    padding: 5px 12px; min-height: 18px;
}}
QPushButton:hover {{ background: {held}; }}
QPushButton:pressed, QPushButton:checked {{ background: {held}; }}
QPushButton:focus {{ border-color: {accent}; }}
QPushButton:disabled {{ color: {faded}; background: {hover}; }}
QPushButton[main="true"] {{ background: {accent}; color: {on_accent}; font-weight: 600; padding: 6px 18px; }}
QPushButton[main="true"]:hover {{ background: {accent_hover}; }}
QPushButton[main="true"]:focus {{ border-color: {text}; }}
QPushButton[main="true"]:disabled {{ background: {held}; color: {faded}; }}
QPushButton[flat="true"] {{ background: transparent; padding: 4px 8px; }}
QPushButton[flat="true"]:hover {{ background: {hover}; }}
QPushButton[link="true"] {{ background: transparent; color: {accent}; padding: 4px 4px; text-align: left; }}
QPushButton[link="true"]:hover {{ text-decoration: underline; }}
QPushButton::menu-indicator {{ image: url("{chevron}"); subcontrol-position: right center; right: 8px; width: 10px; }}
QToolButton {{ background: transparent; border: 1px solid transparent; border-radius: 6px; padding: 4px; }}
QToolButton:hover {{ background: {hover}; }}
QToolButton:checked, QToolButton:pressed {{ background: {pressed}; }}
QToolButton:focus {{ border-color: {accent}; }}
QToolButton[tiny="true"] {{ padding: 1px; border-radius: 4px; }}
QPushButton[toggle="true"] {{ padding: 4px 6px; font-size: {small}px; color: {muted}; background: transparent; }}
QPushButton[toggle="true"]:checked {{ background: {accent_tint}; color: {accent}; }}
QToolButton::menu-indicator {{ image: none; }}

QLineEdit, QPlainTextEdit, QTextEdit, QAbstractSpinBox, QComboBox {{
    background: {surface}; color: {text}; border: 1px solid {edge}; border-radius: 6px; padding: 4px 8px;
    selection-background-color: {accent}; selection-color: {on_accent};
}}
QLineEdit, QAbstractSpinBox, QComboBox {{ min-height: 20px; }}
QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus, QAbstractSpinBox:focus, QComboBox:focus, QComboBox:on {{
    border-color: {accent};
}}
QLineEdit[wrong="true"], QAbstractSpinBox[wrong="true"], QComboBox[wrong="true"] {{ border-color: {bad}; }}
QLineEdit:disabled, QAbstractSpinBox:disabled, QComboBox:disabled {{ color: {faded}; background: {ground}; }}
QComboBox::drop-down {{ border: none; width: 20px; }}
QComboBox::down-arrow {{ image: url("{chevron}"); width: 10px; height: 10px; }}
QAbstractSpinBox {{ padding-right: 20px; }}
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {{
    subcontrol-origin: border; width: 20px; border: none; background: transparent;
}}
QAbstractSpinBox::up-button {{ subcontrol-position: top right; margin-top: 2px; }}
QAbstractSpinBox::down-button {{ subcontrol-position: bottom right; margin-bottom: 2px; }}
QAbstractSpinBox::up-button:hover, QAbstractSpinBox::down-button:hover {{ background: {hover}; }}
QAbstractSpinBox::up-arrow {{ image: url("{chevron_up}"); width: 8px; height: 8px; }}
QAbstractSpinBox::down-arrow {{ image: url("{chevron}"); width: 8px; height: 8px; }}
QSlider::groove:horizontal {{ background: {held}; height: 4px; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {accent}; height: 4px; border-radius: 2px; }}
QSlider::handle:horizontal {{
    background: {accent}; border: 2px solid {surface}; width: 12px; margin: -6px 0; border-radius: 8px;
}}
QSlider::handle:horizontal:hover {{ background: {accent_hover}; }}
QSlider::handle:horizontal:focus {{ border-color: {text}; }}
QComboBox QAbstractItemView {{
    background: {raised}; border: 1px solid {hairline}; padding: 4px; outline: none;
    selection-background-color: {selected}; selection-color: {text};
}}

QAbstractItemView {{
    background: {surface}; border: none; outline: none; gridline-color: {hairline};
    selection-background-color: {selected}; selection-color: {text}; alternate-background-color: {ground};
}}
QAbstractScrollArea {{ border: none; }}
QPlainTextEdit[readOnly="false"], QTextEdit[readOnly="false"] {{ border: 1px solid {edge}; }}
QPlainTextEdit[readOnly="false"]:focus, QTextEdit[readOnly="false"]:focus {{ border-color: {accent}; }}
QAbstractScrollArea::corner {{ background: transparent; border: none; }}
QScrollArea, QScrollArea > QWidget > QWidget#scrolled {{ background: transparent; }}
QScrollArea[ring="true"] {{ border: 1px solid transparent; border-radius: 4px; }}
QScrollArea[ring="true"]:focus {{ border-color: {accent}; }}
QTableView::item, QListView::item, QTreeView::item {{ padding: 3px 8px; }}
QHeaderView {{ background: {surface}; }}
QHeaderView::section {{
    background: {surface}; color: {muted}; border: none; border-bottom: 1px solid {hairline}; padding: 6px 8px;
}}
QTableCornerButton::section {{ background: {surface}; border: none; }}

QTabWidget::pane {{ border: none; }}
QTabBar {{ qproperty-drawBase: 0; }}
QTabBar::tab {{
    background: transparent; color: {muted}; padding: 6px 2px; margin-right: 16px; border: none;
    border-bottom: 2px solid transparent;
}}
QTabBar::tab:selected {{ color: {text}; border-bottom-color: {accent}; }}
QTabBar::tab:hover {{ color: {text}; }}
QTabBar::tab:focus {{ color: {accent}; }}

QMenuBar {{ background: {ground}; padding: 2px 8px; }}
QMenuBar::item {{ background: transparent; padding: 4px 8px; border-radius: 4px; }}
QMenuBar::item:selected {{ background: {pressed}; }}
QMenu {{ background: {raised}; border: 1px solid {hairline}; padding: 4px; }}
QMenu::item {{ padding: 5px 24px 5px 12px; border-radius: 4px; }}
QMenu::item:selected {{ background: {selected}; color: {text}; }}
QMenu::item:disabled {{ color: {faded}; }}
QMenu::separator {{ height: 1px; background: {hairline}; margin: 4px 8px; }}
QMenu::icon {{ padding-left: 8px; }}

QProgressBar {{ background: {pressed}; border: none; border-radius: 2px; max-height: 4px; min-height: 4px; }}
QProgressBar::chunk {{ background: {accent}; border-radius: 2px; }}
QSplitter::handle {{ background: transparent; }}
QScrollBar {{ background: transparent; border: none; }}
QScrollBar:vertical {{ width: 12px; }}
QScrollBar:horizontal {{ height: 12px; }}
QScrollBar::handle {{ background: {held}; border-radius: 3px; margin: 3px; }}
QScrollBar::handle:hover {{ background: {faded}; }}
QScrollBar::handle:vertical {{ min-height: 32px; }}
QScrollBar::handle:horizontal {{ min-width: 32px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}

QFrame#rail {{ background: {ground}; }}
QFrame#rail QToolButton {{ color: {muted}; font-size: {small}px; padding: 6px 2px; border-radius: 8px; }}
QFrame#rail QToolButton:checked {{ color: {accent}; background: {accent_tint}; font-weight: 600; }}
QFrame#thread QPushButton {{ background: transparent; padding: 3px 6px; color: {muted}; }}
QFrame#thread QPushButton:hover {{ background: {hover}; color: {text}; }}
QFrame#thread QPushButton[here="true"] {{ color: {text}; font-weight: 600; }}
QFrame#statusLine QLabel {{ color: {muted}; font-size: {small}px; }}
QFrame#notice {{ border-radius: {radius}px; background: {accent_tint}; }}
QFrame#notice[tone="good"] {{ background: {good_tint}; }}
QFrame#notice[tone="warning"] {{ background: {warning_tint}; }}
QFrame#notice[tone="bad"] {{ background: {bad_tint}; }}
QFrame#notice QPushButton {{ background: {surface}; }}
QFrame#floating {{ background: {raised}; border: 1px solid {edge}; border-radius: 10px; }}
QFrame#floating QLineEdit {{ border: none; background: transparent; font-size: 15px; padding: 8px; }}
QFrame#floating QListWidget {{ background: transparent; }}
"""


def stylesheet(theme: Any, folder: Path) -> str:
    """Return the application's stylesheet for `theme`; `folder` holds the pictures that it names."""
    tints = {
        "hover": theme.mix("text", 0.05),
        "pressed": theme.mix("text", 0.08),
        "held": theme.mix("text", 0.14),
        "edge": theme.mix("text", 0.22),
        "faded": theme.mix("muted", 0.65),
        "selected": theme.mix("accent", 0.18),
        "accent_hover": theme.mix("text", 0.15, "accent"),
    }
    tints |= {f"{name}_tint": theme.mix(name, 0.12) for name in ("accent", "good", "warning", "bad")}
    pictures = {"chevron": folder / "chevron.svg", "chevron_up": folder / "chevron-up.svg"}
    return TEMPLATE.format(**vars(theme), **tints, **{name: path.as_posix() for name, path in pictures.items()})
