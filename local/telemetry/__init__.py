"""A stand-in for the ingestion endpoint of Application Insights: it takes, checks and shows what the app exports."""
