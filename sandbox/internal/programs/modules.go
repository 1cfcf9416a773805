package programs

// Module is one Go module under sandbox/programs: its dependencies are its own, since Kubernetes,
// containerd, CoreDNS, helm and BuildKit each want other versions of the same ones.
type Module struct {
	// Name is that of its folder in the cache.
	Name string
	// Source is its folder under sandbox/programs; two that share one share what is compiled, too.
	Source string
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

// Modules in the order in which they are built: what a cluster cannot start without, which tests need too, then
// what images are built with, then what runs in pods and what installs it. crane is for users and tests alone.
var Modules = []Module{Kubernetes, Node, BuildKit, CoreDNS, Helm, Crane}

// The modules.
var (
	Kubernetes = Module{
		Name: "kubernetes", Source: "kubernetes",
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
	}
	Node = Module{
		Name: "node", Source: "node",
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
	}
	BuildKit = Module{
		Name: "buildkit", Source: "buildkit", What: "buildkitd, buildctl",
		Builds: []Build{{Packages: []string{"github.com/moby/buildkit/cmd/buildkitd", "github.com/moby/buildkit/cmd/buildctl"}}},
	}
	CoreDNS = Module{Name: "coredns", Source: "coredns", What: "CoreDNS", Builds: []Build{{Packages: []string{"."}}}}
	Helm    = Module{Name: "helm", Source: "tools", What: "helm", Builds: []Build{{Packages: []string{"helm.sh/helm/v4/cmd/helm"}}}}
	Crane   = Module{
		Name: "crane", Source: "tools", What: "crane",
		Builds: []Build{{Packages: []string{"github.com/google/go-containerregistry/cmd/crane"}}},
	}
)
