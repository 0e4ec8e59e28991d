// What watches berth: the workbook and the alert rules, on a workspace that exists.

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

module workbook 'workbook.bicep' = {
  params: {
    workspaceId: workspaceId
    location: location
    tags: tags
  }
}

module alerts 'alerts.bicep' = {
  params: {
    workspaceId: workspaceId
    location: location
    tags: tags
    actionGroupIds: actionGroupIds
    thresholds: thresholds
    disabledRules: disabledRules
    runbookUrl: runbookUrl
  }
}
