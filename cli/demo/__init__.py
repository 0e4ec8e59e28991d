"""`./berth demo`: many signups at once, weeks on the moved clock, a sweep, two tenants that wake, and what it cost."""
