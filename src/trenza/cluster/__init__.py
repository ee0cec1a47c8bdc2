"""A Kubernetes-compatible cluster inside a lab: its store, its kinds, its controllers, its server and its nodes.

Objects are plain JSON mappings as Kubernetes writes them. The kinds and the controllers are pure; the store, the
server and the nodes are asyncio.
"""
