"""What a cluster's control plane decides: the scheduler and the controllers, as pure functions.

A controller maps a `Snapshot` (every object at one revision) and `now_s` to steps: writes it wants made, and moments
at which it wants to be asked again. It remembers nothing: what was decided is read back from the objects. `loop.py`
drives them; it asks a controller again when something it reads has changed, and lets it see its own writes before the
watch brings them, so that nothing is done twice. Reading and writing the API is the caller's.
"""
