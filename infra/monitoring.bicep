// Application Insights on a workspace, who is told, and the workbook and alerts of infra/monitoring.

@description('Part of names.')
param token string

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('Who gets e-mail of alerts; empty for nobody.')
param alertEmail string

@description('Where the runbook is read; empty: alerts name its file.')
param runbookUrl string

@description('GB of logs in a day after which the rest is dropped.')
param dailyLogsGb int

var roles = { 'Monitoring Metrics Publisher': '3913510d-42f4-4e42-8a64-420c390055eb' }

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: 'log-berth-${token}'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 90 // what Application Insights has without a charge
    workspaceCapping: { dailyQuotaGb: dailyLogsGb }
    features: { disableLocalAuth: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-berth-${token}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, appPrincipalId, roles['Monitoring Metrics Publisher'])
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Monitoring Metrics Publisher'])
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(alertEmail)) {
  name: 'ag-berth-${token}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'berth'
    emailReceivers: [{ name: 'operators', emailAddress: alertEmail, useCommonAlertSchema: true }]
  }
}

module watch 'monitoring/main.bicep' = {
  params: {
    workspaceId: workspace.id
    location: location
    tags: tags
    actionGroupIds: empty(alertEmail) ? [] : [operators.id]
    runbookUrl: runbookUrl
  }
}

output insightsName string = insights.name
