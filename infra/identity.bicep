// The app's own identity. Nothing else uses it; what it may do is beside each resource, by exact scope.

@description('Name of the identity.')
param name string

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

output id string = identity.id
output clientId string = identity.properties.clientId
output principalId string = identity.properties.principalId
