"""A Kubernetes cluster inside a lab: its store, kinds, controllers, server and node agents.

Objects are plain JSON mappings as Kubernetes writes them. What decides is pure; sockets and disks are at the edges.
"""
