// A vault, to which only roles give access.

@description('Name of the vault.')
@minLength(3)
@maxLength(24)
param name string

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

@description('Whether a deleted vault keeps its name and what is in it for 7 days, whatever anybody does.')
param purgeProtection bool

@description('Object id of the identity that may read the secrets.')
param readerPrincipalId string

@description('Object id of whoever may write.')
param officerPrincipalId string

@description('What officerPrincipalId is.')
param officerPrincipalType string

@description('What the officer may write.')
@allowed(['secrets', 'certificates'])
param officerWrites string

var roles = {
  'Key Vault Secrets User': '4633458b-17de-408a-b874-0445c86b69e6'
  'Key Vault Secrets Officer': 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
  'Key Vault Certificates Officer': 'a4417e6f-fecd-4de8-b567-7b0420556985'
}
var officerRole = officerWrites == 'secrets' ? roles['Key Vault Secrets Officer'] : roles['Key Vault Certificates Officer']

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 7
    enablePurgeProtection: purgeProtection ? true : null // false is refused
    publicNetworkAccess: 'Enabled' // the app and the hooks come from the internet; only identities get in
  }
}

resource reader 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, readerPrincipalId, roles['Key Vault Secrets User'])
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Key Vault Secrets User'])
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource officer 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, officerPrincipalId, officerRole)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', officerRole)
    principalId: officerPrincipalId
    principalType: officerPrincipalType
  }
}

output name string = vault.name
output uri string = vault.properties.vaultUri
output assignments object[] = [{ principalId: readerPrincipalId, role: 'Key Vault Secrets User', scope: vault.id }]
