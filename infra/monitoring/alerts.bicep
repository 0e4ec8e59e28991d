// Alert rules on the log, of alerts.json, which is made of alerts.yaml and the queries. Each fires while its query
// returns a row; a rule with dimensions has an alert for each of their values.

@description('The Log Analytics workspace of Application Insights.')
param workspaceId string

@description('Region.')
param location string = resourceGroup().location

@description('Tags of everything.')
param tags object = {}

@description('Who is told: ids of action groups. Without any, alerts are only seen in the portal.')
param actionGroupIds string[] = []

@description('Thresholds other than those of alerts.yaml, by the name of the rule, such as {backlog: 50}.')
param thresholds object = {}

@description('Rules that are deployed but switched off, by name.')
param disabledRules string[] = []

@description('Where the runbook is read: each alert has a link to its part of it. Empty: alerts name its file.')
param runbookUrl string = ''

var rules = loadJsonContent('alerts.json').rules
var runbook = empty(runbookUrl) ? 'docs/runbook.md' : runbookUrl

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'berth-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'berth: ${rule.title}'
      description: '${rule.description} ${runbook}#${rule.name}'
      severity: rule.severity
      enabled: !contains(disabledRules, rule.name)
      scopes: [workspaceId]
      evaluationFrequency: rule.frequency
      windowSize: rule.window
      overrideQueryTimeRange: empty(rule.reads) ? null : rule.reads
      autoMitigate: true
      skipQueryValidation: true // a table exists only after its first record
      criteria: {
        allOf: [
          {
            query: replace(
              replace(rule.query, '{threshold}', string(thresholds[?rule.name] ?? rule.threshold)),
              '{next_threshold}',
              string(thresholds[?rule.below] ?? rule.nextThreshold)
            )
            dimensions: rule.dimensions
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: actionGroupIds
      }
    }
  }
]
