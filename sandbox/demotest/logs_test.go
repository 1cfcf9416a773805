package demotest

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/demo"
)

// spoken is a chain whose build says something. It has another name in each run, so that it is built in each.
const spoken = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: NAME, namespace: takelage}
spec:
  profiles: [small]
  links:
  - name: only
    source: {inline: {files: {t.pkr.hcl: TEMPLATE}}}
    from: {chain: {name: takelage, link: systemd}}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    verify: [{command: {arguments: ["echo", "it was looked at"]}}]
`

// testLogs follows a build to its end, and looks at what is kept of it.
func testLogs(t *testing.T, c *testCluster) {
	c.useProfile(t, "small", c.demonstration.Registry, "")
	name := fmt.Sprintf("spoken-%d", time.Now().Unix())
	c.apply(t, strings.NewReplacer("NAME", name, "TEMPLATE", quoted(template("echo this is "+name))).Replace(spoken))
	t.Cleanup(func() { c.kubectl(t, "delete", "imagechain", name, "-n", namespace) })
	c.await(t, name, "a pod is there", func(chain demo.Chain) bool {
		build := chain.Link("only").Build
		return build != "" && len(c.attempts(t, build)) > 0
	})
	followed := c.logs(t, name, "--follow")
	kept := c.logs(t, name, "only")
	for _, text := range []string{followed, kept} {
		for _, line := range []string{"build   | ", "this is " + name, "verify  | ", "it was looked at"} {
			if !strings.Contains(text, line) {
				t.Errorf("%q is not in the logs:\n%s", line, text)
			}
		}
	}
	if !strings.Contains(followed, "verified") {
		t.Errorf("who follows does not hear how it ended:\n%s", followed)
	}
	if verify := c.logs(t, name, "--container=verify"); strings.Contains(verify, "this is") || !strings.Contains(verify, "it was looked at") {
		t.Errorf("this is not the log of one container:\n%s", verify)
	}
}

// logs is what the operator's program prints of a chain.
func (c *testCluster) logs(t *testing.T, chain string, arguments ...string) string {
	t.Helper()
	return command(t, "", os.Getenv("PROGRAM"), append([]string{"logs", chain, "--namespace=" + namespace}, arguments...)...)
}
