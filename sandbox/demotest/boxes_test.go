package demotest

import (
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/demo"
)

// boxes is a chain of both kinds: an image that holds a kernel, the box made of it, which boots for its tests, and the
// same disk in another format.
const boxes = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: boxes, namespace: takelage}
spec:
  profiles: [small, machines]
  source: {inline: {files: {t.pkr.hcl: TEMPLATE, web.pkr.hcl: WEB, tests/test_box.py: TESTS, web/test_web.py: WEBTESTS}}}
  links:
  - name: image
    paths: [t.pkr.hcl]
    from: {chain: {name: takelage, link: systemd}}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
  - name: box
    profile: machines
    from: {link: image}
    build: {box: {}}
    verify:
    - pytest: {directory: tests}
    - command: {arguments: [sh, -c, REBOOT], directory: tests}
    publish: {box: {repository: REGISTRY/small/box, tags: ["1.0", latest]}}
    timeouts: {verify: 1h}
  - name: web
    profile: machines
    paths: [web.pkr.hcl]
    from: {link: box}
    build: {packer: {template: web.pkr.hcl, variables: {disk: "$(parent.disk)", checksum: "$(parent.checksum)"}}}
    verify: [{pytest: {directory: web}}]
    publish: {box: {repository: REGISTRY/small/web-box, tags: [latest]}}
    timeouts: {verify: 1h}
  - name: disk
    profile: machines
    paths: [tests]
    from: {link: box}
    build: {box: {format: Raw}}
`

const (
	// insecureKey is the public half of the key that Vagrant publishes (keys/vagrant.pub of its source).
	insecureKey = "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key"
	// machine makes of an image one that a machine can boot, with the user whom Vagrant expects.
	// The script is not in /tmp, which systemd wipes while it boots.
	machine = `  provisioner "shell" {
    remote_folder = "/root"
    inline = [
      "until [ -S /run/systemd/private ]; do sleep 0.2; done",
      "apt-get update -q",
      "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends linux-image-cloud-amd64 openssh-server sudo",
      "useradd --create-home --shell /bin/bash vagrant",
      "echo vagrant:vagrant | chpasswd",
      "echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/vagrant",
      "install -d -m 700 -o vagrant -g vagrant /home/vagrant/.ssh",
      "echo '` + insecureKey + `' >/home/vagrant/.ssh/authorized_keys",
      "chown vagrant: /home/vagrant/.ssh/authorized_keys",
      "printf '[Match]\\nType=ether\\n[Network]\\nDHCP=yes\\n' >/etc/systemd/network/20-wired.network",
      "systemctl enable systemd-networkd ssh",
    ]
  }`
	// web makes a box of a box, with packer's own builder of machines.
	web = `variable "disk" { type = string }
variable "checksum" { type = string }
source "qemu" "web" {
  disk_image       = true
  iso_url          = var.disk
  iso_checksum     = var.checksum
  disk_size        = "2G"
  memory           = 1024
  headless         = true
  ssh_username     = "vagrant"
  ssh_password     = "vagrant"
  ssh_timeout      = "20m"
  shutdown_command = "sudo systemctl poweroff"
}
build {
  sources = ["source.qemu.web"]
  provisioner "shell" {
    inline = ["echo 'made by packer' | sudo tee /srv/web", "sync"]
  }
  post-processor "vagrant" {
    output = "web.box"
  }
}
`
	testsOfWeb = `def test_what_packer_wrote_is_there(host):
    assert host.file("/srv/web").content_string == "made by packer\n"
`
	testsOfBox = `def test_it_is_a_machine(host):
    assert host.check_output("systemd-detect-virt --vm") in ("qemu", "kvm")
    assert host.check_output("cat /proc/1/comm") == "systemd"


def test_the_user_may_do_all(host):
    assert host.check_output("sudo id -u") == "0"
`
	// reboot has a test restart the machine that it is about.
	reboot = `set -e
before=$$(ssh -F "$IMAGECHAIN_SSH_CONFIG" box cat /proc/sys/kernel/random/boot_id)
ssh -F "$IMAGECHAIN_SSH_CONFIG" box sudo systemctl reboot || true
until after=$$(ssh -F "$IMAGECHAIN_SSH_CONFIG" box cat /proc/sys/kernel/random/boot_id) && [ "$after" != "$before" ]; do sleep 1; done`
)

// testBoxes makes a box of an image, boots it for its tests, publishes it, and writes the same disk in another format.
func testBoxes(t *testing.T, c *testCluster) {
	c.useProfile(t, "small", c.demonstration.Registry, "")
	c.useProfileOf(t, "machines", c.demonstration.Registry, "", "cpu: 1500m, memory: 2Gi, storage: 8Gi", "engine: None", "hypervisor: Qemu")
	template := templateOf(`"--privileged", "{{ .Image }}", "/lib/systemd/systemd"`, machine)
	c.apply(t, strings.NewReplacer("TEMPLATE", quoted(template), "WEBTESTS", quoted(testsOfWeb), "WEB", quoted(web), "TESTS", quoted(testsOfBox), "REBOOT", quoted(reboot), "REGISTRY", c.demonstration.Registry).Replace(boxes))
	// Each wait has its own time: a machine that is emulated takes minutes to boot.
	for _, link := range []string{"image", "box", "disk", "web"} {
		c.await(t, "boxes", link+" is verified", func(chain demo.Chain) bool { return chain.Link(link).State == "Ready" })
	}
	box := c.build(t, c.awaitDone(t, "boxes").Link("box").Published.Build).Status
	if box.Artifact.Kind != "Box" || box.Artifact.ImageID != "" {
		t.Errorf("the artifact is no box: %+v", box.Artifact)
	}
	for _, step := range box.Verification {
		if !step.Passed {
			t.Errorf("a step did not pass: %+v", step)
		}
	}
	c.fetches(t, box.Artifact.ContentDigest)
}

// fetch is a pod of a user who has Vagrant, as Debian packages it.
const fetch = `
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: takelage}
spec:
  restartPolicy: Never
  securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: vagrant
    image: BUILDER
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    env: [{name: HOME, value: /tmp}]
    command: [vagrant, box, add, --name, demo/box, --provider, libvirt, --checksum-type, sha256, --checksum, CHECKSUM, URL]
`

// fetches lets Vagrant add the published box: by its checksum, and by another one, which it refuses.
func (c *testCluster) fetches(t *testing.T, digest string) {
	t.Helper()
	_, checksum, _ := strings.Cut(digest, ":")
	builder := strings.TrimSpace(c.kubectl(t, "get", "buildprofile", "machines", "-o", "jsonpath={.spec.images.builder}"))
	url := "http://" + c.demonstration.Registry + "/v2/small/box/blobs/" + digest
	for name, test := range map[string]struct{ checksum, phase, says string }{
		"fetches":        {checksum, "Succeeded", "Successfully added box 'demo/box' (v0) for 'libvirt'!"},
		"fetches-others": {strings.Repeat("0", 64), "Failed", "checksum of the downloaded box did not match"},
	} {
		c.apply(t, strings.NewReplacer("NAME", name, "BUILDER", builder, "CHECKSUM", test.checksum, "URL", url).Replace(fetch))
		t.Cleanup(func() { c.kubectl(t, "delete", "pod", name, "-n", namespace) })
		c.kubectl(t, "wait", "--for=jsonpath={.status.phase}="+test.phase, "--timeout="+waits.String(), "pod/"+name, "-n", namespace)
		said := c.kubectl(t, "logs", name, "-n", namespace)
		if !strings.Contains(strings.Join(strings.Fields(said), " "), test.says) {
			t.Errorf("vagrant does not say %q:\n%s", test.says, said)
		}
	}
}
