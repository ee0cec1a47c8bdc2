"""Checks: which of the student's things a name means, what an answer proves, what is wrong first, what it is worth.

Pure: answers come in as values, from whoever asked. What does not belong here: sockets, the order of asking, waiting.
"""
