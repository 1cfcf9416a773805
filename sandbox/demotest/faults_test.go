package demotest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/demo"
	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/observe"
)

// gated is a chain whose first link waits at a gate, in the middle of its build.
const gated = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: gated, namespace: takelage}
spec:
  profiles: [small]
  links:
  - name: first
    source: {inline: {files: {t.pkr.hcl: TEMPLATE}}}
    from: {image: "REGISTRY/library/debian:13-slim"}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    publish: {image: {repository: REGISTRY/gated/first, tags: [latest]}}
  - name: second
    source: {inline: {files: {t.pkr.hcl: SIMPLE}}}
    from: {link: first}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    verify: [{command: {arguments: ["true"]}}]
    publish: {image: {repository: REGISTRY/gated/second, tags: [latest]}}
`

func (g *gate) chain() string {
	return strings.NewReplacer("TEMPLATE", quoted(template(g.line())), "SIMPLE", quoted(template("true"))).Replace(gated)
}

// victim is a link of a chain that waits at a gate, in the middle of its build.
type victim struct {
	gate        *gate
	chain, link string
	// program is one that runs in its pod meanwhile.
	program string
}

// fault is what befalls the middle of a build.
type fault struct {
	name   string
	happen func(*testing.T, *testCluster, string)
	// attempts are the reasons of those that the build of the victim loses by it.
	attempts []string
}

var faults = []fault{
	{"an upgrade of the operator", upgrade, nil},
	{"the operator that leads", killLeader, nil},
	{"the kubelet", killKubelet, nil},
	{"the engine", killProgram("dockerd"), []string{"EngineRestarted"}},
	{"the machine", killMachine, []string{"NodeLost"}},
}

func testFaults(t *testing.T, c *testCluster) {
	if c.sandbox == nil {
		t.Skip("only a sandbox may be killed")
	}
	gate := c.newGate(t)
	c.useProfile(t, "small", c.demonstration.Registry, "")
	c.disturb(t, victim{gate, "gated", "first", "dockerd"}, gate.chain(), faults)
}

// disturb runs a chain undisturbed, and then once for each fault: it ends in the same way.
func (c *testCluster) disturb(t *testing.T, v victim, chain string, faults []fault) {
	t.Helper()
	c.apply(t, chain)
	v.gate.await(t)()
	c.publishedIsTested(t, c.awaitDone(t, v.chain))
	for _, fault := range faults {
		if !t.Run(fault.name, func(t *testing.T) { c.survives(t, v, fault) }) {
			return
		}
	}
}

func (c *testCluster) survives(t *testing.T, v victim, fault fault) {
	t.Helper()
	v.gate.set(false)
	// The address of the gate is another one in each run: so is the token.
	token := strings.ReplaceAll(fault.name, " ", "-") + "-" + v.gate.listener.Addr().String()
	c.request(t, v.chain, token)
	release := v.gate.await(t)
	running := c.chain(t, v.chain).Link(v.link)
	before := c.attempts(t, running.Build)
	pod := before[len(before)-1].Pod
	c.isOnNode(t, v, pod)
	fault.happen(t, c, pod)
	if found := digest(t, running.Published.Repository); found != running.Published.Digest {
		t.Errorf("the tag was moved to %s, and nothing was tested", found)
	}
	release()
	done := c.awaitRequest(t, v.chain, token)
	c.publishedIsTested(t, done)
	// What is published may be older: a disk that is made once more is the same.
	if verified := done.Link(v.link).Verified.Build; verified != running.Build {
		t.Errorf("the build that was disturbed is %s, and %s is verified", running.Build, verified)
	}
	var lost []string
	for _, attempt := range c.attempts(t, running.Build) {
		if attempt.Outcome != "Succeeded" {
			lost = append(lost, attempt.Reason)
		}
	}
	if fmt.Sprint(lost) != fmt.Sprint(fault.attempts) {
		t.Errorf("the build lost attempts by %v, not by %v: %+v", lost, fault.attempts, c.attempts(t, running.Build))
	}
	c.stagedOnce(t, running.Build)
	c.nothingIsLeft(t, running.Build)
}

// isOnNode finds what must be gone later.
func (c *testCluster) isOnNode(t *testing.T, v victim, pod string) {
	t.Helper()
	uid := c.podUID(t, pod)
	if _, err := os.Stat(c.podFolder(uid)); err != nil {
		t.Errorf("the files of the pod %s are not where they are looked for: %v", pod, err)
	}
	is := func(process observe.Process) bool { return process.Name == v.program }
	if found := processesOf(t, uid); !slices.ContainsFunc(found, is) {
		t.Errorf("no %s runs in the pod %s: %+v", v.program, pod, found)
	}
}

// stagedOnce wants each attempt of a build that ended well to have staged its product under its own name, and no other
// attempt anything.
func (c *testCluster) stagedOnce(t *testing.T, build string) {
	t.Helper()
	repository := c.demonstration.Registry + "/" + staging
	var wanted, found []string
	for _, attempt := range c.attempts(t, build) {
		if attempt.Outcome == "Succeeded" {
			wanted = append(wanted, attempt.Pod+" "+c.build(t, build).Status.Artifact.Digest)
		}
	}
	for _, tag := range strings.Fields(command(t, "", "crane", "ls", "--insecure", repository)) {
		if strings.HasPrefix(tag, build+"-") {
			found = append(found, tag+" "+command(t, "", "crane", "digest", "--insecure", repository+":"+tag))
		}
	}
	if len(wanted) != 1 || !slices.Equal(found, wanted) {
		t.Errorf("%v is staged of %s, not %v", found, build, wanted)
	}
}

// nothingIsLeft wants the pods of a build that is done to leave no process on the node, and no file once they are
// deleted. Nobody tells of either: the node is looked at.
func (c *testCluster) nothingIsLeft(t *testing.T, build string) {
	t.Helper()
	for _, attempt := range c.attempts(t, build) {
		if attempt.PodUID == "" {
			t.Fatalf("nobody knows the pod of the attempt: %+v", attempt)
		}
		c.eventually(t, "the end of all processes of the pod "+attempt.Pod, func() (bool, string) {
			left := processesOf(t, attempt.PodUID)
			return len(left) == 0, fmt.Sprintf("%+v", left)
		})
		c.kubectl(t, "delete", "pod", attempt.Pod, "-n", builds, "--ignore-not-found", "--timeout=60s")
		c.eventually(t, "the end of all files of the pod "+attempt.Pod, func() (bool, string) {
			_, err := os.Stat(c.podFolder(attempt.PodUID))
			return errors.Is(err, os.ErrNotExist), fmt.Sprint(c.podFolder(attempt.PodUID), err)
		})
	}
}

// podFolder is where the kubelet keeps the volumes of a pod.
func (c *testCluster) podFolder(uid string) string { return c.sandbox.Path("kubelet", "pods", uid) }

func (c *testCluster) podUID(t *testing.T, pod string) string {
	t.Helper()
	return c.kubectl(t, "get", "pod", pod, "-n", builds, "-o", "jsonpath={.metadata.uid}")
}

func (c *testCluster) attempts(t *testing.T, build string) []demo.Attempt {
	t.Helper()
	return c.build(t, build).Status.Attempts
}

// upgrade has the chart put other pods in the place of both replicas.
func upgrade(t *testing.T, c *testCluster, _ string) {
	leader := c.leader(t)
	command(t, "", "helm", "upgrade", "imagechain", filepath.Join(checkout, "charts", "imagechain"),
		"--namespace=imagechain-system", "--reuse-values", "--wait", "--timeout=5m",
		fmt.Sprintf(`--set-string=log=info\,upgrade_%d=info`, time.Now().Unix()))
	c.awaitOtherLeader(t, leader)
}

// leader is the replica that has the lease; empty where none has.
func (c *testCluster) leader(t *testing.T) string {
	t.Helper()
	return c.kubectl(t, "get", "lease", "imagechain-controller", "-n", "imagechain-system", "-o", "jsonpath={.spec.holderIdentity}")
}

func (c *testCluster) awaitOtherLeader(t *testing.T, before string) {
	t.Helper()
	c.eventually(t, "another one leads", func() (bool, string) {
		now := c.leader(t)
		return now != before && now != "", now
	})
}

func killLeader(t *testing.T, c *testCluster, _ string) {
	leader := c.leader(t)
	var pods struct {
		Items []struct{ Metadata struct{ Name, UID string } }
	}
	c.read(t, &pods, "get", "pods", "-n", "imagechain-system")
	for _, pod := range pods.Items {
		if strings.HasPrefix(leader, pod.Metadata.Name) {
			c.killIn(t, pod.Metadata.UID, "imagechain")
			c.awaitOtherLeader(t, leader)
			return
		}
	}
	t.Fatalf("the leader %q is none of %+v", leader, pods)
}

// killProgram kills the programs of a name in the pod of the build.
func killProgram(name string) func(*testing.T, *testCluster, string) {
	return func(t *testing.T, c *testCluster, pod string) { c.killIn(t, c.podUID(t, pod), name) }
}

func killKubelet(t *testing.T, c *testCluster, _ string) {
	kubelets := 0
	for _, process := range processes(t) {
		if process.Name == "kubelet" && process.Is(c.sandbox.Name()) && kill(t, process) {
			kubelets++
		}
	}
	if kubelets != 1 {
		t.Fatalf("%d kubelets were killed", kubelets)
	}
}

// killMachine ends all of the sandbox at once, and starts it on what was written.
func killMachine(t *testing.T, c *testCluster, _ string) {
	found, err := host.Find(c.sandbox.Sandbox)
	if err != nil || found.PID == 0 {
		t.Fatalf("it does not run: %+v %v", found, err)
	}
	if err := host.Kill(found.PID); err != nil {
		t.Fatal(err)
	}
	startSandbox(t, c.sandbox.Number)
}

// killIn kills the programs of that name in a pod.
func (c *testCluster) killIn(t *testing.T, pod, name string) {
	t.Helper()
	var killed []int
	for _, process := range processesOf(t, pod) {
		if process.Name == name && kill(t, process) {
			killed = append(killed, process.ID)
		}
	}
	if len(killed) == 0 {
		t.Fatalf("no %s runs in the pod %s", name, pod)
	}
	// What goes on before that was not disturbed.
	c.eventually(t, "the end of "+name, func() (bool, string) {
		left := slices.DeleteFunc(slices.Clone(killed), hasEnded)
		return len(left) == 0, fmt.Sprint(left)
	})
}

// hasEnded tells whether a process has ended, even if nobody has asked how yet (proc_pid_stat(5)).
func hasEnded(id int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	return err != nil || bytes.Contains(text, []byte(") Z "))
}

// kill tells whether it has killed a process: some end with another one of their name.
func kill(t *testing.T, process observe.Process) bool {
	t.Helper()
	err := syscall.Kill(process.ID, syscall.SIGKILL)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("%+v: %v", process, err)
	}
	return err == nil
}

// shortLived is a tenant who goes.
const shortLived = `
apiVersion: v1
kind: Namespace
metadata: {name: short-lived, labels: {imagechain.dev/tenant: "true"}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: short-lived-small}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: imagechain-use-small}
subjects: [{kind: ServiceAccount, name: default, namespace: short-lived}]
`

// testDeletions deletes a chain, and then a whole namespace, in the middle of a build: nothing is left.
func testDeletions(t *testing.T, c *testCluster) {
	if c.sandbox == nil {
		t.Skip("builds of another cluster may not reach the gate on this machine")
	}
	gate := c.newGate(t)
	c.useProfile(t, "small", c.demonstration.Registry, "")
	// Another name, and other tags: those of the chain before have an owner.
	c.apply(t, strings.ReplaceAll(gate.chain(), "gated", "deleted"))
	release := gate.await(t)
	pod := c.podOf(t, "deleted")
	c.kubectl(t, "get", "secret", pod, "-n", builds)
	c.kubectl(t, "delete", "imagechain", "deleted", "-n", namespace, "--timeout=30s")
	c.kubectl(t, "wait", "--for=delete", "--timeout=60s", "-n", builds, "pod/"+pod, "secret/"+pod)
	release()

	gate.set(false)
	c.apply(t, shortLived)
	c.apply(t, strings.NewReplacer("gated", "brief", "namespace: takelage", "namespace: short-lived").Replace(gate.chain()))
	release = gate.await(t)
	pod = c.podOf(t, "brief")
	c.kubectl(t, "delete", "namespace", "short-lived", "--timeout=90s")
	c.kubectl(t, "wait", "--for=delete", "--timeout=60s", "-n", builds, "pod/"+pod, "secret/"+pod)
	release()
}

// podOf is the one of a chain that runs.
func (c *testCluster) podOf(t *testing.T, chain string) string {
	t.Helper()
	names := strings.Fields(c.kubectl(t, "get", "pods", "-n", builds, "-l", "imagechain.dev/chain="+chain,
		"--field-selector=status.phase!=Succeeded,status.phase!=Failed", "-o", "jsonpath={.items[*].metadata.name}"))
	if len(names) != 1 {
		t.Fatalf("of %s these pods run: %v", chain, names)
	}
	return names[0]
}

// testOnePodPerAttempt asks the API server's own log, which nobody of us writes.
func testOnePodPerAttempt(t *testing.T, c *testCluster) {
	if c.sandbox == nil {
		t.Skip("the audit log of another cluster is not ours to read")
	}
	text, err := os.ReadFile(c.sandbox.Path("log", "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]int{}
	for line := range bytes.Lines(text) {
		var entry struct {
			Verb      string
			ObjectRef struct{ Resource, Subresource, Namespace, Name string }
			Response  struct{ Code int } `json:"responseStatus"`
		}
		if json.Unmarshal(line, &entry) != nil {
			continue // The line that was being written when the machine was killed.
		}
		ref := entry.ObjectRef
		if entry.Verb == "create" && ref.Resource == "pods" && ref.Subresource == "" && ref.Namespace == builds && entry.Response.Code == 201 {
			made[ref.Name]++
		}
	}
	if len(made) == 0 {
		t.Error("the log knows no pod: the look is wrong")
	}
	for name, times := range made {
		if times != 1 {
			t.Errorf("the pod %s was made %d times", name, times)
		}
	}
	t.Logf("%d pods", len(made))
}
