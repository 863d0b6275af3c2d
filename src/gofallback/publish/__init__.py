"""Publishing: the artifacts of a version to a folder, an S3 bucket or a package registry, checked by SHA-256."""
