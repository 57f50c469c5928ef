"""The pages of the window, one module each; what a page is made of lies beside it.

A page is a class `<Name>Panel(QWidget)` in `<name>.py` that takes the store; it draws the store's state and calls
its verbs, and knows no other page. The window makes it when it is first opened, so whatever is heavy (pyqtgraph,
pyarrow) may be imported here, but never torch, transformers or datasets.
"""
