package observe

import (
	"os"
	"slices"
	"testing"
)

// A pod as it is on a node: engine and stage in their own PID namespaces, a container with systemd, one that escaped.
var pod = []Process{
	{ID: 10, Parent: 1, Name: "containerd-shim", Command: "containerd-shim-runc-v2", Groups: "0::/x", Space: "node"},
	{ID: 20, Parent: 10, Name: "imagechain", Command: "/imagechain/bin/imagechain runner engine", Groups: "0::/k/podA/e/engine", Space: "engine"},
	{ID: 21, Parent: 20, Name: "dockerd", Command: "dockerd", Groups: "0::/k/podA/e/engine", Space: "engine"},
	{ID: 22, Parent: 20, Name: "containerd-shim", Command: "containerd-shim-runc-v2", Groups: "0::/k/podA/e/engine", Space: "engine"},
	{ID: 23, Parent: 22, Name: "systemd", Command: "/lib/systemd/systemd", Groups: "0::/k/podA/e/docker/c1/init.scope", Space: "c1"},
	{ID: 24, Parent: 22, Name: "sleep", Command: "sleep 1", Groups: "0::/docker/c2", Space: "c2"},
	{ID: 30, Parent: 10, Name: "imagechain", Command: "/imagechain/bin/imagechain runner build", Groups: "0::/k/podA/b", Space: "build"},
	{ID: 31, Parent: 30, Name: "packer", Command: "packer build", Groups: "0::/k/podA/b", Space: "build"},
	{ID: 40, Parent: 10, Name: "imagechain", Command: "/imagechain/bin/imagechain runner engine --check", Groups: "0::/k/podA/e/engine", Space: "engine"},
	{ID: 50, Parent: 1, Name: "sleep", Command: "sleep 2", Groups: "0::/user", Space: "node"},
}

func TestInnerProcessesAreFoundWhereverTheirGroupsAre(t *testing.T) {
	found := FindInner(pod)
	if len(found) != 2 || found[0].ID != 23 || found[1].ID != 24 {
		t.Fatalf("these were found: %+v", found)
	}
	if container, inside := found[0].Container(); container != "c1" || !inside || found[0].Stage != "build" {
		t.Errorf("it is in %s (%v), in the stage %s", container, inside, found[0].Stage)
	}
	if _, inside := found[1].Container(); inside {
		t.Error("a group of the node's root is taken for one of the pod's")
	}
}

func TestAParentStandsBehindAnyName(t *testing.T) {
	if found, err := parent("7 (a ) b (c) S 42 7 7"); found != 42 || err != nil {
		t.Errorf("it is %d: %v", found, err)
	}
	if _, err := parent(""); err == nil {
		t.Error("a process that has ended has a parent")
	}
	all, err := Processes()
	if err != nil || !slices.ContainsFunc(all, func(p Process) bool { return p.ID == os.Getpid() && p.Parent == os.Getppid() }) {
		t.Errorf("this process is not among %d: %v", len(all), err)
	}
}

func TestChangesAreCounted(t *testing.T) {
	before := Snapshot{
		Groups:    []string{"/ pids.max=max", "/a pids.max=5"},
		Mounts:    mountLines("30 24 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"),
		Processes: processLines([]Process{{ID: 2, Name: "kthreadd"}, {ID: 9, Parent: 2, Name: "kworker"}, {ID: 8, Parent: 1, Name: "sh", Groups: "0::/a"}}),
	}
	if changes := before.Changes(before); len(changes) != 0 {
		t.Errorf("nothing changed, but: %v", changes)
	}
	after := Snapshot{
		Groups:    []string{"/ pids.max=max", "/a pids.max=7", "/docker"},
		Mounts:    mountLines("31 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
		Processes: []string{"sh 0::/a", "sh 0::/a"},
	}
	wanted := []string{
		"-1 /a pids.max=5", "+1 /a pids.max=7", "+1 /docker",
		"+1 / /sys/fs/cgroup rw cgroup2 cgroup2 rw", "-1 / /sys/fs/cgroup rw cgroup2 cgroup2 rw,nsdelegate",
		"+1 sh 0::/a",
	}
	if changes := before.Changes(after); !slices.Equal(changes, wanted) {
		t.Errorf("these changed: %q", changes)
	}
	if changes := before.Names().Changes(after.Names()); changes[0] != "+1 /docker" {
		t.Errorf("limits count, too: %q", changes)
	}
}
