// Azure Monitor's managed Prometheus, which scrapes the gateways of all clusters: by their requests berth knows whether
// tenants are used.

@description('Part of names.')
param token string

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

@description('Object id of the app\'s identity.')
param appPrincipalId string

var roles = { 'Monitoring Data Reader': 'b0d8363b-8ddd-447d-831f-62ca05bff136' }
var destination = 'workspace'

resource workspace 'Microsoft.Monitor/accounts@2025-10-03' = {
  name: 'amw-berth-${token}'
  location: location
  tags: tags
}

resource endpoint 'Microsoft.Insights/dataCollectionEndpoints@2024-03-11' = {
  name: 'dce-berth-${token}'
  location: location
  tags: tags
  kind: 'Linux'
  properties: {}
}

resource rule 'Microsoft.Insights/dataCollectionRules@2024-03-11' = {
  name: 'dcr-berth-${token}'
  location: location
  tags: tags
  kind: 'Linux'
  properties: {
    dataCollectionEndpointId: endpoint.id
    dataSources: {
      prometheusForwarder: [{ name: 'prometheus', streams: ['Microsoft-PrometheusMetrics'], labelIncludeFilter: {} }]
    }
    destinations: {
      monitoringAccounts: [{ name: destination, accountResourceId: workspace.id }]
    }
    #disable-next-line BCP036 // the list of known streams lacks this one
    dataFlows: [{ streams: ['Microsoft-PrometheusMetrics'], destinations: [destination] }]
  }
}

resource reader 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: workspace
  name: guid(workspace.id, appPrincipalId, roles['Monitoring Data Reader'])
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Monitoring Data Reader'])
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

output queryEndpoint string = workspace.properties.metrics.prometheusQueryEndpoint
output collectionRuleId string = rule.id
output assignments object[] = [{ principalId: appPrincipalId, role: 'Monitoring Data Reader', scope: workspace.id }]
