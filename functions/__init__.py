"""Triggers: parse the request, call one use case, respond."""
