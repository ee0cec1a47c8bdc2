"""Asking: one question each, put from inside a node's network namespace, and what came back, as a value.

What belongs here opens sockets of the keeper's own in a namespace and waits for answers until a deadline; no program of
the node takes part. What does not: whether an answer is right (that is for whoever asked), and questions asked over
and over while something breaks (`trenza.linux.prober`).

All of it is synchronous, safe in any thread, and leaves the thread where it was: it lies in the node's namespace only
while a socket is made. A namespace that cannot be used and a socket that is refused are a KernelError; an answer that
does not come is part of what came back. Every question ends after `timeout_s` and not after `until`, which is on the
monotonic clock.
"""
