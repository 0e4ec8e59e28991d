"""berth: the composition root. It registers the triggers; what they do is under functions/ and shared/."""

import azure.durable_functions as df

from functions import activities, orchestrators, timers
from functions.http import api

app = df.DFApp()
for module in (api, activities, orchestrators, timers):
    app.register_functions(module.bp)
