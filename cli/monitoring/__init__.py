"""Makes what is deployed to Azure Monitor of the queries in infra/monitoring: the workbook, the alert rules, the page.

`python -m cli.monitoring` writes them, and a test holds that they are current.
"""
