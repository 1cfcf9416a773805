package programs

// Module is one Go module under sandbox/programs: its dependencies are its own, since Kubernetes,
// containerd, CoreDNS, helm and BuildKit each want other versions of the same ones.
type Module struct {
	// Name is the folder under sandbox/programs and in the cache.
	Name string
	// What it makes, for the progress line.
	What string
	// Builds are run in order.
	Builds []Build
	// Links are further names for a program: name -> program.
	Links map[string]string
}

// Build is one call of `go build`.
type Build struct {
	// Packages are import paths, or folders of the module.
	Packages []string
	// Tags leave out what a sandbox does not use.
	Tags string
	// CGO is on only where C is needed; all else is static.
	CGO bool
	// Stamp maps a variable to the module whose version it is set to, and Values to a fixed text.
	Stamp, Values map[string]string
}

const (
	containerd = "github.com/containerd/containerd/v2"
	cni        = "github.com/containernetworking/plugins/plugins"
	kubernetes = "k8s.io/kubernetes"
	runc       = "github.com/opencontainers/runc"
)

// Modules in the order in which they are built: what tests need first is first.
var Modules = []Module{
	{
		Name: "kubernetes",
		What: "API server, kubelet, kubectl and the others of Kubernetes, etcd",
		Builds: []Build{{
			Packages: []string{"."},
			Tags:     "providerless",
			// Without these the programs call themselves v0.0.0 and refuse each other's version.
			Stamp: map[string]string{
				"k8s.io/component-base/version.gitVersion": kubernetes,
				"k8s.io/client-go/pkg/version.gitVersion":  kubernetes,
			},
			Values: map[string]string{
				"k8s.io/component-base/version.gitTreeState": "clean",
				"k8s.io/client-go/pkg/version.gitTreeState":  "clean",
			},
		}},
		Links: map[string]string{
			"etcd": "kubernetes", "kube-apiserver": "kubernetes", "kube-controller-manager": "kubernetes",
			"kube-scheduler": "kubernetes", "kubelet": "kubernetes", "kube-proxy": "kubernetes", "kubectl": "kubernetes",
		},
	},
	{
		Name: "node",
		What: "containerd, runc, CNI plugins, registry",
		Builds: []Build{
			{
				Packages: []string{containerd + "/cmd/containerd", containerd + "/cmd/containerd-shim-runc-v2", containerd + "/cmd/ctr"},
				Tags:     "no_btrfs,no_zfs,no_devmapper,urfave_cli_no_docs",
				Stamp:    map[string]string{containerd + "/version.Version": containerd},
			},
			{Packages: []string{"./registry", "./pause", cni + "/main/bridge", cni + "/ipam/host-local", cni + "/meta/portmap"}},
			// cgo: libseccomp, without which pods with seccompProfile RuntimeDefault cannot run.
			{Packages: []string{runc}, Tags: "seccomp,urfave_cli_no_docs", CGO: true, Stamp: map[string]string{"main.version": runc}},
		},
	},
	{Name: "coredns", What: "CoreDNS", Builds: []Build{{Packages: []string{"."}}}},
	{
		Name: "buildkit", What: "buildkitd, buildctl",
		Builds: []Build{{Packages: []string{"github.com/moby/buildkit/cmd/buildkitd", "github.com/moby/buildkit/cmd/buildctl"}}},
	},
	Tools,
}

// Tools are for users and tests; no sandbox runs them.
var Tools = Module{
	Name: "tools", What: "helm, crane",
	Builds: []Build{{Packages: []string{"helm.sh/helm/v4/cmd/helm", "github.com/google/go-containerregistry/cmd/crane"}}},
}
