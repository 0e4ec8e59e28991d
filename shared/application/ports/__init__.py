"""What the use cases need from the outside world, one module for each dependency; the adapters implement it."""
