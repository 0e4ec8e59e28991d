"""Sets up what a command needs, once, and hands over to it. The system's Python runs it: standard library only.

The parts are made side by side: the Python environment, Azurite, the Kubernetes binaries, and for the tests what the
deployment package installs. They live in the user's cache directory, each under a hash of what it is made from, so all
clones share them.
"""
