"""`./berth deploy`: what azd runs after the resources are there, after the app is, and before all is removed."""
