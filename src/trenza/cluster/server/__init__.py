"""The API server of a cluster, one asyncio process: a store below, HTTP above, and the controllers beside it.

    stored, deletion, listing       objects as the store holds them; what a deletion and a list's parameters mean (pure)
    registry, allocator, watching   resources over a store: every read, write and watch, whoever asks
    versions                        one object in two API groups (events)
    tls, users                      the cluster's authority, who somebody is, what they may do
    http                            HTTP/1.1 over asyncio and h11, upgrades handed over raw
    routes, targets, asked          paths and verbs, and what a request about a resource does
    reviews, answers                questions that are not kept; forms of answers
    spdy, websockets, streams       exec, attach, port-forward and logs, relayed to the node of the pod
    flannel                         the overlay's leases, beside the objects in the store
    control                         the controllers, driven by one watch over everything
    server                          all of it together; `python -m trenza.cluster.server`

What runs on nodes is reached by `nodestreams.NodeStreams` alone; `node_agents` is its client over the network.
"""
