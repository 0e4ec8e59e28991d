// The nodes of one cluster may pull the product's image from a registry that exists.

@description('Name of the registry.')
param name string

@description('Object id of the identity of the cluster\'s nodes.')
param kubeletPrincipalId string

var roles = { AcrPull: '7f951dda-4ed3-4680-a7ca-43fe172d538d' }

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' existing = {
  name: name
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: registry
  name: guid(registry.id, kubeletPrincipalId, roles.AcrPull)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.AcrPull)
    principalId: kubeletPrincipalId
    principalType: 'ServicePrincipal'
  }
}
