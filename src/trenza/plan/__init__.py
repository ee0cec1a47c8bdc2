"""Plans: the state a lab file wants, the difference of two states, and its explanation. Pure; no I/O.

Also the `Kernel` protocol that performs plans, with two implementations (`trenza.memory`, `trenza.linux`) held to one
conformance suite.
"""
