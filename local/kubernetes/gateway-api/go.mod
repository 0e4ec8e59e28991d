// The module whose definitions of the Gateway API the local API servers serve.
module berth.local/gateway-api

go 1.26.0

require sigs.k8s.io/gateway-api v1.5.1
