"""One file per format in which a trained model leaves Attune, and the check that it is still the same model.

An exporter is a class with `id`, `label`, `summary`, `order`, `Config`, `tolerance` (how far its answers may lie from
the trained model's), `files` (what it writes), `export(model, tokenizer, directory, config, example, progress)` and
`load(directory, n_threads, output_names, wrap)`, which returns a `runners.Runner` on the format's own runtime.
`folder.py` builds the folder around these files, `reference.py` holds what the trained model answers,
`verification.py` compares in a fresh process. May import core; torch, transformers and onnxruntime inside functions.
To add a format, add a file.
"""
