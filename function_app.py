"""berth: the composition root. It registers the triggers; what they do is under functions/ and shared/."""

import azure.durable_functions as df

from functions import activities, clusters, health, operations, reference, tenants, timers, workflows

app = df.DFApp()
for module in (activities, clusters, health, operations, reference, tenants, timers, workflows):
    app.register_functions(module.bp)
