// The test of the health checks and actions, with the Lua that Argo CD uses.
module imagechain.dev/gitops/argocd

go 1.26.8

require (
	github.com/yuin/gopher-lua v1.1.2
	sigs.k8s.io/yaml v1.6.0
)

require go.yaml.in/yaml/v2 v2.4.2 // indirect
