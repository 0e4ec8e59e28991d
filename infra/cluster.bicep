// One AKS cluster: Microsoft Entra only, overlay network with Cilium, a gateway of the Gateway API, a pool for AKS itself
// and one for tenants. What it needs inside, a hook applies from infra/kubernetes.
//
// The app has no role here. Its rights are those of infra/kubernetes/cluster-role.yaml, bound to its object id: Azure's
// roles for Kubernetes cannot name single kinds of custom resources.

import { entry as Entry } from 'clusters/all.bicep'

@description('What is particular to the cluster.')
param entry Entry

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

@description('The resource group that AKS makes for the nodes.')
param nodeResourceGroup string

@description('Subnet of the nodes.')
param subnetId string

@description('The address by which pods leave.')
param outboundAddressId string

@description('Networks that may reach the API server; empty for all.')
param apiServerNetworks string[]

@description('The rule by which metrics are collected.')
param collectionRuleId string

@description('Object id of whoever may administer the cluster.')
param principalId string

@description('What principalId is.')
param principalType string

var clusterRoles = {
  'Azure Kubernetes Service RBAC Cluster Admin': 'b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b'
  'Azure Kubernetes Service Cluster User Role': '4abbcc35-e782-43d8-92c5-2d3f1bd2253f'
}
var networkRoles = { 'Network Contributor': '4d97b98b-1d4f-4787-a291-c67834d212e7' }

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${entry.name}-cluster'
  location: location
  tags: tags
}

// On the group, in which only this cluster's network is: AKS looks for addresses by listing a group's.
resource networkContributor 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, identity.id, networkRoles['Network Contributor'])
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', networkRoles['Network Contributor'])
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource cluster 'Microsoft.ContainerService/managedClusters@2026-03-01' = {
  name: entry.name // berth registers it by this name, which Azure Monitor puts on its metrics
  location: location
  tags: tags
  sku: { name: 'Base', tier: entry.tier }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    dnsPrefix: 'berth-${entry.name}'
    kubernetesVersion: entry.kubernetesVersion
    nodeResourceGroup: nodeResourceGroup
    nodeResourceGroupProfile: { restrictionLevel: 'ReadOnly' }
    disableLocalAccounts: true
    enableRBAC: true
    aadProfile: { managed: true, enableAzureRBAC: true, tenantID: tenant().tenantId }
    apiServerAccessProfile: { authorizedIPRanges: apiServerNetworks }
    oidcIssuerProfile: { enabled: true }
    securityProfile: {
      workloadIdentity: { enabled: true }
      imageCleaner: { enabled: true, intervalHours: 48 }
    }
    autoUpgradeProfile: { upgradeChannel: 'patch', nodeOSUpgradeChannel: 'NodeImage' }
    networkProfile: {
      networkPlugin: 'azure'
      networkPluginMode: 'overlay'
      networkDataplane: 'cilium'
      networkPolicy: 'cilium'
      podCidr: '10.244.0.0/16' // a /24 for each node, so 256 nodes
      serviceCidr: '10.0.0.0/16'
      dnsServiceIP: '10.0.0.10'
      outboundType: 'loadBalancer'
      loadBalancerSku: 'standard'
      loadBalancerProfile: { outboundIPs: { publicIPs: [{ id: outboundAddressId }] } }
    }
    ingressProfile: {
      gatewayAPI: { installation: 'Standard' }
      webAppRouting: {
        enabled: true
        nginx: { defaultIngressControllerType: 'None' }
        gatewayAPIImplementations: { appRoutingIstio: { mode: 'Enabled' } }
      }
    }
    addonProfiles: {
      azureKeyvaultSecretsProvider: {
        enabled: true
        config: { enableSecretRotation: 'true', rotationPollInterval: '30m' } // a new certificate is served within that
      }
    }
    azureMonitorProfile: { metrics: { enabled: true } }
    metricsProfile: { costAnalysis: { enabled: entry.tier == 'Standard' } }
    autoScalerProfile: {
      'skip-nodes-with-local-storage': 'false' // each tenant has some: /tmp
      'skip-nodes-with-system-pods': 'false' // AKS's own pods may move: else one that came to a tenants' node would keep it
      'scale-down-utilization-threshold': '0.3' // a node's tenants stop for half a minute when it is removed
    }
    // All pools have the version of the control plane, and go along with it: where a channel upgrades the cluster, AKS
    // refuses to upgrade one without the other. It upgrades the control plane first.
    agentPoolProfiles: [
      {
        name: 'system'
        mode: 'System'
        orchestratorVersion: entry.kubernetesVersion
        vmSize: entry.system.size
        count: entry.system.count
        osType: 'Linux'
        osDiskSizeGB: 64
        maxPods: 50
        vnetSubnetID: subnetId
        nodeTaints: ['CriticalAddonsOnly=true:NoSchedule']
        securityProfile: { sshAccess: 'Disabled' }
        upgradeSettings: { maxSurge: '1' }
      }
      {
        name: 'tenants'
        mode: 'User'
        orchestratorVersion: entry.kubernetesVersion
        vmSize: entry.tenants.size
        // No `count`: a deployment would set it, against the autoscaler.
        minCount: entry.tenants.min
        maxCount: entry.tenants.max
        enableAutoScaling: true
        availabilityZones: entry.zones
        osType: 'Linux'
        osDiskSizeGB: 64 // images, and the ephemeral storage of all tenants on a node
        maxPods: 50 // more than any size has places for disks; each costs 20 MB that is reserved
        vnetSubnetID: subnetId
        kubeletConfig: { podMaxPids: 1024 }
        securityProfile: { sshAccess: 'Disabled' }
        upgradeSettings: { maxSurge: '1', drainTimeoutInMinutes: 30 }
      }
    ]
  }
  dependsOn: [networkContributor]
}

// When Azure may upgrade Kubernetes and the nodes' images: at night in Europe, when few are waiting for a tenant.
resource kubernetesUpgrades 'Microsoft.ContainerService/managedClusters/maintenanceConfigurations@2026-03-01' = {
  parent: cluster
  name: 'aksManagedAutoUpgradeSchedule'
  properties: {
    maintenanceWindow: {
      schedule: { weekly: { intervalWeeks: 1, dayOfWeek: 'Sunday' } }
      durationHours: 6
      startTime: '00:00'
      utcOffset: '+00:00'
    }
  }
}

resource nodeUpgrades 'Microsoft.ContainerService/managedClusters/maintenanceConfigurations@2026-03-01' = {
  parent: cluster
  name: 'aksManagedNodeOSUpgradeSchedule'
  properties: {
    maintenanceWindow: {
      schedule: { weekly: { intervalWeeks: 1, dayOfWeek: 'Saturday' } }
      durationHours: 6
      startTime: '00:00'
      utcOffset: '+00:00'
    }
  }
}

resource metrics 'Microsoft.Insights/dataCollectionRuleAssociations@2024-03-11' = {
  scope: cluster
  name: 'prometheus'
  properties: { dataCollectionRuleId: collectionRuleId }
}

resource administrators 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in items(clusterRoles): {
    scope: cluster
    name: guid(cluster.id, principalId, role.value)
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.value)
      principalId: principalId
      principalType: principalType
    }
  }
]

output oidcIssuer string = cluster.properties.oidcIssuerProfile.issuerURL
output server string = 'https://${cluster.properties.fqdn}'
output kubeletPrincipalId string = cluster.properties.identityProfile.kubeletidentity.objectId
output assignments object[] = [
  { principalId: identity.properties.principalId, role: 'Network Contributor', scope: resourceGroup().id }
]
