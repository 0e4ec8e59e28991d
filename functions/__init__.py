"""Triggers: parse, call one use case, answer."""
