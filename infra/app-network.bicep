// A network for the app, whose one purpose is an address of its own by which it leaves.

@description('Part of names.')
param token string

@description('Region.')
param location string

@description('Tags of everything.')
param tags object

resource address 'Microsoft.Network/publicIPAddresses@2025-07-01' = {
  name: 'pip-berth-${token}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource gateway 'Microsoft.Network/natGateways@2025-07-01' = {
  name: 'ng-berth-${token}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIpAddresses: [{ id: address.id }] }
}

resource rules 'Microsoft.Network/networkSecurityGroups@2025-07-01' = {
  name: 'nsg-berth-${token}'
  location: location
  tags: tags
}

resource network 'Microsoft.Network/virtualNetworks@2025-07-01' = {
  name: 'vnet-berth-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.20.0.0/24'] }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: '10.20.0.0/26' // 40 instances and Azure's own five addresses
          natGateway: { id: gateway.id }
          networkSecurityGroup: { id: rules.id }
          delegations: [{ name: 'functions', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
    ]
  }
}

output subnetId string = network.properties.subnets[0].id
output address string = address.properties.ipAddress
