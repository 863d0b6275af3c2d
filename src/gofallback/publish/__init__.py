"""The artifacts of a version in a folder, an S3 bucket or a package registry, checked by SHA-256 (docs/publishing.md).

It may import `controller`, `git`, `credentials` and everything below. `files` names what is published, `send` sends it,
`pull` lets targets read it; `download` and `archive` make archives for people. A new kind of store is one module here
with a class like `store.Store`, then one line in `send.open_store`; a new registry is one function in `request`.
"""
