// The network of one cluster, and its two addresses: the one by which its pods leave, and the one of its gateway. Both
// are here, because those that AKS makes die with what they are for.

@description('Name of the cluster.')
param cluster string

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

resource outbound 'Microsoft.Network/publicIPAddresses@2025-07-01' = {
  name: 'pip-${cluster}-outbound'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource gateway 'Microsoft.Network/publicIPAddresses@2025-07-01' = {
  name: 'pip-${cluster}-gateway'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource rules 'Microsoft.Network/networkSecurityGroups@2025-07-01' = {
  name: 'nsg-${cluster}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'gateway'
        properties: {
          description: 'Visitors of tenants. Azure denies all else from the internet.'
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '443'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-07-01' = {
  name: 'vnet-${cluster}'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.30.0.0/16'] }
    subnets: [
      {
        name: 'nodes'
        properties: {
          addressPrefix: '10.30.0.0/20'
          networkSecurityGroup: { id: rules.id }
          // For the class berth-files. Its driver would add this, and the next deployment take it away.
          serviceEndpoints: [{ service: 'Microsoft.Storage' }]
        }
      }
    ]
  }
}

output subnetId string = network.properties.subnets[0].id
output outboundAddressId string = outbound.id
output outboundAddress string = outbound.properties.ipAddress
output gatewayAddressName string = gateway.name
output gatewayAddress string = gateway.properties.ipAddress
