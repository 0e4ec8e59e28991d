"""KQL in tests: Microsoft's library checks queries, and a local engine runs them on rows of a workspace."""
