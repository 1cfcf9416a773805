package demotest

import (
	"os/exec"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/demo"
)

// mistakes is a chain of links that all stand on what the demo has published, and each have a mistake of
// their own. What is to be mended from outside comes last.
const mistakes = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: mistakes, namespace: takelage}
spec:
  profiles: [docker]
  triggers: {interval: 30s}
  parallelism: 1
  source: {inline: {files: {
    t.pkr.hcl: "source \"docker\" \"x\" {\n  image = \"REGISTRY/takelage/systemd:latest\"\n  commit = true\n}\nbuild {\n  sources = [\"source.docker.x\"]\n}\n",
    broken.pkr.hcl: "source \"docker\" {",
    variable.pkr.hcl: "variable \"colour\" {\n  type = string\n}\nsource \"docker\" \"x\" {\n  image = var.colour\n  commit = true\n}\nbuild {\n  sources = [\"source.docker.x\"]\n}\n"}}}
  links:
  - name: template
    build: {packer: {template: broken.pkr.hcl}}
  - name: variable
    build: {packer: {template: variable.pkr.hcl}}
  - name: child
    from: {link: template}
    build: {packer: {template: t.pkr.hcl}}
  - name: base
    from: {image: "REGISTRY/takelage/nothing:1"}
    build: {packer: {template: t.pkr.hcl}}
  - name: revision
    source: {git: {url: "GIT_SERVER/takelage.git", revision: nothing}}
    build: {packer: {template: packer/systemd.pkr.hcl, variables: {base: "REGISTRY/takelage/systemd:latest"}}}
  - name: secret
    source: {git: {url: "GIT_SERVER/takelage.git", revision: main, secretRef: {name: nothing}}}
    build: {packer: {template: packer/systemd.pkr.hcl, variables: {base: "REGISTRY/takelage/systemd:latest"}}}
`

func testMistakes(t *testing.T, c *testCluster) {
	manifest := strings.NewReplacer("REGISTRY", c.demonstration.Registry, "GIT_SERVER", c.demonstration.GitServer).Replace(mistakes)
	applying := exec.Command("kubectl", "apply", "-f", "-")
	applying.Stdin = strings.NewReader(manifest)
	if text, err := applying.CombinedOutput(); err != nil {
		t.Fatalf("%s", text)
	}
	t.Cleanup(func() { c.kubectl(t, "delete", "imagechain", "mistakes", "-n", "takelage", "--wait") })
	for link, wanted := range map[string]struct{ reason, says string }{
		"template": {"TemplateInvalid", "broken.pkr.hcl"},
		"variable": {"TemplateInvalid", "colour"},
		"child":    {"ParentFailed", "template"},
		"base":     {"BaseImageNotFound", "takelage/nothing:1"},
		"revision": {"RevisionNotFound", "nothing"},
		"secret":   {"AccessNotGranted", "kubectl create role"},
	} {
		c.awaitLink(t, link, ".reason", wanted.reason)
		status := c.mistaken(t, link)
		message := status.Message
		if status.Build != "" {
			if failure := c.build(t, status.Build).Status.Failure; failure != nil {
				message = failure.Message
			}
		}
		t.Logf("%s: %s: %s", link, status.Reason, message)
		if !strings.Contains(message, wanted.says) {
			t.Errorf("%s does not say %q", link, wanted.says)
		}
	}
	c.mend(t)
}

// mend brings what was missing; nobody touches the chain.
func (c *testCluster) mend(t *testing.T) {
	t.Helper()
	from, to := c.demonstration.Registry+"/takelage/systemd:latest", c.demonstration.Registry+"/takelage/nothing:1"
	command(t, "", "crane", "copy", "--insecure", from, to)
	clone := t.TempDir()
	command(t, "", "git", "clone", "--quiet", c.demonstration.Repository(), clone)
	command(t, clone, "git", "push", "--quiet", "origin", "main:nothing")
	for _, link := range []string{"base", "revision"} {
		c.awaitLink(t, link, ".state", "Ready")
	}
}

func (c *testCluster) mistaken(t *testing.T, link string) demo.LinkStatus {
	t.Helper()
	var found demo.Chain
	c.read(t, &found, "get", "imagechain", "mistakes")
	return found.Link(link)
}

func (c *testCluster) awaitLink(t *testing.T, link, field, value string) {
	t.Helper()
	path := `jsonpath={.status.links[?(@.name=="` + link + `")]` + field + `}=` + value
	if text, err := exec.Command("kubectl", "wait", "imagechain/mistakes", "-n", "takelage", "--for="+path, "--timeout=10m").CombinedOutput(); err != nil {
		t.Fatalf("%s: %s is not %s: %s\n%+v", link, field, value, text, c.mistaken(t, link))
	}
}
