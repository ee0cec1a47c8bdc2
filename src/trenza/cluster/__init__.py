"""Kubernetes as a lab runs it: the store, the kinds, the controllers, the server and the node agents.

Objects are plain JSON mappings as Kubernetes writes them. Nothing here knows of labs, sandboxes or the keeper;
they start these processes and give them addresses.
"""
