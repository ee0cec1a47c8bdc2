"""The keeper: a lab's resident process. It carries the engine's words to clients, supervises, records.

It runs in the sandbox's user, pid and network namespaces, in a mount namespace of its own; no node sees it. If it
dies, the next command starts another, which adopts what it observes.
"""
