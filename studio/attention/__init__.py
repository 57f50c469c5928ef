"""The attention of a model: captured from the very model one trains, checked, and read as numbers.

Belongs here: `interface.py` (our attention function inside transformers), `capture.py` (one verified capture and its
files), `checks.py` (what makes a capture believable) and `maps.py` (what the window computes from saved maps).
May import numpy and `studio.core`; torch and transformers only inside functions, and never in `maps.py`, which the
window imports. Nothing here knows Qt. To add a statistic of the heads, add it to `maps.head_statistics`; to add a
check, add it to `checks.py` with a test in which it fails.

Everywhere: row = query = the token that looks, column = key = the token looked at.
"""
