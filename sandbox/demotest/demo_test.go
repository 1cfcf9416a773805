// Package demotest runs the demo on real pods, and then what goes wrong in a chain. Its parts share the
// images that the demo has made, so each builds only what it is about. Run it with `make test-demo`, as root.
package demotest

import (
	"strings"
	"testing"
	"time"
)

// TestDemo goes through the life of a chain. The steps are in order: each begins with what the one before
// has left.
func TestDemo(t *testing.T) {
	cluster := up(t)
	for _, step := range []struct {
		name string
		test func(*testing.T, *testCluster)
	}{
		{"the demo", testDemo},
		{"again", testAgain},
		{"a changed playbook", testChangedPlaybook},
		{"a failing task", testFailingTask},
		{"a failing test", testFailingTest},
		{"mistakes", testMistakes},
		{"everything once more", testRequest},
	} {
		started := time.Now()
		ok := t.Run(step.name, func(t *testing.T) { step.test(t, cluster) })
		t.Logf("%s: %s", step.name, time.Since(started).Round(time.Second))
		if !ok {
			return
		}
	}
}

func testDemo(t *testing.T, c *testCluster) {
	text := c.demo(t)
	if !strings.Contains(text, "serves «Built as a chain»") {
		t.Error("the published image does not serve the page")
	}
	for _, link := range []string{"systemd", "web", "dev"} {
		c.publishedIsTested(t, link)
		if !strings.Contains(text, c.chain(t).Link(link).Published.Digest[7:19]) {
			t.Errorf("the digest of %s is not shown", link)
		}
	}
	for _, link := range []string{"web", "dev"} {
		if build := c.publishedBuild(t, link); build.Status.Verification[0].Tests < 5 {
			t.Errorf("%s ran %d tests", link, build.Status.Verification[0].Tests)
		}
	}
	if replicas := c.kubectl(t, "get", "deployment", "imagechain", "-n", "imagechain-system", "-o", "jsonpath={.status.readyReplicas}"); replicas != "2" {
		t.Errorf("%s replicas are ready", replicas)
	}
}

func testAgain(t *testing.T, c *testCluster) {
	before := c.builds(t)
	c.demo(t)
	if after := c.builds(t); len(after) != len(before) {
		t.Errorf("it made builds: %d, and before %d", len(after), len(before))
	}
}

func testChangedPlaybook(t *testing.T, c *testCluster) {
	before := c.chain(t)
	c.push(t, "ansible/group_vars/all/site.yml", "web_title: Built as a chain", "web_title: Built anew")
	c.awaitCondition(t, "UpToDate=false")
	c.awaitCondition(t, "UpToDate")
	after := c.chain(t)
	if after.Link("systemd").Published.Build != before.Link("systemd").Published.Build {
		t.Error("systemd was built again, and nothing of it was changed")
	}
	for link, cause := range map[string]string{"web": "SourceChanged", "dev": "ParentChanged"} {
		c.publishedIsTested(t, link)
		if after.Link(link).Published.Digest == before.Link(link).Published.Digest {
			t.Errorf("%s is still published as it was", link)
		}
		if causes := c.publishedBuild(t, link).Spec.Causes; len(causes) == 0 || !contains(causes, cause) {
			t.Errorf("%s was built because of %v, not of %s", link, causes, cause)
		}
	}
	if text := c.demo(t); !strings.Contains(text, "«Built anew»") {
		t.Error("the page is still the earlier one")
	}
}

func contains(causes []struct{ Type string }, kind string) bool {
	for _, each := range causes {
		if each.Type == kind {
			return true
		}
	}
	return false
}

// failing pushes a mistake, wants what the status says of it, and takes it back: the earlier image is still
// there, so no pod is needed for that.
func failing(t *testing.T, c *testCluster, path, old, mistake, reason string, says ...string) {
	t.Helper()
	before := c.chain(t).Link("dev").Published
	c.push(t, path, old, mistake)
	c.awaitCondition(t, "Degraded")
	chain := c.chain(t)
	if ready := c.condition(chain, "Ready"); ready.Status != "True" {
		t.Errorf("the chain is not Ready, though the earlier images are published: %+v", ready)
	}
	failed := chain.Link("dev")
	build := c.build(t, failed.Build)
	if build.Status.Failure == nil || build.Status.Failure.Reason != reason {
		t.Fatalf("dev: %s: %s; its build: %+v", failed.Reason, failed.Message, build.Status.Failure)
	}
	told := build.Status.Failure.Message + " " + build.Status.Failure.Task
	t.Logf("%s: %s [%s]", build.Status.Failure.Reason, build.Status.Failure.Message, build.Status.Failure.Task)
	for _, want := range append(says, "kubectl logs") {
		if !strings.Contains(told, want) {
			t.Errorf("the status does not say %q", want)
		}
	}
	if digest := c.digest(t, "dev"); digest != before.Digest {
		t.Errorf("the published tag was moved to %s", digest)
	}
	builds := len(c.builds(t))
	c.push(t, path, mistake, old)
	c.awaitCondition(t, "UpToDate")
	if after := c.chain(t).Link("dev").Published; after.Digest != before.Digest || len(c.builds(t)) != builds {
		t.Errorf("with the mistake taken back %s is published, not %s; %d builds, before %d", after.Digest, before.Digest, len(c.builds(t)), builds)
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

// testRequest has every link built once, and then nothing more.
func testRequest(t *testing.T, c *testCluster) {
	before := c.chain(t)
	c.kubectl(t, "annotate", "imagechain", "takelage", "-n", "takelage", "imagechain.dev/requestedAt=test")
	c.awaitCondition(t, "UpToDate=false")
	c.awaitCondition(t, "UpToDate")
	after := c.chain(t)
	for _, link := range []string{"systemd", "web", "dev"} {
		if after.Link(link).Published.Build == before.Link(link).Published.Build {
			t.Errorf("%s was not built again", link)
		}
		if causes := c.publishedBuild(t, link).Spec.Causes; !contains(causes, "Requested") && link == "systemd" {
			t.Errorf("systemd was built because of %v", causes)
		}
	}
}
