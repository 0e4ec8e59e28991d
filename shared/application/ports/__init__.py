"""What the use cases need from the outside world, one module for each neighbour; the adapters implement it."""
