// Durable Task Scheduler, if it is chosen instead of the storage account for the task hub.

@description('Name of the scheduler.')
param name string

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('Consumption is billed by action; Dedicated by capacity unit, with 2,000 actions a second.')
@allowed(['Consumption', 'Dedicated'])
param sku string = 'Consumption'

var roles = { 'Durable Task Data Contributor': '0ad04412-c4d5-4796-b79c-f76d14c8d402' }

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: sku == 'Dedicated' ? { name: sku, capacity: 1 } : { name: sku }
    ipAllowlist: ['0.0.0.0/0'] // an empty list denies all; only identities get in
  }
}

resource hub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' = {
  parent: scheduler
  name: 'berth'
}

resource contributor 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hub
  name: guid(hub.id, appPrincipalId, roles['Durable Task Data Contributor'])
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Durable Task Data Contributor'])
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

output endpoint string = scheduler.properties.endpoint
output assignments object[] = [{ principalId: appPrincipalId, role: 'Durable Task Data Contributor', scope: hub.id }]
