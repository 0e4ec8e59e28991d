"""All routes of the API: importing a module registers its routes."""

from functions.http import clusters, health, operations, reconciliations, reference, tenants
from functions.http.endpoint import ROUTES, bp

__all__ = ["ROUTES", "bp", "clusters", "health", "operations", "reconciliations", "reference", "tenants"]
