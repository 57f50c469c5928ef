"""What a run is: its spec, its directory, its events and the state they fold into.

Belongs here: data and rules that the window and the worker share. Imports the standard library, pydantic and
numpy, nothing else. To add an event, add a class to `events.py`; to add a failure, add a row to `reasons.py`.
"""
