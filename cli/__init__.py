"""The `./berth` commands: the stack, tenants over HTTP, the demo and the tests."""
