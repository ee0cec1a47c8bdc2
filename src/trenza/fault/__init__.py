"""The fault catalogue: what can be broken, as values, and what a state becomes by it; what an outage was, from samples.

Pure. What belongs here: faults as people write them, the state that a fault makes of another, probes as people write
them, and the reading of an outage from what probes and events say. What does not: sockets, processes, clocks.
"""
