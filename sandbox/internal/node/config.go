package node

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/pki"
)

//go:embed config
var files embed.FS

// PauseImage is the name under which containerd finds the image that holds a pod's namespaces.
const PauseImage = "localhost/pause:1"

// Objects are applied to every sandbox's API server.
func Objects() ([]byte, error) { return files.ReadFile("config/objects.yaml") }

// AuditPolicy is that of every API server of ours.
func AuditPolicy() ([]byte, error) { return files.ReadFile("config/audit-policy.yaml") }

// values are all that the configuration files do not hold themselves.
type values struct {
	layout.Sandbox
	RegistryPort                      int
	State, Config, CNI, Programs, PKI string
	PauseImage                        string
}

func valuesOf(sandbox layout.Sandbox) values {
	return values{
		Sandbox:      sandbox,
		RegistryPort: layout.RegistryPort,
		State:        layout.InsideState,
		Config:       layout.InsideConfig,
		CNI:          layout.InsideCNI,
		Programs:     layout.InsidePrograms,
		PKI:          insidePKI,
		PauseImage:   PauseImage,
	}
}

const insidePKI = layout.InsideState + "/pki"

// configured maps each file of the node to the template that it is made from.
func configured(sandbox layout.Sandbox) map[string]string {
	found := map[string]string{filepath.Join(layout.InsideCNI, "10-sandbox.conflist"): "cni.conflist"}
	for _, name := range []string{"containerd.toml", "kubelet.yaml", "kube-proxy.yaml", "Corefile", "registry.yml", "buildkitd.toml", "audit-policy.yaml"} {
		found[filepath.Join(layout.InsideConfig, name)] = name
	}
	// The registry's two names on the node, and Docker Hub's, whose images it mirrors.
	for _, registry := range []string{sandbox.Registry(), fmt.Sprintf("127.0.0.1:%d", layout.RegistryPort), "docker.io"} {
		found[filepath.Join(layout.InsideConfig, "registries", registry, "hosts.toml")] = "hosts.toml"
	}
	return found
}

func writeConfig(sandbox layout.Sandbox) error {
	for path, name := range configured(sandbox) {
		text, err := render(name, sandbox)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return writeKubeconfigs(sandbox)
}

func render(name string, sandbox layout.Sandbox) ([]byte, error) {
	parsed, err := template.New(name).Option("missingkey=error").ParseFS(files, "config/"+name)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = parsed.Execute(&text, valuesOf(sandbox))
	return text.Bytes(), err
}

// WritePKI makes the certificates, below the state folder, and the admin's kubeconfig.
func WritePKI(sandbox layout.Sandbox) error {
	authority, err := pki.Open(sandbox.Path("pki"))
	if err != nil {
		return err
	}
	for _, subject := range subjects(sandbox) {
		if err := authority.Issue(subject); err != nil {
			return err
		}
	}
	return authority.Kubeconfig(sandbox.Kubeconfig(), sandbox.Name(), sandbox.APIServer(), "admin")
}

func subjects(sandbox layout.Sandbox) []pki.Subject {
	return []pki.Subject{
		{
			File: "kube-apiserver", User: "kube-apiserver",
			Names:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
			Addresses: []string{"127.0.0.1", sandbox.NodeIP(), sandbox.KubernetesIP()},
		},
		{File: "kube-apiserver-kubelet-client", User: "kube-apiserver-kubelet-client"},
		{File: "front-proxy-client", User: "front-proxy-client"},
		{File: "admin", User: "admin", Groups: []string{"system:masters"}},
		{File: "kube-controller-manager", User: "system:kube-controller-manager"},
		{File: "kube-scheduler", User: "system:kube-scheduler"},
		{File: "kube-proxy", User: "system:kube-proxy"},
		{File: "coredns", User: "sandbox:coredns"},
		{
			File: "kubelet", User: "system:node:" + sandbox.Name(), Groups: []string{"system:nodes"},
			Names: []string{sandbox.Name()}, Addresses: []string{sandbox.NodeIP()},
		},
	}
}

func writeKubeconfigs(sandbox layout.Sandbox) error {
	authority, err := pki.Open(insidePKI)
	if err != nil {
		return err
	}
	for _, client := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "coredns"} {
		file := filepath.Join(layout.InsideConfig, client+".kubeconfig")
		err = errors.Join(err, authority.Kubeconfig(file, sandbox.Name(), sandbox.APIServer(), client))
	}
	return err
}
