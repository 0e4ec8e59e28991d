"""The activities that the orchestrations call.

Each may run twice, late, or stop at any point and run again. So it reads the recorded state and continues from there,
and it records what its compensation will need before it changes anything.
"""
