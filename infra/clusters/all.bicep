// All clusters. Another one, in another region too, is another file here and its line below.

@description('What is particular to a cluster.')
@export()
type entry = {
  @description('Its name, in Azure and as it is registered; part of its tenants\' addresses. Never change it.')
  @minLength(1)
  @maxLength(20)
  name: string

  @description('Its region; empty for that of the app.')
  location: string

  @description('The sum of plan weights that fit on it, as it is registered.')
  @minValue(1)
  capacity: int

  @description('Free has no promised uptime and fits up to 10 nodes; Standard costs $73 a month.')
  tier: 'Free' | 'Standard'

  @description('Major and minor version of Kubernetes, of the control plane and of all nodes. At least 1.34: the managed Gateway API. Another one upgrades them all, a node at a time, and has to be the next minor version.')
  kubernetesVersion: string

  @description('Size and number of the nodes for AKS itself: at least 4 cores, of which Istio reserves one. No tenant runs there.')
  system: { size: nodeSize, count: int }

  @description('Size of the tenants\' nodes, and how few and how many the autoscaler keeps.')
  tenants: { size: nodeSize, min: int, max: int }

  @description('Zones of the tenants\' nodes. A disk stays in the zone in which it was made, so more than one needs nodes in each to wake on. Empty: any.')
  zones: string[]
}

@description('Sizes whose prices and places for disks shared/assets.yaml and shared/prices.yaml have.')
@export()
type nodeSize =
  | 'Standard_D2s_v5'
  | 'Standard_D4s_v5'
  | 'Standard_D8s_v5'
  | 'Standard_D2as_v5'
  | 'Standard_D4as_v5'
  | 'Standard_D8as_v5'
  | 'Standard_D4as_v6'
  | 'Standard_D4ads_v6'
  | 'Standard_D4s_v6'
  | 'Standard_D2as_v7'
  | 'Standard_D4as_v7'
  | 'Standard_D2ads_v7'
  | 'Standard_D4ps_v6'

@export()
var clusters = [
  loadJsonContent('primary.json')
]
