// Package controlplane knows the arguments of the control plane's programs, for the sandbox and for
// the API servers of tests alike.
package controlplane

import "fmt"

// Etcd is a single member.
type Etcd struct {
	Data, Client, Peer string
	Extra              []string
}

// Arguments of etcd.
func (e Etcd) Arguments() []string {
	return append([]string{
		"--name=default",
		"--data-dir=" + e.Data,
		"--listen-client-urls=" + e.Client, "--advertise-client-urls=" + e.Client,
		"--listen-peer-urls=" + e.Peer, "--initial-advertise-peer-urls=" + e.Peer,
		"--initial-cluster=default=" + e.Peer,
		// Five times as fast to start. A killed sandbox keeps the page cache, so nothing is lost but in a power cut.
		"--unsafe-no-fsync",
		"--log-level=warn",
	}, e.Extra...)
}

// APIServer is a kube-apiserver whose keys are in a folder that package pki filled.
type APIServer struct {
	PKI  string
	Etcd string
	// Address is what the `kubernetes` Service leads to; Bind is where it listens.
	Address, Bind         string
	Port                  int
	Services              string
	AuditPolicy, AuditLog string
	Extra                 []string
}

// Arguments of kube-apiserver.
func (s APIServer) Arguments() []string {
	return append([]string{
		"--etcd-servers=" + s.Etcd,
		"--advertise-address=" + s.Address,
		"--bind-address=" + s.Bind,
		fmt.Sprintf("--secure-port=%d", s.Port),
		"--tls-cert-file=" + s.PKI + "/kube-apiserver.crt",
		"--tls-private-key-file=" + s.PKI + "/kube-apiserver.key",
		"--client-ca-file=" + s.PKI + "/ca.crt",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + s.PKI + "/sa.pub",
		"--service-account-signing-key-file=" + s.PKI + "/sa.key",
		"--service-cluster-ip-range=" + s.Services,
		"--allow-privileged=true",
		"--audit-policy-file=" + s.AuditPolicy,
		"--audit-log-path=" + s.AuditLog,
		"--audit-log-maxsize=200",
		"--audit-log-maxbackup=2",
		"--profiling=false",
	}, s.Extra...)
}

// ControllerManager is a kube-controller-manager without leader election.
type ControllerManager struct {
	PKI, Kubeconfig string
	Extra           []string
}

// Arguments of kube-controller-manager.
func (m ControllerManager) Arguments() []string {
	return append([]string{
		"--kubeconfig=" + m.Kubeconfig,
		"--authentication-kubeconfig=" + m.Kubeconfig,
		"--authorization-kubeconfig=" + m.Kubeconfig,
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + m.PKI + "/sa.key",
		"--root-ca-file=" + m.PKI + "/ca.crt",
		"--cluster-signing-cert-file=" + m.PKI + "/ca.crt",
		"--cluster-signing-key-file=" + m.PKI + "/ca.key",
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--profiling=false",
	}, m.Extra...)
}

// SchedulerArguments are those of a kube-scheduler without leader election.
func SchedulerArguments(kubeconfig string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--profiling=false",
	}
}
