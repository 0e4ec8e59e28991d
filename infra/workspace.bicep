// The Log Analytics workspace of Application Insights. It is deployed twice in a row, because the rule that says what is
// kept of its rows names it, and it names the rule: first without, then with it. From one to the next deployment all is
// kept for some minutes, up to an hour.

@description('Name.')
param name string

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

@description('GB of logs in a day after which the rest is dropped.')
param dailyLogsGb int

@description('Id of the data collection rule that transforms what comes in; empty while there is none.')
param transformationId string = ''

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 90 // what Application Insights has without a charge
    workspaceCapping: { dailyQuotaGb: dailyLogsGb }
    features: { disableLocalAuth: true }
    defaultDataCollectionRuleResourceId: empty(transformationId) ? null : transformationId
  }
}

output id string = workspace.id
