"""Azure Table Storage: the records of tenants, clusters and latencies."""
