"""The embedded stack for a laptop or CI. Never deployed."""
