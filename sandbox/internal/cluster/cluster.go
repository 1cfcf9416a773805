// Package cluster brings sandboxes up and down, from the host.
package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"imagechain.dev/sandbox/internal/gitserver"
	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/images"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/node"
	"imagechain.dev/sandbox/internal/pki"
	"imagechain.dev/sandbox/internal/programs"
	"imagechain.dev/sandbox/internal/progress"
	"imagechain.dev/sandbox/internal/supervisor"
)

// readyWithin bounds each wait of the start. Measured: all of it takes 8 s on two cores.
const readyWithin = 3 * time.Minute

// Cluster is a sandbox with what it is made of.
type Cluster struct {
	layout.Sandbox
	// Checkout is the folder of the repository.
	Checkout string
	Printer  *progress.Printer
}

// direct goes round any proxy of the environment: what it asks is on this machine.
var direct = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}

// ErrNotStarted holds the sentences that say why nothing was started.
type ErrNotStarted struct{ Problems []host.Problem }

func (e ErrNotStarted) Error() string {
	var text strings.Builder
	text.WriteString("not started, nothing was changed:")
	for _, problem := range e.Problems {
		fmt.Fprintf(&text, "\n  - %s", problem)
	}
	return text.String()
}

// Up starts the sandbox, on its earlier state if there is one; a running one is left as it is.
func (c Cluster) Up(ctx context.Context) error {
	pid, err := host.Running(c.Sandbox)
	if err != nil {
		return err
	}
	if pid != 0 {
		c.Printer.Say("sandbox %d is running already", c.Number)
		return c.furnish(ctx)
	}
	builder, err := programs.NewBuilder(filepath.Join(c.Checkout, "sandbox", "programs"))
	if err != nil {
		return err
	}
	missing, err := builder.Missing(programs.Modules)
	if err != nil {
		return err
	}
	if problems := host.Preflight(c.Sandbox, len(missing) > 0); len(problems) > 0 {
		return ErrNotStarted{problems}
	}
	if err := host.EnsurePackages(c.Printer); err != nil {
		return err
	}
	if problems := host.PreflightTools(c.Sandbox); len(problems) > 0 {
		return ErrNotStarted{problems}
	}
	set, err := builder.Ensure(programs.Modules, c.Printer)
	if err != nil {
		return err
	}
	// Before anything is started, so that a mirror out of reach leaves nothing half-done.
	if _, err := images.EnsureBases(c.Printer); err != nil {
		return err
	}
	return c.start(ctx, set)
}

func (c Cluster) start(ctx context.Context, set programs.Set) error {
	lock, err := host.Acquire(c.Sandbox)
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := c.takeOver(); err != nil {
		return err
	}
	step := c.Printer.Start("starting sandbox %d", c.Number)
	pid, err := c.startNode(ctx, set, lock, step)
	if err == nil {
		step.End("node Ready")
		return c.furnish(ctx)
	}
	step.End("failed")
	// Nothing half-started stays: the state and its logs do.
	return errors.Join(err, host.Kill(pid), host.CleanUp(c.Sandbox))
}

// takeOver removes what a killed sandbox left on the machine; its state is started on.
func (c Cluster) takeOver() error {
	known, err := c.HasState()
	if err != nil {
		return err
	}
	if host.Leftovers(c.Sandbox) {
		c.Printer.Say("sandbox %d was killed: removing its firewall rules and cgroups", c.Number)
		if err := host.CleanUp(c.Sandbox); err != nil {
			return err
		}
	}
	if known {
		c.Printer.Say("starting on the state in %s (`make sandbox-down SANDBOX=%d` would remove it)", c.State, c.Number)
	}
	return c.ClaimState()
}

func (c Cluster) startNode(ctx context.Context, set programs.Set, lock *host.Lock, step *progress.Step) (int, error) {
	if err := errors.Join(node.WritePKI(c.Sandbox), host.MakeCgroups(c.Sandbox), os.RemoveAll(c.Path(node.Report))); err != nil {
		return 0, err
	}
	command, err := host.StartNode(node.Orders{Sandbox: c.Sandbox, Programs: set}, lock)
	if command == nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	if err != nil {
		return command.Process.Pid, err
	}
	return command.Process.Pid, c.waitUntilReady(ctx, command.Process.Pid, set, ended, step)
}

func (c Cluster) waitUntilReady(ctx context.Context, pid int, set programs.Set, ended <-chan error, step *progress.Step) error {
	client, err := pki.Client(c.Path("pki"), "admin")
	if err != nil {
		return err
	}
	for _, stage := range []struct {
		what  string
		check func() error
	}{
		{"the API server", func() error { return get(client, c.APIServer()+"/readyz", nil) }},
		{"the roles of the node's programs", func() error { return c.applyObjects(set) }},
		{"containerd and the pause image", func() error { return c.importPause(pid, set.Program("node", "pause")) }},
		{"the node", func() error { return c.nodeReady(client) }},
		{"the default ServiceAccount", func() error {
			return get(client, c.APIServer()+"/api/v1/namespaces/default/serviceaccounts/default", nil)
		}},
		{"the registry", func() error { return get(direct, "http://"+c.Registry()+"/v2/", nil) }},
		{"the git server", func() error { return get(direct, c.GitServer()+"/", nil) }},
	} {
		step.Detail("waiting for %s", stage.what)
		if err := c.wait(ctx, stage.what, ended, stage.check); err != nil {
			return err
		}
	}
	return nil
}

// wait asks again until the check passes; when PID 1 ends, or time is up, it says where to look.
func (c Cluster) wait(ctx context.Context, what string, ended <-chan error, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("the sandbox's first process ended: %s", lastLine(c.Log("init")))
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (%w)%s", what, err, ctx.Err(), c.troubles())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// troubles names the programs that have ended, with their logs.
func (c Cluster) troubles() string {
	statuses, err := supervisor.Read(c.Path(node.Report))
	if err != nil {
		return fmt.Sprintf("\nsee %s", c.Log("init"))
	}
	var text strings.Builder
	for _, status := range statuses {
		if status.Ended != "" {
			fmt.Fprintf(&text, "\n%s ended (%s, %d restarts): see %s: %s", status.Name, status.Ended, status.Restarts, c.Log(status.Name), lastLine(c.Log(status.Name)))
		}
	}
	return text.String()
}

// furnish brings what chains need beside a cluster: base images and repositories. What is there
// already stays.
func (c Cluster) furnish(ctx context.Context) error {
	bases, err := images.EnsureBases(c.Printer)
	if err != nil {
		return err
	}
	step := c.Printer.Start("pushing base images and example repositories")
	pushed, err := images.Push(ctx, c.Registry(), bases)
	if err == nil {
		err = gitserver.Seed(c.Path("git"), filepath.Join(c.Checkout, "examples"))
	}
	if err != nil {
		step.End("failed")
		return err
	}
	step.End(fmt.Sprintf("done, %d images were missing", pushed))
	return nil
}

func (c Cluster) applyObjects(set programs.Set) error {
	objects, err := node.Objects()
	if err != nil {
		return err
	}
	command := exec.Command(set.Program("kubernetes", "kubectl"), "--kubeconfig", c.Kubeconfig(), "apply", "--server-side", "-f", "-")
	command.Stdin = bytes.NewReader(objects)
	return quietly(command)
}

func (c Cluster) importPause(pid int, program string) error {
	archive, err := images.Pause(node.PauseImage, program)
	if err != nil {
		return err
	}
	command := host.Inside(pid, layout.InsidePrograms+"/node/ctr", "--namespace", "k8s.io", "images", "import", "--label", "io.cri-containerd.pinned=pinned", "-")
	command.Stdin = bytes.NewReader(archive)
	return quietly(command)
}

func (c Cluster) nodeReady(client *http.Client) error {
	var found struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := get(client, c.APIServer()+"/api/v1/nodes/"+c.Name(), &found); err != nil {
		return err
	}
	for _, condition := range found.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" {
			return nil
		}
		if condition.Type == "Ready" {
			return errors.New(condition.Message)
		}
	}
	return errors.New("it has no Ready condition yet")
}

// get asks for a URL; answer may be nil.
func get(client *http.Client, url string, answer any) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

func quietly(command *exec.Cmd) error {
	text, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(command.Path), err, bytes.TrimSpace(text))
	}
	return nil
}

func lastLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
