"""The only importers of the Kubernetes and Azure libraries."""
