// Package demotest runs the demo on real pods, and then what goes wrong in a chain. Its parts stand on the
// images that the demo has made, so each builds only what it is about. Run it as root: `make test-demo`, and,
// for what takes longer, `make test-demo-long`.
package demotest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/demo"
)

// TestDemo is what CI runs: that it works, and what people get wrong.
func TestDemo(t *testing.T) {
	runAll(t, []step{
		{"the demo", testDemo},
		{"the demo again", testAgain},
		{"chains that stand on it", together(
			step{"logs", testLogs},
			step{"mistakes in files", testMistakes},
			step{"missing things", testMissing},
			step{"containers", testContainers},
			step{"layouts of repositories", testLayouts},
			step{"credentials", testCredentials},
			step{"boxes", testBoxes},
		)},
		{"a queue", testQueue},
		{"each attempt had one pod", testOnePodPerAttempt},
	})
}

// TestDemoLong is what CI has no time for: what breaks, and changes of the demo's own chain, whose links take
// minutes each.
func TestDemoLong(t *testing.T) {
	runAll(t, []step{
		{"the demo", testDemo},
		{"faults", testFaults},
		{"deletions", testDeletions},
		{"a changed playbook", testChangedPlaybook},
		{"a failing task", testFailingTask},
		{"a failing test", testFailingTest},
		{"everything once more", testEverything},
		{"boxes", testBoxes},
		{"faults of boxes", testFaultsOfBoxes},
		{"a changed role", testChangedRole},
		{"each attempt had one pod", testOnePodPerAttempt},
	})
}

func testDemo(t *testing.T, c *testCluster) {
	text := c.demo(t)
	if !strings.Contains(text, "serves «Built as a chain»") {
		t.Error("the published image does not serve the page")
	}
	chain := c.chain(t, "takelage")
	c.publishedIsTested(t, chain)
	for _, link := range chain.Spec.Links {
		published := chain.Link(link.Name).Published
		if !strings.Contains(text, published.Digest[7:19]) {
			t.Errorf("the digest of %s is not shown", link.Name)
		}
		for _, step := range c.build(t, published.Build).Status.Verification {
			if step.Tests < 3 || step.Failures != 0 {
				t.Errorf("%s: %d tests ran, and %d failed", link.Name, step.Tests, step.Failures)
			}
		}
	}
	if replicas := c.kubectl(t, "get", "deployment", "imagechain", "-n", "imagechain-system", "-o", "jsonpath={.status.readyReplicas}"); replicas != "2" {
		t.Errorf("%s replicas are ready", replicas)
	}
}

// testAgain finds everything up to date, though all objects are applied again.
func testAgain(t *testing.T, c *testCluster) {
	before := c.builds(t, "takelage")
	c.demo(t)
	if after := c.builds(t, "takelage"); !slices.Equal(after, before) {
		t.Errorf("it made builds: %v, and before %v", after, before)
	}
}

const site = "ansible/group_vars/all/site.yml"

// testChangedPlaybook has those links built again that the change concerns, by a push alone.
func testChangedPlaybook(t *testing.T, c *testCluster) {
	before := c.chain(t, "takelage")
	clone := c.clone(t, "takelage")
	clone.replace(t, site, "web_title: Built as a chain", "web_title: Built anew")
	clone.push(t, "main")
	c.await(t, "takelage", "the push is seen", func(chain demo.Chain) bool { return !chain.Done() })
	after := c.awaitDone(t, "takelage")
	c.publishedIsTested(t, after)
	if after.Link("systemd").Published.Build != before.Link("systemd").Published.Build {
		t.Error("systemd was built again, and nothing of it was changed")
	}
	for link, cause := range map[string]string{"web": "SourceChanged", "dev": "ParentChanged"} {
		if after.Link(link).Published.Digest == before.Link(link).Published.Digest {
			t.Errorf("%s is still published as it was", link)
		}
		c.hasCause(t, after.Link(link).Published.Build, cause)
	}
	if text := c.demo(t); !strings.Contains(text, "«Built anew»") {
		t.Error("the page is still the earlier one")
	}
}

// testChangedRole changes a role that the image `web` and the box of the same playbook use. Both are built again, with what
// stands on them, and nothing else of their chains.
func testChangedRole(t *testing.T, c *testCluster) {
	const file, old, changed = "ansible/roles/web/templates/index.html.j2", "<p>{{ web_links", "<p>by a changed role: {{ web_links"
	chains := []string{"takelage", "boxes"}
	c.useProfile(t, "small", c.demonstration.Registry, "")
	c.useMachines(t)
	known, before := map[string][]string{}, map[string]string{}
	for _, chain := range chains {
		known[chain], before[chain] = c.builds(t, chain), c.chain(t, chain).Link("web").Published.Build
	}
	clone := c.clone(t, "takelage")
	clone.replace(t, file, old, changed)
	clone.push(t, "main")
	var made []string
	for _, chain := range chains {
		after := c.await(t, chain, "another web is published", func(seen demo.Chain) bool {
			return seen.Done() && seen.Link("web").Published.Build != before[chain]
		})
		c.publishedIsTested(t, after)
		for _, name := range c.builds(t, chain) {
			if !slices.Contains(known[chain], name) {
				made = append(made, c.cause(t, name))
			}
		}
	}
	slices.Sort(made)
	if wanted := []string{"boxes/web: SourceChanged", "takelage/dev: SourceChanged, ParentChanged", "takelage/web: SourceChanged"}; !slices.Equal(made, wanted) {
		t.Errorf("these were built: %v, not %v", made, wanted)
	}
	// It installs the operator with its own profile alone.
	c.demo(t)
	c.useMachines(t)
	if page := c.kubectl(t, "get", "--raw", "/api/v1/namespaces/takelage-demo/pods/web:80/proxy/"); !strings.Contains(page, "by a changed role") {
		t.Errorf("the page of the image is the earlier one:\n%s", page)
	}
	c.apply(t, bootedChain("shown", "web", `ssh -F "$IMAGECHAIN_SSH_CONFIG" box grep -F '"by a changed role"' /srv/web/index.html`))
	c.publishedIsTested(t, c.awaitDone(t, "shown"))
}

// cause is whose a build is, and why it was made.
func (c *testCluster) cause(t *testing.T, name string) string {
	t.Helper()
	spec := c.build(t, name).Spec
	var causes []string
	for _, each := range spec.Causes {
		causes = append(causes, each.Type)
	}
	return fmt.Sprintf("%s/%s: %s", spec.ChainRef.Name, spec.ChainRef.Link, strings.Join(causes, ", "))
}

func (c *testCluster) hasCause(t *testing.T, name, cause string) {
	t.Helper()
	causes := c.build(t, name).Spec.Causes
	for _, each := range causes {
		if each.Type == cause {
			return
		}
	}
	t.Errorf("%s was built because of %v, not of %s", name, causes, cause)
}

// failing pushes a mistake in the link dev, wants what the status says of it, and takes it back: the earlier
// image is still there, so no pod is needed for that.
func failing(t *testing.T, c *testCluster, path, old, mistake, reason string, says ...string) {
	t.Helper()
	before, clone := c.chain(t, "takelage").Link("dev").Published, c.clone(t, "takelage")
	clone.replace(t, path, old, mistake)
	clone.push(t, "main")
	link := c.awaitReason(t, "takelage", "dev", reason)
	c.says(t, link, append(says, "kubectl logs")...)
	if ready := demo.Find(c.chain(t, "takelage").Status.Conditions, "Ready"); ready.Status != "True" {
		t.Errorf("the chain is not Ready, though the earlier images are published: %+v", ready)
	}
	if found := digest(t, before.Repository); found != before.Digest {
		t.Errorf("the published tag was moved to %s", found)
	}
	made := c.builds(t, "takelage")
	clone.replace(t, path, mistake, old)
	clone.push(t, "main")
	if after := c.awaitDone(t, "takelage").Link("dev").Published; after.Digest != before.Digest || !slices.Equal(c.builds(t, "takelage"), made) {
		t.Errorf("with the mistake taken back %s is published, not %s; the builds are %v, and before %v", after.Digest, before.Digest, c.builds(t, "takelage"), made)
	}
}

func testFailingTask(t *testing.T, c *testCluster) {
	failing(t, c, "ansible/roles/tools/tasks/main.yml", "- name: Make the user",
		"- name: Ask the moon\n  ansible.builtin.command: cat /nonexistent/moon\n\n- name: Make the user",
		"TaskFailed", "Ask the moon", "/nonexistent/moon")
}

func testFailingTest(t *testing.T, c *testCluster) {
	failing(t, c, "ansible/molecule/dev/tests/test_dev.py", `.shell == "/bin/bash"`, `.shell == "/bin/moon"`,
		"TestsFailed", "test_user", "/bin/moon")
}

// testEverything has every link built once, and then nothing more.
func testEverything(t *testing.T, c *testCluster) {
	before, known := c.chain(t, "takelage"), c.builds(t, "takelage")
	c.request(t, "takelage", "everything")
	after := c.awaitRequest(t, "takelage", "everything")
	c.publishedIsTested(t, after)
	for _, link := range after.Spec.Links {
		if after.Link(link.Name).Published.Build == before.Link(link.Name).Published.Build {
			t.Errorf("%s was not built again", link.Name)
		}
	}
	c.hasCause(t, after.Link("systemd").Published.Build, "Requested")
	// Older ones may be beyond the history by now.
	made := slices.DeleteFunc(c.builds(t, "takelage"), func(name string) bool { return slices.Contains(known, name) })
	if len(made) != len(after.Spec.Links) {
		t.Errorf("these builds were made for three links: %v", made)
	}
}
