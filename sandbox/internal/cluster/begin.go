package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imagechain.dev/sandbox/internal/background"
	"imagechain.dev/sandbox/internal/gitserver"
	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/images"
	"imagechain.dev/sandbox/internal/programs"
	"imagechain.dev/sandbox/internal/progress"
)

// Started is a sandbox that runs, while parts of it are still being built: the node starts each of its programs
// once it is there.
type Started struct {
	Cluster
	group   *background.Group
	modules map[string]*background.Result[string]
	bases   *background.Result[[]images.Base]
}

// first are the modules without which no node starts.
var first = []programs.Module{programs.Kubernetes, programs.Node}

// Begin starts the sandbox as soon as the node's own programs are there; what else is asked for is built meanwhile,
// in the background, and waited for by Await and Furnish.
func (c Cluster) Begin(group *background.Group, modules []programs.Module, suites []string) (Started, error) {
	if err := host.RequireRoot(); err != nil {
		return Started{}, ErrNotStarted{[]host.Problem{host.Problem(err.Error())}}
	}
	running, err := host.Find(c.Sandbox)
	if err != nil {
		return Started{}, err
	}
	if running.PID == 0 {
		return c.beginNew(group, modules, suites)
	}
	c.Printer.Say("sandbox %d is running already", c.Number)
	c.State = running.State
	origin, err := c.originOfRunning(modules)
	if err != nil {
		return Started{}, err
	}
	started := c.beginBuilding(group, origin, suites)
	return started, c.waitUntilReady(group.Context(), running.PID, time.Time{}, nil, func(string) {})
}

func (c Cluster) beginNew(group *background.Group, modules []programs.Module, suites []string) (Started, error) {
	origin, err := c.origin(modules)
	if err != nil {
		return Started{}, err
	}
	if err := c.prepare(origin); err != nil {
		return Started{}, err
	}
	started := c.beginBuilding(group, origin, suites)
	for _, module := range first {
		if _, err := started.modules[module.Name].Wait(c.Printer, "the start of the cluster"); err != nil {
			return Started{}, err
		}
	}
	return started, c.start(group.Context(), origin.set)
}

// prepare looks whether it can start here, and installs what it needs, before anything is built or started.
func (c Cluster) prepare(origin origin) error {
	if problems := host.Preflight(c.Sandbox, origin.compiles); len(problems) > 0 {
		return ErrNotStarted{problems}
	}
	if _, err := images.FindMirror(); err != nil {
		return ErrNotStarted{[]host.Problem{host.Problem(err.Error())}}
	}
	if err := host.EnsurePackages(c.Printer, origin.packages...); err != nil {
		return err
	}
	if problems := host.PreflightTools(c.Sandbox); len(problems) > 0 {
		return ErrNotStarted{problems}
	}
	return nil
}

func (c Cluster) beginBuilding(group *background.Group, origin origin, suites []string) Started {
	return Started{
		Cluster: c, group: group, modules: origin.begin(group),
		bases: background.Begin(group, "Debian's base images", func(ctx context.Context) ([]images.Base, error) {
			return c.makeBases(ctx, suites, c.Printer)
		}),
	}
}

// makeBases makes one release after the other, the one first that our own images stand on.
func (c Cluster) makeBases(ctx context.Context, suites []string, printer *progress.Printer) ([]images.Base, error) {
	var all []images.Base
	for _, suite := range suites {
		bases, err := images.EnsureBases(ctx, printer, suite)
		if err != nil {
			return nil, err
		}
		all = append(all, bases...)
	}
	return all, nil
}

// origin is where the programs come from.
type origin struct {
	compiles bool
	packages [][]host.Package
	// set tells where they are, or will be.
	set programs.Set
	// begin builds what is missing; the results are by the names of the modules.
	begin func(*background.Group) map[string]*background.Result[string]
}

func (c Cluster) origin(modules []programs.Module) (origin, error) {
	if c.Prebuilt != "" {
		return c.prebuilt()
	}
	builder, err := c.builder()
	if err != nil {
		return origin{}, err
	}
	missing, err := builder.Missing(modules)
	if err != nil {
		return origin{}, err
	}
	// Where those will be that nobody asked for yet is known, too: the node starts them if they come later.
	set, err := builder.Set(programs.Modules)
	return origin{
		compiles: len(missing) > 0,
		packages: [][]host.Package{host.ToRun, host.ToBuild},
		set:      set,
		begin: func(group *background.Group) map[string]*background.Result[string] {
			return builder.Begin(group, modules, c.Printer)
		},
	}, err
}

func (c Cluster) prebuilt() (origin, error) {
	set, err := programs.ReadSet(c.Prebuilt)
	return origin{packages: [][]host.Package{host.ToRun}, set: set, begin: func(group *background.Group) map[string]*background.Result[string] {
		results := map[string]*background.Result[string]{}
		for module, folder := range set {
			results[module] = background.Begin(group, module, func(context.Context) (string, error) { return folder, nil })
		}
		return results
	}}, err
}

// originOfRunning goes on with what a start that was cut off has not built. What a sandbox runs is what it was
// started with; where that is not there, and this checkout would make something else, it can only be started anew.
func (c Cluster) originOfRunning(modules []programs.Module) (origin, error) {
	used, err := c.usedPrograms()
	if err != nil {
		return origin{}, err
	}
	found, err := c.origin(modules)
	if err != nil || c.Prebuilt != "" {
		return found, err
	}
	// These do not run on the node.
	for _, module := range []programs.Module{programs.Helm, programs.Crane} {
		used[module.Name] = found.set[module.Name]
	}
	if err := c.rememberPrograms(used); err != nil {
		return origin{}, err
	}
	missing := slices.DeleteFunc(slices.Clone(modules), func(module programs.Module) bool {
		_, err := os.Stat(used[module.Name])
		return err == nil
	})
	for _, module := range missing {
		if used[module.Name] != found.set[module.Name] {
			return origin{}, fmt.Errorf("sandbox %[1]d was started without %[2]s, by another state of the checkout: start it anew (`make sandbox-down SANDBOX=%[1]d`)", c.Number, module.Name)
		}
	}
	builder, err := c.builder()
	found.begin = func(group *background.Group) map[string]*background.Result[string] {
		results := builder.Begin(group, missing, c.Printer)
		for module, folder := range used {
			if results[module] == nil {
				results[module] = background.Begin(group, module, func(context.Context) (string, error) { return folder, nil })
			}
		}
		return results
	}
	return found, err
}

func (c Cluster) builder() (*programs.Builder, error) {
	return programs.NewBuilder(filepath.Join(c.Checkout, "sandbox", "programs"))
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
	if err := c.startNode(ctx, set, lock, step); err != nil {
		step.End("failed")
		// Nothing half-started stays: the state and its logs do.
		return errors.Join(err, host.CleanUp(c.Sandbox), lock.Remove())
	}
	step.End("node Ready")
	return nil
}

// Await waits until the programs of a module are there, and answer where they serve something; waiting is what
// needs them.
func (s Started) Await(module programs.Module, waiting string) error {
	if _, err := s.modules[module.Name].Wait(s.Printer, waiting); err != nil {
		return s.incomplete(err)
	}
	network, address := "", ""
	switch module.Name {
	case programs.BuildKit.Name:
		network, address = "unix", strings.TrimPrefix(s.BuildKit(), "unix://")
	case programs.CoreDNS.Name:
		network, address = "tcp", net.JoinHostPort(s.NodeIP(), "53")
	default:
		return nil
	}
	return s.wait(s.group.Context(), module.Name, nil, func() error {
		connection, err := net.Dial(network, address)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

// Furnish brings what chains need beside a cluster: base images, under tags that lead to those of the
// cache again, and example repositories, which stay as they are once they are there.
func (s Started) Furnish() error {
	bases, err := s.bases.Wait(s.Printer, "the registry")
	if err != nil {
		return s.incomplete(err)
	}
	step := s.Printer.Start("pushing base images and example repositories")
	pushed, err := images.Push(s.group.Context(), s.Registry(), bases)
	if err == nil {
		err = gitserver.Seed(s.Path("git"), filepath.Join(s.Checkout, "examples"))
	}
	if err != nil {
		step.End("failed")
		return err
	}
	step.End(fmt.Sprintf("done, %d images were missing", pushed))
	return nil
}

// Finish returns when all that was asked for is there.
func (s Started) Finish() error {
	if err := s.Furnish(); err != nil {
		return err
	}
	for _, module := range programs.Modules {
		if s.modules[module.Name] == nil {
			continue
		}
		if err := s.Await(module, "the sandbox"); err != nil {
			return err
		}
	}
	return nil
}

// Complete adds what a sandbox has beside what it was begun with.
func (s Started) Complete(ctx context.Context, printer *progress.Printer) error {
	bases, err := s.makeBases(ctx, images.Suites, printer)
	if err != nil {
		return err
	}
	if _, err := images.Push(ctx, s.Registry(), bases); err != nil || s.Prebuilt != "" {
		return err
	}
	builder, err := s.builder()
	if err != nil {
		return err
	}
	_, err = builder.Ensure(ctx, programs.Modules, printer)
	return err
}

// incomplete is for what fails when the node runs already.
func (s Started) incomplete(err error) error {
	return fmt.Errorf("sandbox %d runs, but is not complete; the same command goes on with it: %w", s.Number, err)
}
