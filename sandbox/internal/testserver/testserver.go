// Package testserver runs servers for one test, on free ports of the loopback, without root and without
// namespaces: etcd, kube-apiserver and the controllers that clean up; a registry; a git server.
package testserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/controlplane"
	"imagechain.dev/sandbox/internal/node"
	"imagechain.dev/sandbox/internal/pki"
)

// readyWithin bounds the start. Measured: 5 s alone, 11 s for each of three at once on two cores.
const readyWithin = 3 * time.Minute

// Ready is what a test server says, as one line of JSON, when it can be used.
type Ready struct {
	// Kubeconfig is the admin's; empty where no API server was asked for.
	Kubeconfig string `json:"kubeconfig"`
	URL        string `json:"url"`
	// Registry is its host and port, by plain HTTP; empty where none was asked for.
	Registry string `json:"registry,omitempty"`
	// Git is the base URL of the git server, whose bare repositories are in GitFolder as NAME.git.
	Git       string `json:"git,omitempty"`
	GitFolder string `json:"gitFolder,omitempty"`
	// SSH is the base URL of the same over ssh, for whoever has the key `identity` in Folder.
	SSH string `json:"ssh,omitempty"`
	// Folder holds the logs, among them audit.log; it is removed at the end.
	Folder string `json:"folder"`
	// Milliseconds that it took to start.
	Milliseconds int64 `json:"milliseconds"`
	// Processes by name, for tests that kill or pause one.
	Processes map[string]int `json:"processes"`
}

// Options say what to run.
type Options struct {
	// Folders are where programs are looked for: the first that has one is taken.
	Folders []string
	// APIServer stands for etcd, kube-apiserver and kube-controller-manager.
	APIServer, Registry, Git bool
	// RegistryUser is USER:PASSWORD; empty where the registry asks nobody who they are.
	RegistryUser string
	// RegistryTLS lets the registry show a certificate of the authority in pki/ca.crt.
	RegistryTLS bool
}

// Server is what runs for one test.
type Server struct {
	options   Options
	folder    string
	processes map[string]*exec.Cmd
	ended     chan string
}

// names of the control plane's programs.
var names = []string{"etcd", "kube-apiserver", "kube-controller-manager"}

// Complete tells whether a folder has all programs of a test API server.
func Complete(folder string) bool {
	for _, name := range names {
		if folder == "" || !exists(filepath.Join(folder, name)) {
			return false
		}
	}
	return true
}

// Run starts what is asked for, writes Ready to output, and ends it when input ends or a signal comes: a
// test that is killed closes its end of the pipe, whatever way it ends. The logs are kept only where a
// program failed.
func Run(options Options, input io.Reader, output io.Writer) error {
	// Pdeathsig follows the thread that started a process: this one stays until the end.
	runtime.LockOSThread()
	started := time.Now()
	folder, err := os.MkdirTemp("", "imagechain-test-server-")
	if err != nil {
		return err
	}
	server := &Server{options: options, folder: folder, processes: map[string]*exec.Cmd{}, ended: make(chan string, len(names)+1)}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, input)
		stop()
	}()
	err = server.serve(ctx, started, output)
	server.kill()
	if err != nil {
		return fmt.Errorf("%w\nthe logs are in %s", err, folder)
	}
	return os.RemoveAll(folder)
}

func (s *Server) serve(ctx context.Context, started time.Time, output io.Writer) error {
	ready, err := s.start(ctx)
	if ctx.Err() != nil {
		return nil // Nobody waits for it any more.
	}
	if err != nil {
		return err
	}
	ready.Milliseconds = time.Since(started).Milliseconds()
	if err := json.NewEncoder(output).Encode(ready); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case name := <-s.ended:
		s.ended <- name
		return fmt.Errorf("%s ended while it was in use:\n%s", name, s.logTail(name))
	}
}

func (s *Server) kill() {
	for _, process := range s.processes {
		_ = process.Process.Kill()
	}
	for range s.processes {
		<-s.ended
	}
}

func (s *Server) path(name string) string { return filepath.Join(s.folder, name) }

func (s *Server) start(ctx context.Context) (*Ready, error) {
	ready := &Ready{Folder: s.folder, Processes: map[string]int{}}
	starts := []struct {
		asked bool
		start func(context.Context, *Ready) error
	}{
		{s.options.Registry, s.startRegistry},
		{s.options.Git, s.startGit},
		{s.options.APIServer, s.startControlPlane},
	}
	for _, each := range starts {
		if each.asked {
			if err := each.start(ctx, ready); err != nil {
				return nil, err
			}
		}
	}
	for name, process := range s.processes {
		ready.Processes[name] = process.Process.Pid
	}
	return ready, nil
}

func (s *Server) startControlPlane(ctx context.Context, ready *Ready) error {
	ports, err := reserve(3)
	if err != nil {
		return err
	}
	defer ports.release()
	etcdURL := ports.url("http", 0)
	url := ports.url("https", 2)
	if err := s.writeFiles(url); err != nil {
		return err
	}
	etcd := controlplane.Etcd{Data: s.path("etcd"), Client: etcdURL, Peer: ports.url("http", 1), Extra: []string{"--socket-reuse-port=true"}}
	if err := s.run("etcd", etcd.Arguments()); err != nil {
		return err
	}
	if err := s.run("kube-apiserver", s.apiServer(etcdURL, ports.numbers[2]).Arguments()); err != nil {
		return err
	}
	client, err := pki.Client(s.path("pki"), "admin")
	if err != nil {
		return err
	}
	if err := s.wait(ctx, client, url+"/readyz"); err != nil {
		return err
	}
	if err := s.run("kube-controller-manager", s.manager().Arguments()); err != nil {
		return err
	}
	ready.Kubeconfig, ready.URL = s.path("kubeconfig"), url
	// The sign that the controllers work: nobody else makes it.
	return s.wait(ctx, client, url+"/api/v1/namespaces/default/serviceaccounts/default")
}

func (s *Server) writeFiles(url string) error {
	policy, err := node.AuditPolicy()
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("audit-policy.yaml"), policy, 0o644); err != nil {
		return err
	}
	authority, err := pki.Open(s.path("pki"))
	if err != nil {
		return err
	}
	return errors.Join(
		authority.Issue(pki.Subject{File: "kube-apiserver", User: "kube-apiserver", Names: []string{"localhost"}, Addresses: []string{"127.0.0.1"}}),
		authority.Issue(pki.Subject{File: "admin", User: "admin", Groups: []string{"system:masters"}}),
		authority.Issue(pki.Subject{File: "kube-controller-manager", User: "system:kube-controller-manager"}),
		authority.Kubeconfig(s.path("kubeconfig"), "test", url, "admin"),
		authority.Kubeconfig(s.path("kube-controller-manager.kubeconfig"), "test", url, "kube-controller-manager"),
	)
}

func (s *Server) apiServer(etcd string, port int) controlplane.APIServer {
	return controlplane.APIServer{
		PKI:         s.path("pki"),
		Etcd:        etcd,
		Address:     "127.0.0.1",
		Bind:        "127.0.0.1",
		Port:        port,
		Services:    "10.0.0.0/24",
		AuditPolicy: s.path("audit-policy.yaml"),
		AuditLog:    s.path("audit.log"),
		Extra:       []string{"--authorization-mode=RBAC", "--endpoint-reconciler-type=none", "--permit-port-sharing=true"},
	}
}

// manager has the controllers that finish what users begin: garbage collection, the end of a
// namespace, ServiceAccounts, aggregated roles. The test plays scheduler and kubelet.
func (s *Server) manager() controlplane.ControllerManager {
	controllers := []string{
		"garbage-collector-controller", "namespace-controller", "serviceaccount-controller",
		"root-ca-certificate-publisher-controller", "clusterrole-aggregation-controller", "resourcequota-controller",
		"validatingadmissionpolicy-status-controller",
	}
	return controlplane.ControllerManager{
		PKI:        s.path("pki"),
		Kubeconfig: s.path("kube-controller-manager.kubeconfig"),
		Extra:      []string{"--secure-port=0", "--controllers=" + strings.Join(controllers, ",")},
	}
}

func (s *Server) run(name string, arguments []string) error {
	executable, err := s.find(name)
	if err != nil {
		return err
	}
	log, err := os.Create(s.path(name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(executable, arguments...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	s.processes[name] = command
	go func() {
		_ = command.Wait()
		s.ended <- name
	}()
	return nil
}

func (s *Server) find(name string) (string, error) {
	for _, folder := range s.options.Folders {
		if path := filepath.Join(folder, name); folder != "" && exists(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no %s in %s", name, strings.Join(s.options.Folders, ":"))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// wait asks until the answer is 200.
func (s *Server) wait(ctx context.Context, client *http.Client, url string) error {
	return s.until(ctx, "kube-apiserver", url, func() bool {
		answer, err := client.Get(url)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// until asks until it is so; a program that ends meanwhile is told with the end of its log.
func (s *Server) until(ctx context.Context, program, what string, isSo func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for !isSo() {
		select {
		case name := <-s.ended:
			s.ended <- name
			return fmt.Errorf("%s ended while the test server started:\n%s", name, s.logTail(name))
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w\n%s", what, ctx.Err(), s.logTail(program))
		case <-time.After(25 * time.Millisecond):
		}
	}
	return nil
}

func (s *Server) logTail(name string) string {
	text, err := os.ReadFile(s.path(name + ".log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
