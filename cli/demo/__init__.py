"""`./berth demo`: many signups at once, two weeks on the moved clock, a sweep, and two tenants that wake."""
