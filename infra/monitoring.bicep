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

var workspaceName = 'log-berth-${token}'
var destination = 'workspace'
var roles = { 'Monitoring Metrics Publisher': '3913510d-42f4-4e42-8a64-420c390055eb' }

module newWorkspace 'workspace.bicep' = {
  params: {
    name: workspaceName
    location: location
    tags: tags
    dailyLogsGb: dailyLogsGb
  }
}

// Azure's host sends metrics of its own, which nobody reads and no setting stops: they would cost more than all of berth's
// rows. Requests, dependencies, traces and errors are kept as they are.
resource transformation 'Microsoft.Insights/dataCollectionRules@2024-03-11' = {
  name: 'dcr-logs-berth-${token}'
  location: location
  tags: tags
  #disable-next-line BCP036 // the list of known kinds lacks this one
  kind: 'WorkspaceTransforms'
  properties: {
    dataSources: {}
    destinations: {
      logAnalytics: [{ name: destination, workspaceResourceId: newWorkspace.outputs.id }]
    }
    dataFlows: [
      {
        #disable-next-line BCP036 // the list of known streams lacks this one
        streams: ['Microsoft-Table-AppMetrics']
        destinations: [destination]
        transformKql: 'source | where Name startswith "berth."'
      }
    ]
  }
}

module workspace 'workspace.bicep' = {
  params: {
    name: workspaceName
    location: location
    tags: tags
    dailyLogsGb: dailyLogsGb
    transformationId: transformation.id
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-berth-${token}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.outputs.id
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
    workspaceId: workspace.outputs.id
    location: location
    tags: tags
    actionGroupIds: empty(alertEmail) ? [] : [operators.id]
    runbookUrl: runbookUrl
  }
}

output insightsName string = insights.name
output assignments object[] = [
  { principalId: appPrincipalId, role: 'Monitoring Metrics Publisher', scope: insights.id }
]
