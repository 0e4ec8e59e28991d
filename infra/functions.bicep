// The Functions app on the plan Flex Consumption: Python 3.13, all access by its identity.

@description('Part of names.')
param token string

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

@description('Id of the app\'s identity.')
param identityId string

@description('Client id of the app\'s identity.')
param identityClientId string

@description('The storage account of the records, the task hub and the package.')
param storageName string

@description('The container of the package.')
param deploymentContainer string

@description('Address of the vault of the app\'s secrets.')
param vaultUri string

@description('Application Insights, where telemetry goes.')
param insightsName string

@description('Where the requests for tenants are counted.')
param prometheusUrl string

@description('Address of the Durable Task Scheduler; empty if the task hub is in the storage account.')
param schedulerEndpoint string

@description('The product\'s image without a tag.')
param tenantsImage string

@description('The version for signups that name none.')
param tenantsDefaultVersion string

@description('Other settings, by variable.')
param settings object

@description('Instances that always run for HTTP. Each costs about $21 a month with 2,048 MB.')
param alwaysReadyHttp int

@description('Instances that always run for orchestrations. Each costs about $21 a month with 2,048 MB.')
param alwaysReadyDurable int

@description('Memory of an instance, in MB. Time is billed by it.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('How many instances there may be at once.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@description('HTTP requests that one instance works on at once. The app waits rather than computes; without this Azure starts an instance for each request at once to a Python app.')
@minValue(1)
@maxValue(1000)
param requestsPerInstance int = 32

@description('Origin of pages that call the app from a browser; empty for none.')
param portalOrigin string

@description('Client id of the app registration for sign-in; empty for none.')
param signInClientId string

@description('Networks that may reach the app; empty for all.')
param allowedNetworks string[]

@description('Addresses by which the clusters\' waiting rooms reach the app.')
param clusterAddresses string[]

@description('The subnet by which the app leaves; empty for none.')
param subnetId string

var name = 'func-berth-${token}'
var owner = 'func-berth-${token}' // never changes, even if an app of another name takes over: all that berth made has it

// Settings whose values are secrets of the vault. A hook makes each secret once, if there is none.
var secrets = {
  BERTH_TENANTS_SECRET_SEED: 'berth-tenants-secret-seed'
  BERTH_OPS_KEY: 'berth-ops-key'
}

// What berth has no default for, and what only this deployment knows.
var berth = {
  BERTH_TABLES_ENDPOINT: storage.properties.primaryEndpoints.table
  BERTH_TENANTS_OWNER: owner
  BERTH_TENANTS_IMAGE: tenantsImage
  BERTH_TENANTS_DEFAULT_VERSION: tenantsDefaultVersion
  BERTH_RECOVERY_SCHEDULE: '0 * * * * *'
  BERTH_SWEEP_SCHEDULE: '0 30 2 * * *'
  BERTH_PRICES_SCHEDULE: '0 23 4 * * *'
  BERTH_COSTS_PRICE_REGION: 'westeurope'
  BERTH_ACTIVITY_PROMETHEUS_URL: prometheusUrl
}

var platform = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
  AzureWebJobsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue
  AzureWebJobsStorage__tableServiceUri: storage.properties.primaryEndpoints.table
  AZURE_CLIENT_ID: identityClientId
  AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential' // no other kind of sign-in is tried
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString // no secret: only identities may send
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage' // all traces; the default of the host and of berth's library keeps 5 a second
  OTEL_TRACES_SAMPLER_ARG: '1.0'
  PYTHON_ENABLE_OPENTELEMETRY: 'true' // berth itself sends; PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY would send twice
}

// What goes before host.json, which has the task hub in the storage account.
var scheduler = empty(schedulerEndpoint)
  ? {}
  : {
      AzureFunctionsJobHost__extensions__durableTask__storageProvider__type: 'azureManaged'
      AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionStringName: 'DURABLE_TASK_SCHEDULER_CONNECTION_STRING'
      DURABLE_TASK_SCHEDULER_CONNECTION_STRING: 'Endpoint=${schedulerEndpoint};Authentication=ManagedIdentity;ClientID=${identityClientId};TaskHub=berth'
    }

// The name is fixed by Azure: the identity signs in to the app registration instead of a client secret.
var signInSecret = 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
var signIn = empty(signInClientId)
  ? {}
  : {
      '${signInSecret}': identityClientId
      BERTH_OPS_SIGN_IN: 'platform'
    }

var references = toObject(
  items(secrets),
  each => each.key,
  each => '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/${each.value})'
)

var alwaysReady = filter(
  [
    { name: 'http', instanceCount: alwaysReadyHttp }
    { name: 'durable', instanceCount: alwaysReadyDurable }
  ],
  each => each.instanceCount > 0
)

// The clusters' addresses stay in when all else is closed, because anybody may open a tenant's address: the waiting room
// asks the app about it. A network cannot be given one path only, so whoever comes from a cluster still needs a key.
var networks = empty(allowedNetworks) ? [] : concat(allowedNetworks, map(clusterAddresses, each => '${each}/32'))

resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-berth-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      runtime: { name: 'python', version: '3.13' }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${deploymentContainer}'
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identityId }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReady
        triggers: { http: { perInstanceConcurrency: requestsPerInstance } }
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      cors: { allowedOrigins: empty(portalOrigin) ? [] : [portalOrigin], supportCredentials: false }
      ipSecurityRestrictionsDefaultAction: empty(networks) ? 'Allow' : 'Deny'
      ipSecurityRestrictions: [
        for (network, i) in networks: { name: 'allowed-${i}', action: 'Allow', priority: 100 + i, ipAddress: network }
      ]
      // Deployments come from anywhere; they need a role, because publishing by password is off.
      scmIpSecurityRestrictionsUseMain: false
      appSettings: map(
        items(union(settings, platform, scheduler, signIn, berth, references)),
        each => { name: each.key, value: each.value }
      )
    }
  }

  resource ftpPasswords 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    #disable-next-line BCP187 // Azure refuses it without a location, which its type lacks
    location: location
    properties: { allow: false }
  }

  resource scmPasswords 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    #disable-next-line BCP187 // likewise
    location: location
    properties: { allow: false }
  }
}

// App Service checks who signs in, and takes the header in which it says so from nobody else. Whether a request needs
// that, a key or nothing, the app decides: so requests without sign-in come through. Without a client id it is switched
// off: what a deployment does not name stays as it was, and so would the sign-in of before.
resource authentication 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: !empty(signInClientId) }
    globalValidation: { requireAuthentication: false, unauthenticatedClientAction: 'AllowAnonymous' }
    httpSettings: { requireHttps: true }
    login: { tokenStore: { enabled: false } }
    identityProviders: {
      azureActiveDirectory: empty(signInClientId)
        ? { enabled: false }
        : {
            enabled: true
            registration: {
              clientId: signInClientId
              clientSecretSettingName: signInSecret
              openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
            }
            validation: { allowedAudiences: [signInClientId, 'api://${signInClientId}'] }
          }
    }
  }
}

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
output owner string = owner
output secretNames string[] = map(items(secrets), each => each.value)
