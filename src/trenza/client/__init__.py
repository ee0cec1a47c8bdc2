"""The client: finds labs, makes sandboxes, starts keepers by executing them, asks them things.

Imports little, and never the keeper: a whole command should take less than 100 ms.
"""
