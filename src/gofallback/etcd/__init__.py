"""A run's lease in etcd (docs/leases.md): `url` reads ``rollout.lease``, `client` sends requests, `lease` is the lease.

It may import `lease`, `release` and the ground. Only `gofallback.deploys.rollout` uses it; its `etcd_lease` loads the
client only where group data names etcd. A new request to etcd is one method of `client.Cluster`.
"""
