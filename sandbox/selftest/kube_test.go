package selftest

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/layout"
)

// kube talks to a sandbox as its user would: with kubectl, crane, buildctl from its environment.
type kube struct {
	sandbox     layout.Sandbox
	environment []string
}

func (k *kube) command(name string, arguments ...string) *exec.Cmd {
	command := exec.Command("env", append([]string{name}, arguments...)...) // env looks in the new PATH
	command.Env = k.environment
	return command
}

// run runs kubectl; a failure ends the test.
func (k *kube) run(t *testing.T, arguments ...string) string {
	t.Helper()
	return mustRun(t, k.command("kubectl", arguments...))
}

func (k *kube) get(t *testing.T, namespace, object, path string) string {
	t.Helper()
	return k.run(t, "-n", namespace, "get", object, "-o", "jsonpath="+path)
}

// within bounds each wait for what takes seconds; a machine may be busy.
const within = "--timeout=5m"

var namespaces atomic.Int32

// namespace makes one that pods can be made in: its ServiceAccount is there.
func (k *kube) namespace(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("selftest-%d-%d", namespaces.Add(1), time.Now().Unix())
	k.run(t, "create", "namespace", name)
	k.run(t, "-n", name, "wait", "--for=create", within, "serviceaccount/default")
	return name
}

func (k *kube) apply(t *testing.T, namespace, manifest string) {
	t.Helper()
	command := k.command("kubectl", "-n", namespace, "apply", "-f", "-")
	command.Stdin = strings.NewReader(manifest)
	mustRun(t, command)
}

// succeeds waits for a pod's good end and returns its log.
func (k *kube) succeeds(t *testing.T, namespace, name string) string {
	t.Helper()
	command := k.command("kubectl", "-n", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", within, "pod/"+name)
	if text, err := command.CombinedOutput(); err != nil {
		t.Fatalf("pod %s: %s\n%s\n%s", name, text, k.run(t, "-n", namespace, "describe", "pod", name),
			must(k.command("kubectl", "-n", namespace, "logs", name, "--all-containers").CombinedOutput()))
	}
	return k.run(t, "-n", namespace, "logs", name)
}

func must(text []byte, _ error) []byte { return text }

// eventually asks until the answer is yes, for what no watch can tell.
func eventually(t *testing.T, what string, check func() (bool, string)) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var good bool
		if good, last = check(); good {
			return
		}
	}
	t.Fatalf("%s did not happen; last seen: %s", what, last)
}

// testImage is what testBuildKit makes: systemd and python on Debian.
const testImage = "selftest/systemd:1"

// pod is a manifest with one container; each field is a line of it. Without an image it runs testImage.
func pod(name string, fields ...string) string {
	if !strings.Contains(strings.Join(fields, "\n"), "image:") {
		fields = append(fields, fmt.Sprintf("image: 127.0.0.1:%d/%s", layout.RegistryPort, testImage))
	}
	var manifest bytes.Buffer
	fmt.Fprintf(&manifest, `
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: %s}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
`, name, name)
	for _, field := range fields {
		fmt.Fprintf(&manifest, "    %s\n", field)
	}
	return manifest.String()
}
