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
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/background"
	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/images"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/node"
	"imagechain.dev/sandbox/internal/patience"
	"imagechain.dev/sandbox/internal/pki"
	"imagechain.dev/sandbox/internal/programs"
	"imagechain.dev/sandbox/internal/progress"
	"imagechain.dev/sandbox/internal/supervisor"
)

// readyWithin bounds each wait of the start. Measured: all of it takes 8 s on two cores.
var readyWithin = patience.Of(3 * time.Minute)

// Cluster is a sandbox with what it is made of.
type Cluster struct {
	layout.Sandbox
	// Checkout is the folder of the repository.
	Checkout string
	// Prebuilt, where it is set, is the file of a programs.Set: then nothing is compiled, and no Go is needed.
	Prebuilt string
	Printer  *progress.Printer
}

// direct goes round any proxy of the environment: what it asks is on this machine.
var direct = &http.Client{Timeout: patience.Of(5 * time.Second), Transport: &http.Transport{}}

// ErrNotStarted holds the sentences that say why nothing was started.
type ErrNotStarted struct{ Problems []host.Problem }

func (e ErrNotStarted) Error() string {
	var text strings.Builder
	text.WriteString("not started:")
	for _, problem := range e.Problems {
		fmt.Fprintf(&text, "\n  - %s", problem)
	}
	return text.String()
}

// Up starts the sandbox, on its earlier state if there is one, and returns when all of it is there. A running one is
// left as it is, but for what may be missing where an earlier start was cut off.
func (c Cluster) Up() error {
	ctx, stop := interruptible()
	defer stop()
	group := background.NewGroup(ctx)
	defer group.End()
	started, err := c.Begin(group, programs.Modules, images.Suites)
	if err != nil {
		return err
	}
	return started.Finish()
}

// interruptible ends with the first SIGINT or SIGTERM; a second one ends the process as ever.
func interruptible() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
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

// startNode leaves no process where it fails.
func (c Cluster) startNode(ctx context.Context, set programs.Set, lock *host.Lock, step *progress.Step) error {
	resolver, err := host.Resolver()
	if err != nil {
		return err
	}
	if err := node.WritePKI(c.Sandbox); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(c.Path(node.Report)), c.rememberPrograms(set), host.MakeCgroups(c.Sandbox)); err != nil {
		return err
	}
	started := time.Now()
	command, err := host.StartNode(node.Orders{Sandbox: c.Sandbox, Programs: set, Resolver: resolver}, lock)
	if command == nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- command.Wait()
		close(ended)
	}()
	if err == nil {
		err = c.waitUntilReady(ctx, command.Process.Pid, started, ended, func(stage string) { step.Detail("waiting for %s", stage) })
	}
	if err != nil {
		_ = command.Process.Kill() // All it can say is that it has ended.
		<-ended
	}
	return err
}

// waitUntilReady can be done again at any time. What the node says of itself counts from started on:
// what it said before a crash still stands in the API server.
func (c Cluster) waitUntilReady(ctx context.Context, pid int, started time.Time, ended <-chan error, tell func(stage string)) error {
	client, err := pki.Client(c.Path("pki"), "admin")
	if err != nil {
		return err
	}
	for _, stage := range []struct {
		what  string
		check func() error
	}{
		{"the API server", func() error { return get(client, c.APIServer()+"/readyz", nil) }},
		{"the roles of the node's programs", func() error { return c.applyObjects(pid) }},
		{"containerd and the pause image", func() error { return c.importPause(pid) }},
		{"the node", func() error { return c.nodeReady(client, started) }},
		{"the default ServiceAccount", func() error {
			return get(client, c.APIServer()+"/api/v1/namespaces/default/serviceaccounts/default", nil)
		}},
		{"the registry", func() error { return get(direct, "http://"+c.Registry()+"/v2/", nil) }},
		{"the git server", func() error { return get(direct, c.GitServer()+"/", nil) }},
	} {
		tell(stage.what)
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
		case <-time.After(patience.Of(100 * time.Millisecond)):
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
		if status.Ended != "" && status.Ended != supervisor.Awaited {
			fmt.Fprintf(&text, "\n%s ended (%s, %d restarts): see %s: %s", status.Name, status.Ended, status.Restarts, c.Log(status.Name), lastLine(c.Log(status.Name)))
		}
	}
	return text.String()
}

func (c Cluster) applyObjects(pid int) error {
	objects, err := node.Objects()
	if err != nil {
		return err
	}
	command := host.Inside(pid, layout.InsidePrograms+"/kubernetes/kubectl", "--kubeconfig", layout.InsideState+"/kubeconfig", "apply", "--server-side", "-f", "-")
	command.Stdin = bytes.NewReader(objects)
	command.Env = append(os.Environ(), "NO_PROXY="+c.Direct(os.Getenv("NO_PROXY")), "no_proxy="+c.Direct(os.Getenv("no_proxy")))
	return quietly(command)
}

func (c Cluster) importPause(pid int) error {
	archive, err := images.Pause(node.PauseImage, fmt.Sprintf("/proc/%d/root%s/node/pause", pid, layout.InsidePrograms))
	if err != nil {
		return err
	}
	command := host.Inside(pid, layout.InsidePrograms+"/node/ctr", "--namespace", "k8s.io", "images", "import", "--label", "io.cri-containerd.pinned=pinned", "-")
	command.Stdin = bytes.NewReader(archive)
	return quietly(command)
}

func (c Cluster) nodeReady(client *http.Client, started time.Time) error {
	var found struct {
		Status struct {
			Conditions []struct {
				Type, Status, Message string
				LastHeartbeatTime     time.Time
			}
		}
	}
	if err := get(client, c.APIServer()+"/api/v1/nodes/"+c.Name(), &found); err != nil {
		return err
	}
	for _, condition := range found.Status.Conditions {
		switch {
		case condition.Type != "Ready":
		case !condition.LastHeartbeatTime.After(started):
			return errors.New("its kubelet has not reported since the start")
		case condition.Status != "True":
			return errors.New(condition.Message)
		default:
			return nil
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
