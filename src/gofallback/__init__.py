"""gofallback: a standby Windows host becomes the Go release builder."""
