"""Linux: the kernel that labs really run on. Sandboxes, nodes and what runs in them; netlink; captures; the doctor.

What belongs here does I/O and knows the kernel's own words. What does not: deciding what a lab should be
(`trenza.plan`), and keeping it so (`trenza.engine`). `init`, `spawner`, `template`, `beneath`, `confine` and `syscalls`
run in the sandbox's first processes and import nothing but the standard library and each other.
"""
