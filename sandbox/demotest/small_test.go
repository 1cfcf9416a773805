package demotest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/demo"
	"imagechain.dev/sandbox/internal/patience"
)

// staging is where all profiles of these tests stage, in their registry.
const staging = "small/staging"

// useProfile lets the chart make a profile, since the gates know the chart's alone, and gives it to the tenant. Of a
// small one several builds fit on the node at once. Its staging repository is in the given registry, and asks for
// the Secret unless that is empty.
func (c *testCluster) useProfile(t *testing.T, name, registry, secret string) {
	t.Helper()
	c.useProfileOf(t, name, registry, secret, "cpu: 500m, memory: 1536Mi, storage: 4Gi")
}

// useProfileOf is useProfile for one that grants other resources. Further fields of its spec may be given, each as a line.
func (c *testCluster) useProfileOf(t *testing.T, name, registry, secret, resources string, fields ...string) {
	t.Helper()
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     map[string]any
		}
	}
	c.read(t, &list, "get", "buildprofiles")
	builder := ""
	for _, each := range list.Items {
		if each.Metadata.Name == "docker" {
			builder = fmt.Sprint(each.Spec["images"].(map[string]any)["builder"])
		}
	}
	if secret != "" {
		secret = ", secretRef: {name: " + secret + "}"
	}
	values := fmt.Sprintf(`
profiles:
  %s:
    images: {builder: %q}
    executionNamespace: %s
    allowedNamespaces: {matchLabels: {imagechain.dev/tenant: "true"}}
    resources: {%s}
    registry:
      staging: {repository: %s/%s%s}
      insecure: [%s]
      mirrors: [{registry: docker.io, mirror: %q}]
%s`, name, builder, builds, resources, registry, staging, secret, strings.Join(slices.Compact([]string{quoted(registry), quoted(c.demonstration.Registry)}), ", "), c.demonstration.Registry, lines(fields))
	c.change(t, values)
	c.apply(t, fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: takelage-%[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: imagechain-use-%[1]s}
subjects: [{kind: ServiceAccount, name: default, namespace: takelage}]
`, name))
}

// change adds to the values of the chart, and waits until what it makes of them is ready.
func (c *testCluster) change(t *testing.T, values string) {
	t.Helper()
	c.helm.Lock()
	defer c.helm.Unlock()
	upgrade := exec.Command("helm", "upgrade", "imagechain", filepath.Join(checkout, "charts", "imagechain"),
		"--namespace=imagechain-system", "--reuse-values", "--wait", "--timeout="+patience.Of(5*time.Minute).String(), "--values=-")
	upgrade.Stdin = strings.NewReader(values)
	run(t, upgrade)
}

// lines are fields of a profile, as they stand in the values of the chart.
func lines(fields []string) string {
	var text strings.Builder
	for _, field := range fields {
		text.WriteString("    " + field + "\n")
	}
	return text.String()
}

// template is a packer template that runs a line of shell in a container of its parent.
func template(line string) string {
	return templateOf(`"--interactive", "--tty", "{{ .Image }}", "/bin/sh"`, fmt.Sprintf(`provisioner "shell" {
    inline = [%q]
  }`, line))
}

// templateOf is one that starts the container with these arguments, and does this there; both as packer writes them.
func templateOf(arguments, provisioners string) string {
	return fmt.Sprintf(`variable "base" {
  type = string
}
source "docker" "small" {
  image       = var.base
  pull        = false
  commit      = true
  run_command = ["--detach", %s]
  changes     = ["CMD [\"sleep\", \"infinity\"]"]
}
build {
  sources = ["source.docker.small"]
  %s
}
`, arguments, provisioners)
}

// quoted is a text as a YAML flow scalar.
func quoted(text string) string { return strconv.Quote(text) }

// says wants words in what a status tells people of a failure, so that nobody has to read a log.
func (c *testCluster) says(t *testing.T, link demo.LinkStatus, words ...string) {
	t.Helper()
	told := link.Message
	if link.Build != "" {
		if failure := c.build(t, link.Build).Status.Failure; failure != nil {
			told += "\n" + failure.Message + "\n" + failure.Task
		}
	}
	t.Logf("%s: %s: %s", link.Name, link.Reason, told)
	for _, word := range words {
		if !strings.Contains(told, word) {
			t.Errorf("the status of %s does not say %q:\n%s", link.Name, word, told)
		}
	}
}
