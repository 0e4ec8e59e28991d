// berth on Azure: the app with all that it needs, and its clusters. `azd provision` deploys it; docs/deploy.md explains it.
//
// What is there once is in one resource group. Each entry of clusters/all.bicep gets a group of its own.
targetScope = 'subscription'

import { clusters } from 'clusters/all.bicep'

@description('Name of the azd environment. It is part of names, and the tag azd-env-name of everything.')
@minLength(1)
@maxLength(32)
param environmentName string

@description('Region of the app, and of each cluster whose entry names none.')
@metadata({ azd: { type: 'location' } })
param location string

@description('Object id of whoever deploys. They may administer the clusters and write the secrets of the vaults.')
param principalId string = deployer().objectId

@description('What principalId is: a person, the identity of a workflow, or a group.')
@allowed(['User', 'ServicePrincipal', 'Group'])
param principalType string = 'User'

@description('The domain under which clusters have theirs: tenants get https://SLUG.CLUSTER.DOMAIN.')
@minLength(4)
param domain string

@description('Whether the DNS zone of the domain is made here. With false, make the records of the output DNS_RECORDS yourself.')
param createDnsZone bool = true

@description('The product: its container image without a tag.')
@minLength(1)
param tenantsImage string

@description('The version of the product, which is the tag of its image, for signups that name none.')
param tenantsDefaultVersion string

@description('Settings of docs/settings.md besides those that are set here, by variable, such as {BERTH_PROVISIONING_MAX_CONCURRENT: \'32\'}. No secrets.')
param settings object = {}

@description('Where the task hub is: in the storage account, or in Durable Task Scheduler, which costs extra and needs no polling.')
@allowed(['AzureStorage', 'DurableTaskScheduler'])
param taskHubBackend string = 'AzureStorage'

@description('Copies of the storage account: LRS in one data centre, ZRS in three zones, GRS in another region too.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS'])
param storageSku string = 'Standard_LRS'

@description('Instances that always run for HTTP. One costs about $21 a month, and saves the first request after a pause the start of the app.')
@minValue(0)
@maxValue(10)
param alwaysReadyHttp int = 0

@description('Instances that always run for orchestrations. One costs about $21 a month, and saves the first operation after a pause the start of the app.')
@minValue(0)
@maxValue(10)
param alwaysReadyDurable int = 0

@description('The origin of the signup portal, such as https://portal.example.com, if its pages call the app themselves; empty for none.')
param portalOrigin string = ''

@description('Client id of the app registration with which operators sign in by Microsoft Entra; empty for no sign-in.')
param signInClientId string = ''

@description('Networks that may reach the app, separated by commas, such as 203.0.113.0/24; the addresses of the clusters are added, for their waiting rooms. Empty: all.')
param allowedNetworks string = ''

@description('Networks that may reach the API servers of the clusters, separated by commas. Empty: all. With any, the app leaves by an address of its own, which is added with the clusters\' own; its NAT gateway costs about $37 a month.')
param apiServerNetworks string = ''

@description('Who gets e-mail of alerts and of the budget; empty for nobody.')
param alertEmail string = ''

@description('Where your docs/runbook.md is read, such as https://github.com/OWNER/REPOSITORY/blob/main/docs/runbook.md: each alert has a link to its part. Empty: alerts name the file.')
param runbookUrl string = ''

@description('What all may cost in a month, in the currency of the subscription. E-mail is sent at 50, 80 and 100 %, and when it looks as if. 0: none is made; one that is there stays.')
@minValue(0)
param monthlyBudget int = 500

@description('First day of the budget, yyyy-MM-01. Azure does not let it change, and takes no past month for a new budget. So azd keeps it; empty for this month.')
param budgetStart string = ''

@description('The first of this month: do not set it.')
param thisMonth string = utcNow('yyyy-MM-01')

@description('GB of logs in a day after which the rest is dropped until the next one, and alerts see nothing. Some 40,000 tenants send as much. One costs $3.')
@minValue(1)
param dailyLogsGb int = 1

@description('Whether a deleted vault keeps its name and its secrets for 7 days, whatever anybody does. Cannot be switched off again.')
param purgeProtection bool = true

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var start = empty(budgetStart) ? thisMonth : budgetStart
var groupName = 'rg-${environmentName}'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groupName
  location: location
  tags: tags
}

resource clusterGroups 'Microsoft.Resources/resourceGroups@2025-04-01' = [
  for each in clusters: {
    name: 'rg-${environmentName}-${each.name}'
    location: empty(each.location) ? location : each.location
    tags: tags
  }
]

module identity 'identity.bicep' = {
  scope: group
  params: {
    name: 'id-berth-${token}'
    location: location
    tags: tags
  }
}

module storage 'storage.bicep' = {
  scope: group
  params: {
    name: 'stberth${token}'
    location: location
    tags: tags
    sku: storageSku
    appPrincipalId: identity.outputs.principalId
  }
}

module vault 'keyvault.bicep' = {
  scope: group
  params: {
    name: 'kv-berth-${token}'
    location: location
    tags: tags
    purgeProtection: purgeProtection
    readerPrincipalId: identity.outputs.principalId
    officerPrincipalId: principalId
    officerPrincipalType: principalType
    officerWrites: 'secrets'
  }
}

module monitoring 'monitoring.bicep' = {
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
    alertEmail: alertEmail
    runbookUrl: runbookUrl
    dailyLogsGb: dailyLogsGb
  }
}

module prometheus 'prometheus.bicep' = {
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
  }
}

module scheduler 'scheduler.bicep' = if (taskHubBackend == 'DurableTaskScheduler') {
  scope: group
  params: {
    name: 'dts-berth-${token}'
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
  }
}

module appNetwork 'app-network.bicep' = if (!empty(apiServerNetworks)) {
  scope: group
  params: {
    token: token
    location: location
    tags: tags
  }
}

module networks 'network.bicep' = [
  for (each, i) in clusters: {
    scope: clusterGroups[i]
    params: {
      cluster: each.name
      location: empty(each.location) ? location : each.location
      tags: tags
    }
  }
]

module functions 'functions.bicep' = {
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageName: storage.outputs.name
    deploymentContainer: storage.outputs.deploymentContainer
    vaultUri: vault.outputs.uri
    insightsName: monitoring.outputs.insightsName
    prometheusUrl: prometheus.outputs.queryEndpoint
    schedulerEndpoint: taskHubBackend == 'DurableTaskScheduler' ? scheduler!.outputs.endpoint : ''
    tenantsImage: tenantsImage
    tenantsDefaultVersion: tenantsDefaultVersion
    settings: settings
    alwaysReadyHttp: alwaysReadyHttp
    alwaysReadyDurable: alwaysReadyDurable
    portalOrigin: portalOrigin
    signInClientId: signInClientId
    allowedNetworks: empty(allowedNetworks) ? [] : map(split(allowedNetworks, ','), each => trim(each))
    clusterAddresses: [for i in range(0, length(clusters)): networks[i].outputs.outboundAddress]
    subnetId: empty(apiServerNetworks) ? '' : appNetwork!.outputs.subnetId
  }
}

module clusterModules 'cluster.bicep' = [
  for (each, i) in clusters: {
    scope: clusterGroups[i]
    params: {
      entry: each
      location: empty(each.location) ? location : each.location
      tags: tags
      nodeResourceGroup: 'rg-${environmentName}-${each.name}-nodes'
      subnetId: networks[i].outputs.subnetId
      outboundAddressId: networks[i].outputs.outboundAddressId
      // With the app's address and the cluster's own, which AKS adds by itself only to a cluster that is new.
      apiServerNetworks: empty(apiServerNetworks)
        ? []
        : concat(
            map(split(apiServerNetworks, ','), network => trim(network)),
            ['${appNetwork!.outputs.address}/32', '${networks[i].outputs.outboundAddress}/32']
          )
      collectionRuleId: prometheus.outputs.collectionRuleId
      principalId: principalId
      principalType: principalType
    }
  }
]

module certificates 'certificate.bicep' = [
  for (each, i) in clusters: {
    scope: clusterGroups[i]
    params: {
      cluster: each.name
      vaultName: 'kv-${uniqueString(token, each.name)}'
      location: empty(each.location) ? location : each.location
      tags: tags
      purgeProtection: purgeProtection
      oidcIssuer: clusterModules[i].outputs.oidcIssuer
      principalId: principalId
      principalType: principalType
    }
  }
]

module dns 'dns.bicep' = if (createDnsZone) {
  scope: group
  params: {
    domain: domain
    tags: tags
    records: [for (each, i) in clusters: { name: '*.${each.name}', address: networks[i].outputs.gatewayAddress }]
  }
}

module budget 'budget.bicep' = if (monthlyBudget > 0) {
  params: {
    name: 'budget-${environmentName}'
    amount: monthlyBudget
    startDate: start
    resourceGroups: concat(
      [groupName],
      map(clusters, each => 'rg-${environmentName}-${each.name}'),
      map(clusters, each => 'rg-${environmentName}-${each.name}-nodes')
    )
    alertEmail: alertEmail
  }
}

@description('The resource group of all that is there once.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Name of the Functions app.')
output APP_NAME string = functions.outputs.name

@description('Address of the app, without a path.')
output APP_URL string = functions.outputs.url

@description('Object id of the app\'s identity: its user name on each cluster.')
output APP_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId

@description('Client id of the app\'s identity.')
output APP_IDENTITY_CLIENT_ID string = identity.outputs.clientId

@description('The id of this berth, BERTH_TENANTS_OWNER, for the admission policy.')
output TENANTS_OWNER string = functions.outputs.owner

@description('The roles that the app\'s identity needs, each with its scope; ./berth doctor compares them.')
output APP_ROLE_ASSIGNMENTS object[] = concat(
  storage.outputs.assignments,
  vault.outputs.assignments,
  monitoring.outputs.assignments,
  prometheus.outputs.assignments,
  taskHubBackend == 'DurableTaskScheduler' ? scheduler!.outputs.assignments : []
)

@description('The vault of the app\'s secrets.')
output KEY_VAULT_NAME string = vault.outputs.name

@description('Names of the secrets that the app needs and a hook makes once, each of at least 32 random characters.')
output KEY_VAULT_SECRETS string[] = functions.outputs.secretNames

@description('The storage account of the records and the task hub.')
output STORAGE_ACCOUNT string = storage.outputs.name

@description('Name servers to enter where the domain is registered; empty if the zone is not made here.')
output DNS_NAME_SERVERS string[] = createDnsZone ? dns!.outputs.nameServers : []

@description('The address records that the domain needs.')
output DNS_RECORDS object[] = [
  for (each, i) in clusters: { name: '*.${each.name}.${domain}', address: networks[i].outputs.gatewayAddress }
]

@description('First day of the budget, which the next deployment needs; empty if there has been none yet.')
output BERTH_BUDGET_START string = monthlyBudget > 0 ? start : budgetStart

@description('What the hooks and ./berth doctor need of each cluster, to apply infra/kubernetes, to register it and to compare roles.')
output CLUSTERS object[] = [
  for (each, i) in clusters: {
    name: each.name
    resourceGroup: clusterGroups[i].name
    region: empty(each.location) ? location : each.location
    domain: '${each.name}.${domain}'
    capacity: each.capacity
    server: clusterModules[i].outputs.server
    gatewayAddressName: networks[i].outputs.gatewayAddressName
    certificateVault: certificates[i].outputs.vaultName
    certificateUri: certificates[i].outputs.certificateUri
    certificateName: certificates[i].outputs.certificateName
    gatewayIdentityClientId: certificates[i].outputs.identityClientId
    gatewayServiceAccount: certificates[i].outputs.serviceAccount
    kubeletPrincipalId: clusterModules[i].outputs.kubeletPrincipalId
    roleAssignments: concat(clusterModules[i].outputs.assignments, certificates[i].outputs.assignments)
  }
]
