package demotest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/patience"
)

// crowded is a chain whose build runs a line with a profile of which the node has room for one build. It has another
// name in each run, so that it is built in each.
const crowded = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: NAME, namespace: takelage}
spec:
  profiles: [crowd]
  links:
  - name: only
    source: {inline: {files: {t.pkr.hcl: TEMPLATE}}}
    from: {chain: {name: takelage, link: systemd}}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    timeouts: {pending: PENDING}
`

// testQueue has a build wait for room beside one that runs, for longer than it may be pending, and run then.
func testQueue(t *testing.T, c *testCluster) {
	share := c.allocatable(t) * 55 / 100
	c.useProfileOf(t, "crowd", c.demonstration.Registry, "", fmt.Sprintf("cpu: %dm, memory: 1536Mi, storage: 4Gi", share))
	gate := c.newGate(t)
	pending := patience.Of(20 * time.Second)
	name := func(which string) string { return fmt.Sprintf("queue-%s-%d", which, time.Now().Unix()) }
	first, second := name("first"), name("second")
	begin := func(name, line string) {
		c.apply(t, strings.NewReplacer("NAME", name, "TEMPLATE", quoted(template(line)), "PENDING", pending.String()).Replace(crowded))
		t.Cleanup(func() { c.kubectl(t, "delete", "imagechain", name, "-n", namespace) })
	}
	begin(first, gate.line())
	release := gate.await(t)
	begin(second, "echo its turn has come")
	waiting := c.awaitReason(t, second, "only", "WaitingForSlot")
	c.says(t, waiting, "cpu is short by", "behind 1 build that runs")
	until := time.Now().Add(pending + 10*time.Second)
	c.eventually(t, "it waits for longer than it may be pending", func() (bool, string) {
		if link := c.chain(t, second).Link("only"); link.Reason != "WaitingForSlot" {
			t.Fatalf("it does not wait any more: %+v", link)
		}
		return time.Now().After(until), "the time is not up"
	})
	release()
	c.awaitDone(t, first)
	done := c.awaitDone(t, second)
	if attempts := c.build(t, done.Link("only").Build).Status.Attempts; len(attempts) != 1 {
		t.Errorf("it was not one attempt: %+v", attempts)
	}
}

// allocatable is how many thousandths of a processor the first node has for pods.
func (c *testCluster) allocatable(t *testing.T) int {
	t.Helper()
	text := strings.TrimSpace(c.kubectl(t, "get", "nodes", "-o", "jsonpath={.items[0].status.allocatable.cpu}"))
	digits, isMilli := strings.CutSuffix(text, "m")
	amount, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatalf("%q is no amount of processor time: %v", text, err)
	}
	if isMilli {
		return amount
	}
	return 1000 * amount
}
