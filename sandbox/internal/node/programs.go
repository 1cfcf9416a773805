package node

import (
	"fmt"
	"os"

	"imagechain.dev/sandbox/internal/controlplane"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/supervisor"
)

// first are the programs that need no other to start.
func first(sandbox layout.Sandbox) []supervisor.Program {
	const state, config = layout.InsideState, layout.InsideConfig
	etcd := controlplane.Etcd{Data: state + "/etcd", Client: "http://127.0.0.1:2379", Peer: "http://127.0.0.1:2380"}
	return []supervisor.Program{
		program("etcd", "kubernetes/etcd", etcd.Arguments()...),
		program("kube-apiserver", "kubernetes/kube-apiserver", apiServer(sandbox).Arguments()...),
		program("containerd", "node/containerd", "--config="+config+"/containerd.toml"),
		program("registry", "node/registry", "serve", config+"/registry.yml"),
		program("buildkitd", "buildkit/buildkitd", "--config="+config+"/buildkitd.toml"),
		// This very program: /proc/self/exe is not masked by the namespace's own mounts.
		{Name: "git-server", Arguments: []string{
			"/proc/self/exe", "git-server", fmt.Sprintf("--listen=0.0.0.0:%d", layout.GitPort), "--folder=" + state + "/git",
		}},
	}
}

func apiServer(sandbox layout.Sandbox) controlplane.APIServer {
	return controlplane.APIServer{
		PKI:         insidePKI,
		Etcd:        "http://127.0.0.1:2379",
		Address:     sandbox.NodeIP(),
		Bind:        "0.0.0.0",
		Port:        layout.APIServerPort,
		Services:    sandbox.ServiceNet(),
		AuditPolicy: layout.InsideConfig + "/audit-policy.yaml",
		AuditLog:    layout.InsideState + "/log/audit.log",
		Extra: []string{
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--kubelet-certificate-authority=" + insidePKI + "/ca.crt",
			"--kubelet-client-certificate=" + insidePKI + "/kube-apiserver-kubelet-client.crt",
			"--kubelet-client-key=" + insidePKI + "/kube-apiserver-kubelet-client.key",
			"--kubelet-preferred-address-types=InternalIP",
			"--proxy-client-cert-file=" + insidePKI + "/front-proxy-client.crt",
			"--proxy-client-key-file=" + insidePKI + "/front-proxy-client.key",
			"--requestheader-client-ca-file=" + insidePKI + "/ca.crt",
			"--requestheader-allowed-names=front-proxy-client",
			"--requestheader-username-headers=X-Remote-User",
			"--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		},
	}
}

// second are those that need the API server.
func second(sandbox layout.Sandbox) []supervisor.Program {
	const config = layout.InsideConfig
	manager := controlplane.ControllerManager{PKI: insidePKI, Kubeconfig: config + "/kube-controller-manager.kubeconfig"}
	return []supervisor.Program{
		program("kube-controller-manager", "kubernetes/kube-controller-manager", manager.Arguments()...),
		program("kube-scheduler", "kubernetes/kube-scheduler", controlplane.SchedulerArguments(config+"/kube-scheduler.kubeconfig")...),
		program("kubelet", "kubernetes/kubelet",
			"--config="+config+"/kubelet.yaml", "--kubeconfig="+config+"/kubelet.kubeconfig",
			"--hostname-override="+sandbox.Name(), "--node-ip="+sandbox.NodeIP()),
		program("kube-proxy", "kubernetes/kube-proxy", "--config="+config+"/kube-proxy.yaml"),
		program("coredns", "coredns/coredns", "-conf", config+"/Corefile"),
	}
}

func program(name, path string, arguments ...string) supervisor.Program {
	executable := layout.InsidePrograms + "/" + path
	return supervisor.Program{Name: name, Arguments: append([]string{executable}, arguments...)}
}

// inherited are the host's variables that the node's programs get: how to reach the outside, and whom to
// trust there. Any other may name a folder that is masked, or be taken for a setting (ETCD_*, XDG_*).
var inherited = []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}

func environment(sandbox layout.Sandbox) []string {
	const programs = layout.InsidePrograms
	path := fmt.Sprintf("%s/node:%s/kubernetes:%s/buildkit:/usr/sbin:/usr/bin:/sbin:/bin", programs, programs, programs)
	made := []string{"PATH=" + path, "HOME=" + layout.InsideRoot, "TMPDIR=/tmp"}
	for _, name := range inherited {
		if value := os.Getenv(name); value != "" {
			made = append(made, name+"="+value)
		}
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		made = append(made, name+"="+sandbox.Direct(os.Getenv(name)))
	}
	return made
}
