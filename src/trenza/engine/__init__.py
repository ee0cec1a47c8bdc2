"""The engine: performs plans, observes, keeps a lab as its file and its person want it, and says what it saw.

It owns no socket and no loop: the keeper drives it and carries its words. Kernel calls here are plain, synchronous
code.
"""
