package demotest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/observe"
	"imagechain.dev/sandbox/internal/patience"
)

// TestCgroup2 is what only a node with cgroup v2 can show. `make test-cgroup2` runs it in a virtual machine that is one.
func TestCgroup2(t *testing.T) {
	if _, err := os.Stat(filepath.Join(observe.GroupsRoot, "cgroup.controllers")); err != nil {
		t.Fatalf("%v: this machine has not cgroup v2 alone: `make test-cgroup2` runs this in one that has", err)
	}
	fresh := look(t, 1)
	// After the sandbox is gone, since what is said last is done first. One that SANDBOX names stays.
	t.Cleanup(func() {
		if !t.Failed() && os.Getenv("SANDBOX") == "" {
			wantNothingNew(t, fresh.Names(), look(t, 1).Names())
		}
	})
	node := &unifiedNode{}
	runAll(t, []step{
		{"the operator", node.install},
		{"a memory hog", node.hog},
		{"a fork bomb", node.bomb},
		{"the links systemd and web", node.links},
		{"a template for cgroup v1", node.oldTemplate},
		{"the node is as before", node.isAsBefore},
	})
}

// unifiedNode is one with cgroup v2, and how it was before the first build.
type unifiedNode struct{ before map[string]observe.Snapshot }

// tight is a profile of which the engine gets 768Mi, its containers 512Mi and, at 256 KiB each, 2048 processes.
const (
	tight          = "cpu: 1500m, memory: 1Gi, storage: 4Gi"
	tightEngine    = 768 << 20
	tightMemory    = 512 << 20
	tightProcesses = 2048
)

func (n *unifiedNode) install(t *testing.T, c *testCluster) {
	if c.sandbox == nil {
		t.Fatal("the node of another cluster cannot be looked at: unset KUBECONFIG")
	}
	if err := c.demonstration.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	tenant, err := os.ReadFile(filepath.Join(checkout, "examples", "takelage", "tenant.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, string(tenant))
	c.useProfileOf(t, "tight", c.demonstration.Registry, "", tight)
	n.before = c.lookAtNode(t)
}

// crowd is a chain of one link, whose build starts a container beside that of packer before it runs a line there.
const crowd = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: NAME, namespace: takelage}
spec:
  profiles: [tight]
  links:
  - name: only
    source: {inline: {files: {t.pkr.hcl: TEMPLATE}}}
    from: {image: "REGISTRY/library/debian:13-slim"}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    timeouts: {pending: PENDING, build: STAGE}
`

const crowdProvisioners = `provisioner "shell-local" {
    inline = ["docker run --detach --name neighbour ${var.base} sleep 86402"]
  }
  provisioner "shell" {
    inline_shebang = "/bin/bash"
    inline         = [%q]
  }`

// crowded starts a build that runs a line, waits at a gate when that has ended, and fails as that has. It returns what
// lets the build go on.
func (c *testCluster) crowded(t *testing.T, name, line string) (release func()) {
	t.Helper()
	gate := c.newGate(t)
	// Where no process can be made any more, what waits must be the shell itself.
	script := fmt.Sprintf("(%s); code=$?; %s; exit $code", line, gate.builtin())
	bash := `"--interactive", "--tty", "{{ .Image }}", "/bin/bash"`
	packer := templateOf(bash, fmt.Sprintf(crowdProvisioners, script))
	c.apply(t, times(strings.NewReplacer("NAME", name, "TEMPLATE", quoted(packer)).Replace(crowd)))
	return gate.await(t)
}

// times puts in how long stages may take.
func times(manifest string) string {
	return strings.NewReplacer("PENDING", patience.Of(10*time.Minute).String(), "STAGE", patience.Of(15*time.Minute).String()).Replace(manifest)
}

// hog wants more memory than there is for containers: it alone ends.
func (n *unifiedNode) hog(t *testing.T, c *testCluster) {
	release := c.crowded(t, "hog", "tail /dev/zero")
	engine := c.engineOf(t, "hog")
	engine.isBounded(t)
	t.Logf("the containers had at most %d of %d bytes, and the kernel ended %d processes",
		engine.number(t, "docker/memory.peak"), tightMemory, engine.event(t, "docker/memory.events", "oom_kill"))
	if killed := engine.event(t, "docker/memory.events", "oom_kill"); killed != 1 {
		t.Errorf("the kernel ended %d processes, not the hog alone", killed)
	}
	if killed := engine.event(t, "memory.events.local", "oom"); killed != 0 {
		t.Errorf("the engine itself was out of memory %d times", killed)
	}
	engine.othersLive(t, c, "tail")
	release()
	c.endsOnce(t, "hog", "OutOfMemory", "out of memory", "512 MiB", "resources.memory")
}

// bomb makes processes until it may not: nothing ends but itself.
func (n *unifiedNode) bomb(t *testing.T, c *testCluster) {
	release := c.crowded(t, "bomb", "for ((i = 0; i < 9999; i++)); do sleep 86401 & done")
	engine := c.engineOf(t, "bomb")
	engine.isBounded(t)
	t.Logf("the containers had %d of %d processes and at most %d of %d bytes; %d more were refused", engine.number(t, "docker/pids.current"),
		tightProcesses, engine.number(t, "docker/memory.peak"), tightMemory, engine.event(t, "docker/pids.events", "max"))
	if refused := engine.event(t, "docker/pids.events", "max"); refused == 0 {
		t.Error("no process was refused")
	}
	if killed := engine.event(t, "docker/memory.events", "oom_kill"); killed != 0 {
		t.Errorf("the bomb took the memory of others, and the kernel ended %d processes", killed)
	}
	engine.othersLive(t, c, "")
	release()
	c.endsOnce(t, "bomb", "BuildFailed", "Resource temporarily unavailable")
}

// endsOnce wants a chain's only link to fail, for a reason that says what to do, without a second attempt.
func (c *testCluster) endsOnce(t *testing.T, chain, reason string, words ...string) {
	t.Helper()
	link := c.awaitReason(t, chain, "only", reason)
	c.says(t, link, words...)
	if attempts := c.attempts(t, link.Build); len(attempts) != 1 {
		t.Errorf("%d attempts were made: %+v", len(attempts), attempts)
	}
}

// links builds and verifies the demo's links systemd and web, and looks all the while where their containers are.
func (n *unifiedNode) links(t *testing.T, c *testCluster) {
	text, err := os.ReadFile(filepath.Join(checkout, "examples", "takelage", "chain.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, _, found := strings.Cut(string(text), "  # The same with a developer's tools")
	if !found {
		t.Fatal("the example's third link is not where it was")
	}
	for _, usual := range []string{"{build: 20m, verify: 10m}", "{build: 30m, verify: 15m}"} {
		if !strings.Contains(manifest, usual) {
			t.Fatalf("the example's timeouts are not %s", usual)
		}
		manifest = strings.ReplaceAll(manifest, usual, "{pending: PENDING, build: STAGE, verify: STAGE}")
	}
	watch := startWatch(t)
	began := time.Now()
	c.apply(t, times(strings.NewReplacer("registry.example", "REGISTRY", "https://git.example", "GIT_SERVER").Replace(manifest)))
	for _, link := range []string{"systemd", "web"} {
		c.await(t, "takelage", link+" is published", publishedOrFailed(t, link))
		published := c.chain(t, "takelage").Link(link).Published
		t.Logf("%s after %s: %s", link, time.Since(began).Round(time.Second), stages(c.build(t, published.Build)))
	}
	watch.stop()
	c.publishedIsTested(t, c.awaitDone(t, "takelage"))
	watch.check(t)
}

// oldTemplate is what people bring along from cgroup v1.
func (n *unifiedNode) oldTemplate(t *testing.T, c *testCluster) {
	systemd := `"--privileged", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:ro", "{{ .Image }}", "/lib/systemd/systemd"`
	packer := templateOf(systemd, `provisioner "shell" {
    inline = ["true"]
  }`)
	c.apply(t, times(strings.NewReplacer(
		"NAME", "old", "TEMPLATE", quoted(packer), `{image: "REGISTRY/library/debian:13-slim"}`, "{chain: {name: takelage, link: systemd}}",
	).Replace(crowd)))
	c.endsOnce(t, "old", "BuildFailed", "-v /sys/fs/cgroup:/sys/fs/cgroup:ro", "cgroup v1 nodes only",
		"Drop the volume and use --privileged --cgroupns=private --tmpfs /run --tmpfs /run/lock")
}

// isAsBefore deletes all chains, and compares the node with what it was before the first of them.
func (n *unifiedNode) isAsBefore(t *testing.T, c *testCluster) {
	if len(n.before) == 0 {
		t.Fatal("nobody looked at the node before: that is what the step «the operator» does")
	}
	c.kubectl(t, "delete", "imagechains", "--all", "-n", namespace)
	c.eventually(t, "all build pods are gone", func() (bool, string) {
		pods := c.kubectl(t, "get", "pods", "-n", builds, "-o", "name")
		return pods == "", pods
	})
	c.eventually(t, "the node is as it was", func() (bool, string) {
		after, changes := c.lookAtNode(t), ""
		for view, before := range n.before {
			for _, line := range before.Changes(after[view]) {
				changes += fmt.Sprintf("\n%s: %s", view, line)
			}
		}
		return changes == "", changes
	})
	for view, seen := range n.before {
		t.Logf("%s: %d groups, %d mounts and %d processes are as before", view, len(seen.Groups), len(seen.Mounts), len(seen.Processes))
		if !slices.ContainsFunc(seen.Mounts, func(line string) bool { return strings.Contains(line, "nsdelegate") }) {
			t.Errorf("%s: the groups were not mounted with nsdelegate, so nothing can be said of it", view)
		}
	}
}

// engine is that of the one build of a chain that runs, by the kernel's files.
type engine struct {
	pod, uid string
	// group is the container's.
	group string
}

func (c *testCluster) engineOf(t *testing.T, chain string) engine {
	t.Helper()
	found := engine{pod: c.podOf(t, chain)}
	found.uid = c.kubectl(t, "get", "pod", found.pod, "-n", builds, "-o", "jsonpath={.metadata.uid}")
	for _, process := range processes(t) {
		if process.Name == "dockerd" && strings.Contains(process.Groups, "pod"+found.uid+"/") {
			group, leaf := strings.CutSuffix(strings.TrimPrefix(process.Groups, "0::"), "/engine")
			if !leaf {
				t.Fatalf("dockerd is in %s", process.Groups)
			}
			found.group = group
			return found
		}
	}
	t.Fatalf("no dockerd runs in the pod %s", found.pod)
	return found
}

func (e engine) read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(observe.GroupsRoot, e.group, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func (e engine) number(t *testing.T, file string) int64 {
	t.Helper()
	found, err := strconv.ParseInt(e.read(t, file), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return found
}

// event is one of the counters of a file of events.
func (e engine) event(t *testing.T, file, name string) int64 {
	t.Helper()
	for line := range strings.Lines(e.read(t, file)) {
		var count int64
		if _, err := fmt.Sscanf(line, name+" %d", &count); err == nil {
			return count
		}
	}
	t.Fatalf("%s counts no %s", file, name)
	return 0
}

// isBounded looks at the limits of the engine and of its containers, and that the latter were kept.
func (e engine) isBounded(t *testing.T) {
	t.Helper()
	for file, wanted := range map[string]int64{"memory.max": tightEngine, "docker/memory.max": tightMemory, "docker/pids.max": tightProcesses} {
		if found := e.number(t, file); found != wanted {
			t.Errorf("%s is %d, not %d", file, found, wanted)
		}
	}
	if peak := e.number(t, "docker/memory.peak"); peak > tightMemory {
		t.Errorf("the containers had %d bytes of %d", peak, tightMemory)
	}
	if now := e.number(t, "docker/pids.current"); now > tightProcesses {
		t.Errorf("the containers have %d processes of %d", now, tightProcesses)
	}
}

// othersLive wants the engine, the container of packer and the one beside it to be as they were, and what was too
// much to be gone.
func (e engine) othersLive(t *testing.T, c *testCluster, gone string) {
	t.Helper()
	if restarts := c.kubectl(t, "get", "pod", e.pod, "-n", builds, "-o",
		`jsonpath={.status.initContainerStatuses[?(@.name=="engine")].restartCount}`); restarts != "0" {
		t.Errorf("the engine was restarted %s times", restarts)
	}
	neighbours := 0
	for _, process := range processes(t) {
		if !strings.HasPrefix(process.Groups, "0::"+e.group+"/docker/") {
			continue
		}
		if process.Is("sleep 86402") {
			neighbours++
		}
		if process.Name == gone {
			t.Errorf("%s still runs", gone)
		}
	}
	if neighbours != 1 {
		t.Errorf("of the container beside it %d processes run", neighbours)
	}
}
