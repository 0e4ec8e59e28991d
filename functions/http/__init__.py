"""The HTTP API: one module for each group of routes, and what they share."""
