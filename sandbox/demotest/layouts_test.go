package demotest

import (
	"os/exec"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/demo"
)

// layouts is a repository that is used in two ways: `packer build .` in its root, and `cd packer && packer build .`.
const layouts = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: layouts, namespace: takelage}
spec:
  profiles: [small]
  source: {git: {url: "GIT_SERVER/layouts.git", revision: main}}
  triggers: {interval: 30s}
  links:
  - name: root
    from: {chain: {name: takelage, link: systemd}}
    build: {packer: {template: ., variables: {base: "$(parent.local)"}}}
    verify:
    - command:
        arguments:
        - docker
        - run
        - --rm
        - $(image.local)
        - sh
        - -exc
        - |
          ls -A /src | tr '\n' ' ' | grep -x 'image.pkr.hcl packer scripts variables.pkr.hcl '
          grep required_plugins /src/variables.pkr.hcl
          grep docker-push /src/image.pkr.hcl
          cat /etc/after
    - command: {arguments: [git, -C, packer, rev-parse, --show-toplevel]}
    publish: {image: {repository: REGISTRY/layouts/root, tags: [latest]}}
  - name: folder
    from: {chain: {name: takelage, link: systemd}}
    paths: [scripts]
    build: {packer: {template: packer, directory: packer, variables: {base: "$(parent.local)"}}}
    verify: [{command: {arguments: [test, -f, "$(source.path)/packer/image.pkr.hcl"], directory: scripts}}]
`

const (
	plugins = `packer {
  required_plugins {
    docker = {
      version = "~> 1"
      source  = "github.com/hashicorp/docker"
    }
  }
}
`
	// copied has the whole source in the image, pushes it by itself, and goes on.
	copied = `provisioner "file" {
    source      = "${path.cwd}/"
    destination = "/src"
  }
  provisioner "shell" {
    inline = ["echo after >/etc/after"]
  }
  post-processors {
    post-processor "docker-tag" {
      repository = "REGISTRY/layouts/pushed"
      tags       = ["untested"]
    }
    post-processor "docker-push" {}
    post-processor "shell-local" {
      inline = ["echo what comes after the push"]
    }
  }`
	beside = `provisioner "shell" {
    script = "../scripts/made.sh"
  }`
)

// testLayouts builds both, and looks at what is in the images and at what was pushed. Then a script names an
// interpreter that is not there, and a file that is there from another folder.
func testLayouts(t *testing.T, c *testCluster) {
	c.useProfile(t, "small", c.demonstration.Registry, "")
	files := c.newRepository(t, "layouts")
	arguments := `"--interactive", "--tty", "{{ .Image }}", "/bin/sh"`
	split := func(provisioners string) (variables, image string) {
		variables, image, _ = strings.Cut(templateOf(arguments, provisioners), "source ")
		return variables, "source " + image
	}
	variables, root := split(strings.ReplaceAll(copied, "REGISTRY", c.demonstration.Registry))
	_, folder := split(beside)
	files.write(t, map[string]string{
		"variables.pkr.hcl":        plugins + variables,
		"image.pkr.hcl":            root,
		"packer/variables.pkr.hcl": variables,
		"packer/image.pkr.hcl":     folder,
		"scripts/made.sh":          "#!/bin/sh\ntrue\n",
	})
	files.push(t, "main")
	c.apply(t, layouts)
	made := c.awaitDone(t, "layouts")
	build := c.build(t, made.Link("root").Published.Build)
	if built := demo.Find(build.Status.Conditions, "Built"); !strings.Contains(built.Message, "docker-push") {
		t.Errorf("the status does not say what was left out: %+v", built)
	}
	attempts := c.attempts(t, build.Metadata.Name)
	log := c.kubectl(t, "logs", "-n", builds, attempts[len(attempts)-1].Pod, "-c", "build")
	if !strings.Contains(log, "what comes after the push") {
		t.Errorf("what follows docker-push in its chain did not run:\n%s", log)
	}
	pushed := c.demonstration.Registry + "/layouts/pushed:untested"
	if output, err := exec.Command("crane", "digest", "--insecure", pushed).CombinedOutput(); err == nil {
		t.Errorf("%s was pushed before the tests: %s", pushed, output)
	}

	files.replace(t, "scripts/made.sh", "#!/bin/sh", "#!/bin/zsh")
	files.push(t, "main")
	c.says(t, c.awaitReason(t, "layouts", "folder", "BuildFailed"), "../scripts/made.sh", "has no /bin/zsh")
	files.replace(t, "packer/image.pkr.hcl", "../scripts/made.sh", "scripts/made.sh")
	files.push(t, "main")
	c.says(t, c.awaitReason(t, "layouts", "folder", "TemplateInvalid"),
		"in the folder packer", "image.pkr.hcl line", "set build.packer.directory: .")
}
