"""The window: pages that draw the store and call its verbs.

Belongs here: everything that knows Qt, and nothing else does. Imports `core`, `supervisor`, and the plug-in
families through `core.registry`; never torch, transformers or datasets, and pyqtgraph and pyarrow only inside the
pages that need them. To add a page, add a row to `pages.py` and a module to `panels/`; to add an action, add a
row to `actions.py`.
"""
