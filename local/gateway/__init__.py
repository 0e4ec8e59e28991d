"""The simulated gateway: the data plane of a local cluster, as KWOK is its nodes. Never deployed."""
