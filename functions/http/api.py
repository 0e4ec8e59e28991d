"""All routes of the API. Importing a module registers its routes, in the order in which a caller meets them."""

from functions.http import clusters, health, operations, reference, tenants
from functions.http.endpoint import ROUTES, bp

__all__ = ["ROUTES", "bp", "clusters", "health", "operations", "reference", "tenants"]
