package demotest

import (
	"fmt"
	"strings"
	"testing"
)

// packed is a chain of one link, in which packer boots a box.
const packed = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: packed, namespace: takelage}
spec:
  profiles: [machines]
  links:
  - name: only
    source: {inline: {files: {t.pkr.hcl: TEMPLATE}}}
    from: {chain: {name: boxes, link: box}}
    build: {packer: {template: t.pkr.hcl, variables: {disk: "$(parent.disk)", checksum: "$(parent.checksum)"}}}
    publish: {box: {repository: REGISTRY/packed/only, tags: [latest]}}
    timeouts: {build: 1h}
`

// booted is a chain of one link, whose test finds the box of another one booted.
const booted = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: NAME, namespace: takelage}
spec:
  profiles: [machines]
  links:
  - name: only
    source: {inline: {files: {README: nothing is needed}}}
    from: {chain: {name: boxes, link: PARENT}}
    build: {box: {format: Qcow2}}
    verify: [{command: {arguments: [sh, -c, LINE]}}]
    publish: {box: {repository: REGISTRY/NAME/only, tags: [latest]}}
    timeouts: {verify: 1h}
`

// bootedChain is such a chain, whose test is a line of shell.
func bootedChain(name, parent, line string) string {
	return strings.NewReplacer("NAME", name, "PARENT", parent, "LINE", quoted(line)).Replace(booted)
}

// machineTemplate is a packer template that runs a line of shell in a machine.
func machineTemplate(line string) string {
	return fmt.Sprintf(`variable "disk" {
  type = string
}
variable "checksum" {
  type = string
}
source "qemu" "small" {
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
  sources = ["source.qemu.small"]
  provisioner "shell" {
    inline = [%q]
  }
}
`, line)
}

// qemu is the program, as the kernel cuts its name.
const qemu = "qemu-system-x86"

// testFaultsOfBoxes kills what makes a box, and what tests one: packer and the machine that it has booted; and the machine
// of a test, the operator, the kubelet and the node while that runs.
func testFaultsOfBoxes(t *testing.T, c *testCluster) {
	if c.sandbox == nil {
		t.Skip("only a sandbox may be killed")
	}
	c.useMachines(t)
	t.Run("in the build", func(t *testing.T) {
		gate := c.newGate(t)
		chain := strings.ReplaceAll(packed, "TEMPLATE", quoted(machineTemplate(gate.line())))
		c.disturb(t, victim{gate, "packed", "only", qemu}, chain, []fault{
			{"packer", killProgram("packer"), []string{"StageInterrupted"}},
			{"qemu", killProgram(qemu), []string{"StageInterrupted"}},
		})
	})
	t.Run("in the test", func(t *testing.T) {
		gate := c.newGate(t)
		c.disturb(t, victim{gate, "booted", "only", qemu}, bootedChain("booted", "box", gate.line()), []fault{
			{"qemu", killProgram(qemu), []string{"StageInterrupted"}},
			{"the operator that leads", killLeader, nil},
			{"the kubelet", killKubelet, nil},
			{"the machine", killMachine, []string{"NodeLost"}},
		})
	})
}
