"""What a person takes away from a run: one Python file that trains the same without Attune, and its spec.

Imports core, and the sources for reading a table; the worker's side is only read here, as text, so that the window
may use this too.
"""
