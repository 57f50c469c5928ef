"""The pieces that pages share, each built once: labels, chips, cards, tiles, tables, plots, blocks, heads.

Belongs here: widgets that know the theme and nothing of the store. They take plain values, arrays and blocks, and
answer with signals. May import Qt, numpy, `studio.core`, `studio.ui.theme`, `words` and `i18n`; pyqtgraph only in
`plot.py` and the modules that only it imports, pyarrow only in `arrow_model.py` and inside functions. To add a piece,
add a file; strings that it shows itself pass `tr`, colours come from the theme, and it repaints with the theme.
"""
