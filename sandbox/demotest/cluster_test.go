package demotest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/cluster"
	"imagechain.dev/sandbox/internal/demo"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/progress"
)

// number is the sandbox of these tests, unless SANDBOX names another or KUBECONFIG and REGISTRY a cluster.
const number = 89

const checkout = "../.."

// cluster is where the demo runs, with a clone of its repository.
type testCluster struct {
	demonstration demo.Demo
	clone         string
}

// up starts a sandbox, and ends it with the test unless that has failed.
func up(t *testing.T) *testCluster {
	t.Helper()
	if os.Getenv("KUBECONFIG") == "" || os.Getenv("REGISTRY") == "" {
		startSandbox(t)
	}
	settings := demo.FromEnvironment(checkout, os.Getenv("PROGRAM"))
	return &testCluster{demonstration: demo.Demo{Settings: settings, Printer: progress.New(os.Stderr)}}
}

func startSandbox(t *testing.T) {
	t.Helper()
	sandbox, err := layout.New(number)
	if err != nil {
		t.Fatal(err)
	}
	started := cluster.Cluster{Sandbox: sandbox, Checkout: checkout, Printer: progress.New(os.Stderr)}
	if err := started.Up(); err != nil {
		t.Fatal(err)
	}
	if err := started.Use(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the sandbox is kept for a look: `make sandbox-shell SANDBOX=%[1]d`, `make sandbox-down SANDBOX=%[1]d`", number)
			return
		}
		if err := started.Down(false); err != nil {
			t.Error(err)
		}
	})
}

// demo runs it and returns what it prints at its end.
func (c *testCluster) demo(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	shown := c.demonstration
	shown.Out = &out
	if err := shown.Run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Logf("%s", out.String())
	return out.String()
}

func command(t *testing.T, folder, name string, arguments ...string) string {
	t.Helper()
	made := exec.Command(name, arguments...)
	made.Dir = folder
	text, err := made.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, text)
	}
	return strings.TrimSpace(string(text))
}

func (c *testCluster) kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	return command(t, "", "kubectl", arguments...)
}

func (c *testCluster) read(t *testing.T, into any, arguments ...string) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.kubectl(t, append(arguments, "-n", "takelage", "-o", "json")...)), into); err != nil {
		t.Fatal(err)
	}
}

func (c *testCluster) chain(t *testing.T) demo.Chain {
	t.Helper()
	var found demo.Chain
	c.read(t, &found, "get", "imagechain", "takelage")
	return found
}

func (c *testCluster) condition(chain demo.Chain, kind string) demo.Condition {
	return demo.Find(chain.Status.Conditions, kind)
}

func (c *testCluster) build(t *testing.T, name string) demo.Build {
	t.Helper()
	var found demo.Build
	c.read(t, &found, "get", "imagebuild", name)
	return found
}

// builds are the names of all builds of the chain.
func (c *testCluster) builds(t *testing.T) []string {
	t.Helper()
	return strings.Fields(c.kubectl(t, "get", "imagebuilds", "-n", "takelage", "-o", "jsonpath={.items[*].metadata.name}"))
}

func (c *testCluster) publishedBuild(t *testing.T, link string) demo.Build {
	t.Helper()
	published := c.chain(t).Link(link).Published
	if published == nil {
		t.Fatalf("%s is not published", link)
	}
	return c.build(t, published.Build)
}

// digest is what the registry says of the tag `latest` of a link.
func (c *testCluster) digest(t *testing.T, link string) string {
	t.Helper()
	return command(t, "", "crane", "digest", "--insecure", c.demonstration.Registry+"/takelage/"+link+":latest")
}

// publishedIsTested compares what the registry serves with what the tests of a link were run on.
func (c *testCluster) publishedIsTested(t *testing.T, link string) {
	t.Helper()
	build := c.publishedBuild(t, link)
	if digest := c.digest(t, link); digest != build.Status.Artifact.Digest {
		t.Errorf("%s: the tag leads to %s, and %s was tested", link, digest, build.Status.Artifact.Digest)
	}
	var manifest struct{ Config struct{ Digest string } }
	text := command(t, "", "crane", "manifest", "--insecure", c.demonstration.Registry+"/takelage/"+link+":latest")
	if err := json.Unmarshal([]byte(text), &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Config.Digest == "" || manifest.Config.Digest != build.Status.Artifact.ImageID {
		t.Errorf("%s: the published configuration is %q, the tested image %q", link, manifest.Config.Digest, build.Status.Artifact.ImageID)
	}
}

// awaitCondition waits until the chain has a condition, or lacks it: Type, Type=false.
func (c *testCluster) awaitCondition(t *testing.T, condition string) {
	t.Helper()
	waiting := exec.Command("kubectl", "wait", "imagechain/takelage", "-n", "takelage", "--for=condition="+condition, "--timeout=15m")
	if text, err := waiting.CombinedOutput(); err != nil {
		t.Fatalf("%s did not come: %s\n%s", condition, text, c.kubectl(t, "get", "imagechains,imagebuilds,pods", "-A", "-o", "wide"))
	}
}

// push changes a file of the example in its repository.
func (c *testCluster) push(t *testing.T, path, old, replaced string) {
	t.Helper()
	if c.clone == "" {
		c.clone = filepath.Join(t.TempDir(), "takelage")
	}
	// A subtest's folder goes with it.
	if _, err := os.Stat(c.clone); err != nil {
		c.clone = filepath.Join(t.TempDir(), "takelage")
		command(t, "", "git", "clone", "--quiet", c.demonstration.Repository(), c.clone)
	}
	file := filepath.Join(c.clone, path)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s does not hold %q once", path, old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, replaced, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, c.clone, "git", "-c", "user.name=test", "-c", "user.email=test@imagechain.dev", "commit", "--quiet", "--all", "--message=A test")
	command(t, c.clone, "git", "push", "--quiet", "origin", "main")
}
