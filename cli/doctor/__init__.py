"""`./berth doctor`: what of a berth works, and what is missing."""
