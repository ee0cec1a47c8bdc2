"""Where a cluster keeps its objects: keys with revisions, watches and leases, as etcd defines them.

`protocol` is the contract in values; `embedded` keeps it on SQLite, `etcd` asks the real one; `history` judges what a
store did. What the bytes mean is not known here: a key is text, a value is bytes.
"""
