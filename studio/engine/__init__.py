"""The worker's side: builds transformers' Trainer from a spec, turns its callbacks into events, saves, evaluates.

One module per kind of run (`train`, `evaluate`, `predict`, `inspect`, `export`) with `run(run_dir, spec, report)`.
May import everything but `ui`; torch and transformers inside functions or in modules that only the worker imports.
"""
