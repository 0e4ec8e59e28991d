// The vault of one cluster's certificate, and the identity with which its gateway reads it. That identity can read
// nothing else: the app's secrets are in another vault.

@description('Name of the cluster.')
param cluster string

@description('Name of the vault.')
param vaultName string

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

@description('Whether a deleted vault keeps its name for 7 days, whatever anybody does.')
param purgeProtection bool

@description('Who signs the tokens of the cluster\'s service accounts.')
param oidcIssuer string

@description('Object id of whoever may write the certificate.')
param principalId string

@description('What principalId is.')
param principalType string

// As in infra/kubernetes/gateway.yaml.
var namespace = 'gateway'
var account = 'gateway-certificate'
var certificate = 'tenants'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${cluster}-gateway'
  location: location
  tags: tags
}

resource credential 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = {
  parent: identity
  name: 'gateway'
  properties: {
    issuer: oidcIssuer
    subject: 'system:serviceaccount:${namespace}:${account}'
    audiences: ['api://AzureADTokenExchange']
  }
}

module vault 'keyvault.bicep' = {
  params: {
    name: vaultName
    location: location
    tags: tags
    purgeProtection: purgeProtection
    readerPrincipalId: identity.properties.principalId
    officerPrincipalId: principalId
    officerPrincipalType: principalType
    officerWrites: 'certificates'
  }
}

output vaultName string = vault.outputs.name
output certificateName string = certificate
output certificateUri string = '${vault.outputs.uri}certificates/${certificate}'
output identityClientId string = identity.properties.clientId
output serviceAccount string = account
output assignments object[] = vault.outputs.assignments
