package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"imagechain.dev/sandbox/internal/background"
	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/images"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/node"
	"imagechain.dev/sandbox/internal/programs"
	"imagechain.dev/sandbox/internal/supervisor"
)

// Down ends the sandbox and removes what it made on the machine, and its state unless that is to stay.
// It mends whatever a killed or half-started one left, and may be called when there is none.
func (c Cluster) Down(keep bool) error {
	if err := host.RequireRoot(); err != nil {
		return err
	}
	found, err := host.Find(c.Sandbox)
	if err != nil {
		return err
	}
	if found.State != "" {
		c.State = found.State // It was started with another SANDBOX_STATE or HOME.
	}
	if _, err := c.HasState(); errors.Is(err, layout.ErrForeignState) {
		return fmt.Errorf("%s is not removed: %w: move it away", c.State, err)
	}
	if found.PID != 0 {
		if err := host.Kill(found.PID); err != nil {
			return err
		}
	}
	lock, err := host.Acquire(c.Sandbox)
	if err != nil {
		return err
	}
	defer lock.Release()
	failed := host.CleanUp(c.Sandbox)
	if !keep {
		failed = errors.Join(failed, os.RemoveAll(c.State))
	}
	failed = errors.Join(failed, lock.Remove())
	if failed == nil {
		c.Printer.Say("sandbox %d is gone%s", c.Number, map[bool]string{true: ", its state is in " + c.State}[keep])
	}
	return failed
}

// Build makes what a start would make: for root all of it, for others the programs.
func (c Cluster) Build() error {
	if _, err := images.FindMirror(); err != nil {
		return err
	}
	if err := host.EnsurePackages(c.Printer, host.ToRun, host.ToBuild); err != nil {
		return err
	}
	builder, err := c.builder()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	group := background.NewGroup(ctx)
	defer group.End()
	modules := builder.Begin(group, programs.Modules, c.Printer)
	if host.RequireRoot() != nil {
		c.Printer.Say("the base images are left for root to make")
	} else {
		// Made beside the programs: they wait for the network while those compile.
		bases := background.Begin(group, "Debian's base images", func(ctx context.Context) ([]images.Base, error) {
			return c.makeBases(ctx, images.Suites, c.Printer)
		})
		if _, err := bases.Wait(c.Printer, "the end"); err != nil {
			return err
		}
	}
	for _, module := range programs.Modules {
		if _, err := modules[module.Name].Wait(c.Printer, "the end"); err != nil {
			return err
		}
	}
	c.Printer.SaySlowest()
	return nil
}

// remembered is the file, below the state folder, that tells where the programs of a sandbox are: those
// that it was started with, whatever the checkout holds by now.
const remembered = "programs-used.json"

func (c Cluster) rememberPrograms(set programs.Set) error {
	return set.Write(c.Path(remembered))
}

func (c Cluster) usedPrograms() (programs.Set, error) {
	return programs.ReadSet(c.Path(remembered))
}

// Explain prints how to use a running sandbox.
func (c Cluster) Explain(out io.Writer) error {
	c, err := c.running()
	if err != nil {
		return err
	}
	number := ""
	if c.Number != 0 {
		number = fmt.Sprintf(" SANDBOX=%d", c.Number)
	}
	_, err = fmt.Fprintf(out, `
Sandbox %[1]d is running.

  make sandbox-shell%[2]s     a shell with kubectl, helm, crane and buildctl
  make sandbox-status%[2]s    how its programs are doing, and where their logs are
  make sandbox-down%[2]s      end it and remove all that it made

  kubeconfig   %[3]s
  registry     %[4]s   (plain HTTP; the same name on this machine, on the node and in pods;
               library/debian:12, 12-slim, 13, 13-slim are there, and debian:13 leads to it)
  git          %[5]s/NAME.git   (a push to a free name makes the repository)
`, c.Number, number, c.Kubeconfig(), c.Registry(), c.GitServer())
	return err
}

// ErrNotRunning means that there is no sandbox to talk to.
var ErrNotRunning = errors.New("not running")

// running is the cluster with the state folder that it was started with.
func (c Cluster) running() (Cluster, error) {
	found, err := host.Find(c.Sandbox)
	if err == nil && found.PID == 0 {
		err = fmt.Errorf("sandbox %d: %w: `make sandbox SANDBOX=%d` starts it", c.Number, ErrNotRunning, c.Number)
	}
	c.State = found.State
	return c, err
}

// Status prints a line per program; one that has ended names its log. It is an error if any is down.
func (c Cluster) Status(out io.Writer) error {
	c, err := c.running()
	if err != nil {
		return err
	}
	statuses, err := supervisor.Read(c.Path(node.Report))
	if err != nil {
		return err
	}
	return c.printStatuses(out, statuses)
}

func (c Cluster) printStatuses(out io.Writer, statuses []supervisor.Status) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PROGRAM\tSTATE\tFOR\tRESTARTS\tLOG")
	var down []string
	for _, status := range statuses {
		state := "running"
		switch {
		case status.PID != 0:
		case status.Ended == supervisor.Awaited:
			state = supervisor.Awaited
		default:
			state = "ended: " + status.Ended
			down = append(down, status.Name)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\n", status.Name, state, time.Since(status.Since).Round(time.Second), status.Restarts, c.Log(status.Name))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(down) > 0 {
		return fmt.Errorf("%s ended and will be started again: its log, named above, says why", strings.Join(down, ", "))
	}
	return nil
}

// environment is what a shell, a test or a Makefile needs to talk to the sandbox.
func (c Cluster) environment() ([][2]string, error) {
	c, err := c.running()
	if err != nil {
		return nil, err
	}
	set, err := c.usedPrograms()
	if err != nil {
		return nil, err
	}
	return [][2]string{
		{"KUBECONFIG", c.Kubeconfig()},
		{"REGISTRY", c.Registry()},
		{"GIT_SERVER", c.GitServer()},
		{"BUILDKIT_HOST", c.BuildKit()},
		{"NO_PROXY", c.Direct(os.Getenv("NO_PROXY"))},
		{"no_proxy", c.Direct(os.Getenv("no_proxy"))},
		{"PATH", strings.Join(append(set.Folders(), os.Getenv("PATH")), ":")},
	}, nil
}

// PrintEnvironment prints lines for eval.
func (c Cluster) PrintEnvironment(out io.Writer) error {
	settings, err := c.environment()
	if err != nil {
		return err
	}
	for _, setting := range settings {
		if _, err := fmt.Fprintf(out, "export %s='%s'\n", setting[0], strings.ReplaceAll(setting[1], "'", `'\''`)); err != nil {
			return err
		}
	}
	return nil
}

// Use makes the sandbox's environment that of this process and of those that it starts.
func (c Cluster) Use() error {
	settings, err := c.environment()
	if err != nil {
		return err
	}
	for _, setting := range settings {
		if err := os.Setenv(setting[0], setting[1]); err != nil {
			return err
		}
	}
	return nil
}

// Shell becomes the user's shell, with the sandbox's environment.
func (c Cluster) Shell() error {
	if err := c.Use(); err != nil {
		return err
	}
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	c.Printer.Say("kubectl, helm, crane, buildctl talk to sandbox %d; `exit` leaves it", c.Number)
	return syscall.Exec(shell, []string{shell}, os.Environ())
}
