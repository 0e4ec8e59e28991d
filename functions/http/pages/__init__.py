"""The ops pages under /api/ops, for operators. `page.py` has the declaration of a page."""
