"""What runs in every host of a cluster: the kubelet, flannel, the proxy and the DNS, as one process, the *agent*.

Pure, in values: `overlay` and `docker0` (what a host's interfaces should be), `proxy` and `words` (the rules behind
services), `dns` (answers), `pods`, `probing`, `environment` and `volumes` (what should become of a pod). Effects:
`network`, `containers`, `probes`, `resolver`, `endpoint`, brought together by `agent`. What a cluster decides as a
whole (where a pod runs, what backs a service) is not here.

Where the agent runs
--------------------
It is executed by the keeper and lies, like it, in the sandbox's user namespace and in the keeper's mount namespace:
it alone sees the Python environment, while `/proc` is the sandbox's. Before it does anything it enters the *pid* and
*network* namespaces of its host (`launch`): `ps faxu` in the host shows it below the init, it listens and connects
as the host does, a cut cable cuts it off, and it ends with the host. The host's root can see it and can neither
trace it nor look into its files, since it has no capabilities in the agent's user namespace; it may kill it only
where a single id is mapped, as on a real machine. It takes 19 MB of memory of its own (25 MB resident), and 25 kB more
for each pod.

The spawner's socket is in the sandbox's network namespace. The agent keeps a descriptor of that, and goes there to
connect and for nothing else.

Pods are nodes of the spawner. A *pause* has the pod's network; each container is a node that joins it. Their files
(volumes, /etc/hosts, logs) lie in the host, below /var/lib/kubelet and /var/log/pods, as on a real machine. A
container's init is catatonit, and the command its child: it has no pid 1, and what a real container's pid 1 ignores
(SIGTERM without a handler) ends it.
"""
