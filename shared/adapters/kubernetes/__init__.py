"""Kubernetes API servers: apply, wait, remove."""
