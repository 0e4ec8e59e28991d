"""A small Azure Functions host for a laptop or CI: HTTP, timers and durable functions of any Python app directory."""
