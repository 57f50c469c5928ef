"""Attune, a desktop studio for fine-tuning transformers.

The window (`ui`) drives a worker process (`worker`) through a run directory; see README.md, "How it is built".
"""

__version__ = "0.1.0"
