"""`./berth simulate`: what a made-up population of customers costs, under several policies and kinds of storage."""
