"""One file per task: what a model learns to do with which columns.

A task is a class with `id`, `label`, `order`, `Config`, `roles`, and functions on tables (for the window, without
torch: `guess_roles`, `check`, `rows_behind`, `overview`) and on models (for the worker: `auto_class`, `labels`, `rows`,
`encode`, `metrics`, `score`, `predictions`, `report`). It returns blocks as data and never draws. To add a task, add
a file.
"""
