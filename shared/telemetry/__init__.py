"""What berth tells of itself beside its log: metrics and spans. Without a recorder, nothing is recorded."""
