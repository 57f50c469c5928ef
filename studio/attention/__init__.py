"""The attention of a model: captured from the very model one trains, checked, and read as numbers.

Belongs here, in the worker: `interface.py` (our attention function inside transformers), `streaming.py` (maps in
chunks of rows, or queries and keys), `spy.py` (files without the interface), `capture.py` (one verified capture and its
files), `checks.py` (what makes a capture believable) and `gates.py` (gradients and ablation of heads). In the window
too, so without torch: `maps.py` (saved maps and their statistics), `qk.py` (any head or tile from queries and keys),
`timeline.py` (the captures of a sentence that was watched while a model trained), `heads.py` (patterns and head
search), `grouping.py` (tokens left out, pieces of words merged), `over_rows.py` (heads over many texts), `paths.py`
(rollout, flow, relevance) and `coalitions.py` (Shapley, LIME, curves of faithfulness).
May import numpy and `studio.core`; torch and transformers only inside functions. Nothing here knows Qt. To add a
statistic of the heads, add it to `maps.head_statistics`; to add a pattern, to `heads.patterns`; to add a check, add it
to `checks.py` with a test in which it fails.

Everywhere: row = query = the token that looks, column = key = the token looked at.
"""
