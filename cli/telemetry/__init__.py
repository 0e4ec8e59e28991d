"""`./berth telemetry`: what the running stack has sent to the stand-in for Application Insights."""
