"""A language worker, as Azure runs one beside its host: the app in a process of its own, run by Microsoft's library."""
