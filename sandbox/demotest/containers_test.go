package demotest

import (
	"os"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/demo"
)

// containers is a chain whose links are about the containers that packer and tests start.
const containers = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: containers, namespace: takelage}
spec:
  profiles: [small]
  links:
  - name: groups
    source: {inline: {files: {t.pkr.hcl: GROUPS}}}
    from: {chain: {name: takelage, link: systemd}}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    verify: [{command: {arguments: ["true"]}}]
  - name: ended
    source: {inline: {files: {t.pkr.hcl: ENDED}}}
    from: {image: "REGISTRY/library/debian:13-slim"}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
  - name: other
    source: {inline: {files: {t.pkr.hcl: OTHER}}}
    from: {image: "REGISTRY/library/debian:13-slim"}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
  - name: plain
    source: {inline: {files: {t.pkr.hcl: PLAIN, tests/test_run.py: TESTS}}}
    from: {image: "REGISTRY/library/debian:13-slim"}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    verify:
    - pytest: {directory: tests}
    - command: {arguments: [sh, -c, REACH], environment: {IMAGE: "$(image.local)"}}
`

const (
	// boots waits until systemd is up, with its groups: what is written for cgroup v1 does no more. The script is not in
	// /tmp, which systemd wipes while it boots.
	boots = `provisioner "shell" {
    remote_folder = "/root"
    inline        = ["until [ -S /run/systemd/private ]; do sleep 0.2; done", "systemctl is-system-running --wait || systemctl is-active multi-user.target"]
  }`
	// stands is a test of an image whose process needs what it has below /run.
	stands = `def test_the_folder_is_there(host):
    assert host.file("/run/app").is_directory
    assert host.check_output("cat /proc/1/comm") == "sleep"
`
	reach = `docker run --detach --name gone "$IMAGE" sh -c 'echo bye; exit 4' && docker wait gone && docker exec gone true`
)

// testContainers starts containers as older templates do, such that end, of another base, and with something in /run.
func testContainers(t *testing.T, c *testCluster) {
	c.useProfile(t, "small", c.demonstration.Registry, "")
	groups := `"--privileged", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:ro", "{{ .Image }}", "/lib/systemd/systemd"`
	ended := `"{{ .Image }}", "/bin/sh", "-c", "echo no way; exit 3"`
	other := strings.NewReplacer("var.base", quoted(c.fill("REGISTRY/takelage/systemd:latest")), "pull        = false", "pull        = true")
	plain := strings.Replace(template("mkdir /run/app"), `sleep\", \"infinity`, `sh\", \"-c\", \"cd /run/app && exec sleep infinity`, 1)
	c.apply(t, strings.NewReplacer(
		"GROUPS", quoted(templateOf(groups, boots)),
		"ENDED", quoted(templateOf(ended, `provisioner "shell" {
    inline = ["true"]
  }`)),
		"OTHER", quoted(other.Replace(template("true"))),
		"PLAIN", quoted(plain), "TESTS", quoted(stands), "REACH", quoted(reach),
	).Replace(containers))

	c.says(t, c.awaitReason(t, "containers", "ended", "BuildFailed"), "ended with exit code 3", "its last lines: no way")
	c.says(t, c.awaitReason(t, "containers", "other", "ImageMismatch"), "takelage/systemd:latest", "library/debian@sha256:", "$(parent.reference)", "from.layers")
	c.says(t, c.awaitReason(t, "containers", "plain", "VerificationFailed"), "the container gone of", "ended with exit code 4", "its last lines: bye", "2 command")
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		c.says(t, c.awaitReason(t, "containers", "groups", "BuildFailed"), "works on cgroup v1 nodes only")
		return
	}
	chain := c.await(t, "containers", "groups is verified", func(chain demo.Chain) bool { return chain.Link("groups").Verified != nil })
	ready := demo.Find(c.build(t, chain.Link("groups").Build).Status.Conditions, "Ready")
	if !strings.Contains(ready.Message, "no container of it ran") {
		t.Errorf("nobody says that the test did not run the image: %+v", ready)
	}
}
