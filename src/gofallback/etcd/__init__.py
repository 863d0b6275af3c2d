"""A run's lease in etcd (docs/leases.md): `url` reads ``rollout.lease``, `client` sends requests, `lease` is the lease.

It may import `lease`, `release` and the ground. Only `gofallback.deploys.rollout.etcd_lease` uses it, and loads it only
where group data names etcd. A new request to etcd is one method of `client.Cluster`.
"""
