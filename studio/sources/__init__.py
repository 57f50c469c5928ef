"""One file per way to read data into an Arrow table of rows.

A source is a class with `id`, `label`, `order`, `endings`, `Config` (with `path`), `reads(path)` and
`read(config) -> Read`; its module's `PLUGIN` is one instance. May import core, numpy and (inside functions)
pyarrow. To add a format, add a file.
"""
