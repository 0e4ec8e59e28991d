"""Azure Table Storage: tenants, clusters, idempotency keys and latency rows."""
