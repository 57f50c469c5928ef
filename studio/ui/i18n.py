"""The one function that every shown string passes."""

import json
from functools import cache
from typing import Any

from PySide6.QtCore import QCoreApplication

from studio.core.paths import resources_dir


def tr(text: str, /, **facts: Any) -> str:
    """Return `text` in the person's language, with `facts` filled in as by `str.format`.

    The English text is the key; a text that the language's table lacks is shown in English.
    """
    app = QCoreApplication.instance()
    language = (app.property("language") if app else None) or "en"
    text = table(language).get(text, text)
    return text.format(**facts) if facts else text


def set_language(app: QCoreApplication, language: str) -> None:
    """Make `tr` speak `language` from now on; widgets that stand already keep their words."""
    app.setProperty("language", language)


@cache
def table(language: str) -> dict[str, str]:
    """Return the translations of `resources/i18n/<language>.json`, none when there is no such file."""
    path = resources_dir() / "i18n" / f"{language}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
