"""One file per way to read data into an Arrow table of rows; the values of all columns are texts.

A source is a class with `id`, `label`, `order`, `endings`, `Config` (with `path`), `reads(path)` and
`read(config) -> Read`; its module's `PLUGIN` is one instance. Where kinds share an ending, `reads` of the more special
one looks at the beginning of the file too, and its `order` is higher: of those that read a file the last is taken.
May import core, numpy and (inside functions) pyarrow. To add a format, add a file.
"""
