// The zone of the domain, with one wildcard record for each cluster. No tenant needs a record of its own.

@description('The domain.')
param domain string

@description('Tags of everything.')
param tags object

@description('Each a name below the domain, and the address that it has.')
param records { name: string, address: string }[]

resource zone 'Microsoft.Network/dnsZones@2018-05-01' = {
  name: domain
  location: 'global'
  tags: tags
}

resource addresses 'Microsoft.Network/dnsZones/A@2018-05-01' = [
  for record in records: {
    parent: zone
    name: record.name
    properties: {
      TTL: 300
      ARecords: [{ ipv4Address: record.address }]
    }
  }
]

output nameServers string[] = zone.properties.nameServers
