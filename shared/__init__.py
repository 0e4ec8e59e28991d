"""The product behind the triggers: domain, use cases and adapters."""
