"""What the orchestrations call: a few activities, each one step of the work.

Each may run twice, late, or be cut off at any point and be run again: it reads what is recorded, continues from there,
and before it acts writes down whatever is needed to undo the act.
"""
