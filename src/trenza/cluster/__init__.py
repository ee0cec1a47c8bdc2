"""A Kubernetes cluster inside a lab: its store, kinds, controllers, server and node agents.

Objects are plain JSON mappings as Kubernetes writes them. Kinds and controllers are pure; the store, the server and
the nodes are asyncio. Nothing here knows of labs, sandboxes or the keeper, who start these processes.
"""
