package demotest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/cluster"
	"imagechain.dev/sandbox/internal/demo"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/patience"
	"imagechain.dev/sandbox/internal/progress"
)

// usual is the number of the sandbox of these tests, unless SANDBOX names another one.
const usual = 89

const (
	checkout = "../.."
	// namespace is the tenant's, that the demo makes; builds is where its pods run.
	namespace = "takelage"
	builds    = "imagechain-builds"
)

// waits bounds each wait for something that comes by itself, and pause is the time between two looks.
var waits, pause = patience.Of(10 * time.Minute), patience.Of(500 * time.Millisecond)

// testCluster is where the demo runs.
type testCluster struct {
	demonstration demo.Demo
	// sandbox is nil on another cluster, where nothing can be killed.
	sandbox *cluster.Cluster
	// helm is held by who upgrades the chart: helm refuses a second one.
	helm sync.Mutex
}

// up uses the cluster of the environment, or starts a sandbox. One of its own is new, and ends with the test unless that
// has failed; one that SANDBOX names is somebody's, and stays.
func up(t *testing.T) *testCluster {
	t.Helper()
	if os.Getenv("PROGRAM") == "" {
		t.Fatal("PROGRAM is not set, the operator's program: `make test-demo` sets it")
	}
	printer := progress.New(os.Stderr)
	made := &testCluster{}
	if os.Getenv("KUBECONFIG") == "" || os.Getenv("REGISTRY") == "" {
		made.sandbox = useSandbox(t, printer)
	}
	made.demonstration = demo.Demo{Settings: demo.FromEnvironment(checkout, os.Getenv("PROGRAM")), Printer: printer}
	return made
}

func useSandbox(t *testing.T, printer *progress.Printer) *cluster.Cluster {
	t.Helper()
	number := usual
	chosen := os.Getenv("SANDBOX")
	if chosen != "" {
		var err error
		if number, err = strconv.Atoi(chosen); err != nil {
			t.Fatalf("SANDBOX is no number: %v", err)
		}
	}
	sandbox, err := layout.New(number)
	if err != nil {
		t.Fatal(err)
	}
	started := cluster.Cluster{Sandbox: sandbox, Checkout: checkout, Printer: printer}
	if chosen == "" {
		// What an earlier run left, failed or killed, has been through these steps: they would show nothing.
		if err := started.Down(false); err != nil {
			t.Fatal(err)
		}
	}
	startSandbox(t, number)
	if err := started.Use(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if chosen != "" {
			return
		}
		if t.Failed() {
			t.Logf("the sandbox is kept for a look: `make sandbox-shell SANDBOX=%[1]d`, `make sandbox-down SANDBOX=%[1]d`", number)
			return
		}
		if err := started.Down(false); err != nil {
			t.Error(err)
		}
	})
	return &started
}

// startSandbox starts a sandbox by its own program, which becomes the first process in it.
func startSandbox(t *testing.T, number int) {
	t.Helper()
	starting := exec.Command(filepath.Join(checkout, "sandbox", "sandbox"), "--number", strconv.Itoa(number), "up")
	starting.Stderr = os.Stderr
	if text, err := starting.Output(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// step is a part of a test that needs what those before it have left.
type step struct {
	name string
	test func(*testing.T, *testCluster)
}

// runAll runs steps in order, up to the first that fails.
func runAll(t *testing.T, steps []step) {
	t.Helper()
	cluster := up(t)
	for _, each := range steps {
		if !t.Run(each.name, func(t *testing.T) { cluster.timed(t, each) }) {
			return
		}
	}
}

// timed runs a step and says how long it took.
func (c *testCluster) timed(t *testing.T, each step) {
	started := time.Now()
	defer func() { c.demonstration.Printer.Say("%s took %s", each.name, time.Since(started).Round(time.Second)) }()
	each.test(t, c)
}

// together runs steps side by side, none of which needs what another has left.
func together(steps ...step) func(*testing.T, *testCluster) {
	return func(t *testing.T, c *testCluster) {
		// The group ends when the last of them has.
		t.Run("all", func(t *testing.T) {
			for _, each := range steps {
				t.Run(each.name, func(t *testing.T) {
					t.Parallel()
					c.timed(t, each)
				})
			}
		})
	}
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
	return run(t, made)
}

// run runs a program and returns all that it prints; a failure ends the test.
func run(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	text, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command.Args, " "), err, text)
	}
	return strings.TrimSpace(string(text))
}

func (c *testCluster) kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	return command(t, "", "kubectl", arguments...)
}

// apply gives manifests to the API server, with the addresses of this cluster in place of the words.
func (c *testCluster) apply(t *testing.T, manifests string) {
	t.Helper()
	applying := exec.Command("kubectl", "apply", "-f", "-")
	applying.Stdin = strings.NewReader(c.fill(manifests))
	run(t, applying)
}

func (c *testCluster) fill(text string) string {
	return strings.NewReplacer("REGISTRY", c.demonstration.Registry, "GIT_SERVER", c.demonstration.GitServer).Replace(text)
}

func (c *testCluster) read(t *testing.T, into any, arguments ...string) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.kubectl(t, append(arguments, "-o", "json")...)), into); err != nil {
		t.Fatal(err)
	}
}

func (c *testCluster) chain(t *testing.T, name string) demo.Chain {
	t.Helper()
	var found demo.Chain
	c.read(t, &found, "get", "imagechain", name, "-n", namespace)
	return found
}

func (c *testCluster) build(t *testing.T, name string) demo.Build {
	t.Helper()
	var found demo.Build
	c.read(t, &found, "get", "imagebuild", name, "-n", namespace)
	return found
}

// builds are the names of all builds of a chain.
func (c *testCluster) builds(t *testing.T, chain string) []string {
	t.Helper()
	return strings.Fields(c.kubectl(t, "get", "imagebuilds", "-n", namespace, "-l", "imagechain.dev/chain="+chain, "-o", "jsonpath={.items[*].metadata.name}"))
}

// await waits until a chain is as wanted, and returns it.
func (c *testCluster) await(t *testing.T, name, what string, wanted func(demo.Chain) bool) demo.Chain {
	t.Helper()
	return c.awaitWithin(t, waits, name, what, wanted)
}

// awaitWithin is await with another bound.
func (c *testCluster) awaitWithin(t *testing.T, within time.Duration, name, what string, wanted func(demo.Chain) bool) demo.Chain {
	t.Helper()
	var chain demo.Chain
	var complaint string
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	// A watch ends when the API server does, or when that has enough of it. A watch of a minute is enough: once, one of
	// ten showed nothing of what had happened since it began, and the next shows the state as it is.
	for ; ctx.Err() == nil; time.Sleep(pause) {
		var is bool
		if is, complaint = follow(ctx, name, &chain, wanted); is {
			return chain
		}
	}
	t.Fatalf("%s: %s: did not happen; last seen: %+v\n%s\n%s", name, what, chain.Status, complaint, c.everything(t))
	return chain
}

// follow watches a chain until it is as wanted, or until the watch ends: then the answer has what kubectl said.
func follow(ctx context.Context, name string, chain *demo.Chain, wanted func(demo.Chain) bool) (bool, string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watching := exec.CommandContext(ctx, "kubectl", "get", "imagechain", name, "-n", namespace, "--watch", "--request-timeout=1m", "-o", "json")
	var complaint strings.Builder
	watching.Stderr = &complaint
	out, err := watching.StdoutPipe()
	if err == nil {
		err = watching.Start()
	}
	if err != nil {
		return false, err.Error()
	}
	seen := json.NewDecoder(out)
	for {
		var next demo.Chain
		if err = seen.Decode(&next); err != nil {
			break
		}
		if *chain = next; wanted(next) {
			break
		}
	}
	cancel()
	_ = watching.Wait()
	return err == nil, complaint.String()
}

// awaitReason waits until a link has a reason, and returns what its status says of it.
func (c *testCluster) awaitReason(t *testing.T, name, link, reason string) demo.LinkStatus {
	t.Helper()
	chain := c.await(t, name, link+" says "+reason, func(chain demo.Chain) bool { return chain.Link(link).Reason == reason })
	return chain.Link(link)
}

// awaitDone waits until all of a chain is published, for the object as it is now.
func (c *testCluster) awaitDone(t *testing.T, name string) demo.Chain {
	t.Helper()
	return c.await(t, name, "all is published", demo.Chain.Done)
}

// request asks for everything once more.
func (c *testCluster) request(t *testing.T, name, token string) {
	t.Helper()
	c.kubectl(t, "annotate", "imagechain", name, "-n", namespace, "--overwrite", "imagechain.dev/requestedAt="+token)
}

// awaitRequest waits until a request is answered and all of it is published.
func (c *testCluster) awaitRequest(t *testing.T, name, token string) demo.Chain {
	t.Helper()
	return c.await(t, name, "the request "+token+" is answered", func(chain demo.Chain) bool {
		return chain.Done() && chain.Status.LastHandledRequest == token
	})
}

// eventually asks until the answer is yes. Where it does not come, the test ends with the last answer.
func (c *testCluster) eventually(t *testing.T, what string, check func() (bool, string)) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(waits); time.Now().Before(deadline); time.Sleep(pause) {
		var good bool
		if good, last = check(); good {
			return
		}
	}
	t.Fatalf("%s did not happen; last seen: %s\n%s", what, last, c.everything(t))
}

// everything is what somebody would look at who wants to know why nothing goes on.
func (c *testCluster) everything(t *testing.T) string {
	t.Helper()
	return c.kubectl(t, "get", "imagechains,imagebuilds,pods", "-A", "-o", "wide")
}

// digest is what the registry says of the tag `latest` of a repository.
func digest(t *testing.T, repository string) string {
	t.Helper()
	return command(t, "", "crane", "digest", "--insecure", repository+":latest")
}

// publishedIsTested compares what the registry serves for each link that publishes with what its tests were run on.
func (c *testCluster) publishedIsTested(t *testing.T, chain demo.Chain) {
	t.Helper()
	for _, each := range chain.Spec.Links {
		if each.Publish == nil {
			continue
		}
		link := chain.Link(each.Name)
		if link.Published == nil {
			t.Errorf("%s is not published", each.Name)
			continue
		}
		made := c.build(t, link.Published.Build)
		if demo.Find(made.Status.Conditions, "Verified").Status != "True" || made.Status.Artifact == nil {
			t.Errorf("%s: what is published is not verified: %+v", each.Name, made.Status)
			continue
		}
		if found := digest(t, link.Published.Repository); found != made.Status.Artifact.Digest {
			t.Errorf("%s: the tag leads to %s, and %s was tested", each.Name, found, made.Status.Artifact.Digest)
		}
		if found, tested := contentDigest(t, link.Published.Repository), made.Status.Artifact.Content(); found != tested {
			t.Errorf("%s: the published content is %q, the tested one %q", each.Name, found, tested)
		}
	}
}

// contentDigest is what the product behind the tag `latest` is known by: of an image its configuration, of a box its one
// file.
func contentDigest(t *testing.T, repository string) string {
	t.Helper()
	type part struct{ Digest string }
	var manifest struct {
		ArtifactType string
		Config       part
		Layers       []part
	}
	text := command(t, "", "crane", "manifest", "--insecure", repository+":latest")
	if err := json.Unmarshal([]byte(text), &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.ArtifactType != "application/vnd.imagechain.box.v1" {
		return manifest.Config.Digest
	}
	if len(manifest.Layers) != 1 {
		t.Fatalf("a box of other than one file: %s", text)
	}
	return manifest.Layers[0].Digest
}

// repository is a clone of one on the git server.
type repository struct{ folder string }

// clone takes what is there.
func (c *testCluster) clone(t *testing.T, name string) repository {
	t.Helper()
	folder := filepath.Join(t.TempDir(), name)
	command(t, "", "git", "clone", "--quiet", c.demonstration.GitServer+"/"+name+".git", folder)
	return repository{folder}
}

// newRepository makes one; its first push makes it on the server.
func (c *testCluster) newRepository(t *testing.T, name string) repository {
	t.Helper()
	folder := filepath.Join(t.TempDir(), name)
	command(t, "", "git", "init", "--quiet", "--initial-branch=main", folder)
	command(t, folder, "git", "remote", "add", "origin", c.demonstration.GitServer+"/"+name+".git")
	return repository{folder}
}

// write puts files into the clone.
func (r repository) write(t *testing.T, files map[string]string) {
	t.Helper()
	for path, content := range files {
		path = filepath.Join(r.folder, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// replace changes a text that a file holds once.
func (r repository) replace(t *testing.T, path, old, replaced string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.folder, path))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s does not hold %q once", path, old)
	}
	r.write(t, map[string]string{path: strings.Replace(string(text), old, replaced, 1)})
}

// push commits all and brings it to a branch of the server, whatever an earlier run has left there.
func (r repository) push(t *testing.T, branch string) {
	t.Helper()
	command(t, r.folder, "git", "add", "--all")
	command(t, r.folder, "git", "-c", "user.name=test", "-c", "user.email=test@imagechain.dev", "commit", "--quiet", "--message=A test")
	command(t, r.folder, "git", "push", "--quiet", "--force", "origin", "HEAD:"+branch)
}
