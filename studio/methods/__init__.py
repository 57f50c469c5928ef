"""One file per fine-tuning method.

A method is a class with `id`, `label`, `summary`, `order`, `Config`, `learning_rate(config)`,
`check(info, config)` (problems before Start), `n_trainable(tensors, config)` (for the layer strip, without torch),
`apply(model, config)` and `merge(model)` (a plain model for export). May import core and numpy; torch and peft
inside functions. To add a method, add a file.
"""
