package demotest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/demo"
	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/observe"
	"imagechain.dev/sandbox/internal/patience"
)

// watch looks again and again where inner processes are.
type watch struct {
	ended chan struct{}
	done  sync.WaitGroup

	looks    int
	outside  map[string]bool
	sighted  map[string]map[string]bool
	firsts   map[string]bool
	problems []error
}

func startWatch(t *testing.T) *watch {
	t.Helper()
	made := &watch{ended: make(chan struct{}), outside: map[string]bool{}, sighted: map[string]map[string]bool{}, firsts: map[string]bool{}}
	made.done.Go(func() {
		ticker := time.NewTicker(patience.Of(250 * time.Millisecond))
		defer ticker.Stop()
		for {
			select {
			case <-made.ended:
				return
			case <-ticker.C:
				made.look()
			}
		}
	})
	t.Cleanup(made.stop)
	return made
}

func (w *watch) stop() {
	select {
	case <-w.ended:
	default:
		close(w.ended)
	}
	w.done.Wait()
}

func (w *watch) look() {
	all, err := observe.Processes()
	if err != nil {
		w.problems = append(w.problems, err)
		return
	}
	w.looks++
	for _, each := range observe.FindInner(all) {
		container, inside := each.Container()
		if !inside {
			w.outside[fmt.Sprintf("%s (%s) in %s", each.Name, each.Command, each.Groups)] = true
			continue
		}
		if w.sighted[each.Stage] == nil {
			w.sighted[each.Stage] = map[string]bool{}
		}
		w.sighted[each.Stage][container] = true
		if each.Name == "systemd" {
			w.firsts[each.Stage] = true
		}
	}
	for _, group := range []string{"docker", "init"} {
		if _, err := os.Stat(filepath.Join(observe.GroupsRoot, group)); err == nil {
			w.outside["the group /"+group+" of the node"] = true
		}
	}
}

// check wants containers of both stages to have been seen, with systemd in them, and none outside of its pod.
func (w *watch) check(t *testing.T) {
	t.Helper()
	for _, problem := range w.problems {
		t.Error(problem)
	}
	for _, each := range slices.Sorted(maps.Keys(w.outside)) {
		t.Errorf("outside of its pod's group: %s", each)
	}
	for _, stage := range []string{"build", "verify"} {
		if len(w.sighted[stage]) == 0 || !w.firsts[stage] {
			t.Errorf("in the stage %s no container with systemd was seen: %v", stage, w.sighted[stage])
		}
	}
	t.Logf("in %d looks, containers were seen of the stage build %d, of verify %d, all below their pod's group", w.looks, len(w.sighted["build"]), len(w.sighted["verify"]))
}

// publishedOrFailed ends the wait for a link, and the test where nobody can expect it any more.
func publishedOrFailed(t *testing.T, link string) func(demo.Chain) bool {
	return func(chain demo.Chain) bool {
		if why := chain.Failed(); why != "" {
			t.Fatalf("%s: %+v", why, chain.Link(link))
		}
		return chain.Link(link).Published != nil
	}
}

// lookAtNode looks with the eyes of the machine, and of the sandbox's node in it.
func (c *testCluster) lookAtNode(t *testing.T) map[string]observe.Snapshot {
	t.Helper()
	node, err := host.Find(c.sandbox.Sandbox)
	if err != nil || node.PID == 0 {
		t.Fatalf("the sandbox does not run: %v", err)
	}
	return map[string]observe.Snapshot{"the machine": look(t, 1), "the node": look(t, node.PID)}
}

func look(t *testing.T, process int) observe.Snapshot {
	t.Helper()
	seen, err := observe.Look(process)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// wantNothingNew fails where a sandbox has left something behind.
func wantNothingNew(t *testing.T, before, after observe.Snapshot) {
	t.Helper()
	for _, line := range before.Changes(after) {
		// What ended by itself is nobody's fault.
		if strings.HasPrefix(line, "+") {
			t.Errorf("this is left of the sandbox: %s", line)
		}
	}
}

// processesOf are those that run in a pod.
func processesOf(t *testing.T, pod string) []observe.Process {
	t.Helper()
	return slices.DeleteFunc(processes(t), func(process observe.Process) bool {
		return !strings.Contains(process.Groups, "pod"+pod)
	})
}

func processes(t *testing.T) []observe.Process {
	t.Helper()
	found, err := observe.Processes()
	if err != nil {
		t.Fatal(err)
	}
	return found
}
