"""`./berth report`: the fleet, what it costs, how fast it is and what sweeps decide, as tables and as a page."""
