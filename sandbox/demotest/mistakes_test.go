package demotest

import (
	"slices"
	"strings"
	"testing"
)

// mistakes is a chain of links that all stand on the demo's base, and each get a mistake of their own.
const mistakes = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: mistakes, namespace: takelage}
spec:
  profiles: [small]
  source: {git: {url: "GIT_SERVER/mistakes.git", revision: main}}
  triggers: {interval: 30s}
  links:
  - name: task
    from: {chain: {name: takelage, link: systemd}}
    paths: [task]
    build: {packer: {template: task/t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    publish: {image: {repository: REGISTRY/mistakes/task, tags: [latest]}}
  - name: test
    from: {chain: {name: takelage, link: systemd}}
    paths: [test]
    build: {packer: {template: test/t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    verify: [{pytest: {directory: test}}]
    publish: {image: {repository: REGISTRY/mistakes/test, tags: [latest]}}
  - name: variable
    from: {chain: {name: takelage, link: systemd}}
    paths: [variable]
    build: {packer: {template: variable/t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    publish: {image: {repository: REGISTRY/mistakes/variable, tags: [latest]}}
  - name: script
    from: {chain: {name: takelage, link: systemd}}
    paths: [script]
    build: {packer: {template: script/t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    publish: {image: {repository: REGISTRY/mistakes/script, tags: [latest]}}
  - name: role
    from: {chain: {name: takelage, link: systemd}}
    paths: [role]
    build: {packer: {template: role/t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    verify: [{command: {arguments: ["true"], directory: role}}, {command: {arguments: [molecule, syntax], directory: role, environment: {ANSIBLE_ROLES_PATH: "$(source.path)/role/roles"}}}]
    publish: {image: {repository: REGISTRY/mistakes/role, tags: [latest]}}
  - name: template
    from: {chain: {name: takelage, link: systemd}}
    paths: [template]
    build: {packer: {template: template/t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    publish: {image: {repository: REGISTRY/mistakes/template, tags: [latest]}}
  - name: dependent
    from: {link: template}
    paths: [dependent]
    build: {packer: {template: dependent/t.pkr.hcl, variables: {base: "$(parent.local)"}}}
    publish: {image: {repository: REGISTRY/mistakes/dependent, tags: [latest]}}
`

const (
	playbook = `provisioner "ansible" {
    playbook_file   = "play.yml"
    user            = "root"
    extra_arguments = ["--extra-vars", "ansible_connection=docker ansible_host=${build.ID}"]
  }
  provisioner "shell"`
	play = `- hosts: all
  gather_facts: false
  tasks:
  - name: Look at the moon
    ansible.builtin.command: cat /etc/hostname
`
	// rescued fails, and goes on.
	rescued = `- hosts: all
  gather_facts: false
  tasks:
  - block:
    - name: Try the moon
      ansible.builtin.command: cat /nonexistent/moon
    rescue:
    - ansible.builtin.debug: {msg: there is none}
`
	// Folders of the user's take the place of all in which ansible looks for callback plugins by itself.
	ansibleConfig = `[defaults]
callback_plugins = ./plugins
`
	scenario = `prerun: false
dependency: {name: galaxy, enabled: false}
driver: {name: default}
platforms: [{name: box}]
`
	tests = `def test_what_was_made(host):
    assert host.check_output("cat /etc/made") == "one"
`
	// wiped loses its script the first time, as where systemd wipes /tmp while it boots.
	wiped = `provisioner "shell-local" {
    inline = ["echo once more >>tries"]
  }
  provisioner "file" {
    source      = "tries"
    destination = "/var/tries"
  }
  provisioner "shell" {
    execute_command = "[ $(wc -l </var/tries) -gt 1 ] || rm {{ .Path }}; {{ .Path }}"`
)

// testMistakes has all links published, pushes mistakes to six of them, and takes them back.
func testMistakes(t *testing.T, c *testCluster) {
	c.useProfile(t, "small", c.demonstration.Registry, "")
	files := c.newRepository(t, "mistakes")
	files.write(t, map[string]string{
		"task/t.pkr.hcl":                     strings.Replace(template("true"), `provisioner "shell"`, playbook, 1),
		"task/play.yml":                      play,
		"task/ansible.cfg":                   ansibleConfig,
		"script/t.pkr.hcl":                   strings.Replace(template("echo on"), `provisioner "shell"`, playbook, 1),
		"script/play.yml":                    rescued,
		"role/t.pkr.hcl":                     template("true"),
		"role/roles/moon/tasks/main.yml":     "- ansible.builtin.debug: {msg: here}\n",
		"role/molecule/default/molecule.yml": scenario,
		"role/molecule/default/converge.yml": "- hosts: all\n  roles:\n  - moon\n",
		"test/t.pkr.hcl":                     template("echo one >/etc/made"),
		"test/test_made.py":                  tests,
		"variable/t.pkr.hcl":                 template("true"),
		"template/t.pkr.hcl":                 template("true"),
		"dependent/tries":                    "",
		"dependent/t.pkr.hcl":                strings.Replace(template("true"), `provisioner "shell" {`, wiped, 1),
	})
	files.push(t, "main")
	c.apply(t, mistakes)
	good := c.awaitDone(t, "mistakes")
	c.publishedIsTested(t, good)
	attempts := c.attempts(t, good.Link("dependent").Build)
	if log := c.kubectl(t, "logs", "-n", builds, attempts[len(attempts)-1].Pod, "-c", "build"); !strings.Contains(log, "try 2 of 10") {
		t.Errorf("packer did not run twice:\n%s", log)
	}

	files.replace(t, "task/play.yml", "/etc/hostname", "/nonexistent/moon")
	files.replace(t, "test/test_made.py", `"one"`, `"moon"`)
	files.replace(t, "script/t.pkr.hcl", "echo on", "echo and off; exit 3")
	files.replace(t, "role/molecule/default/converge.yml", "moon", "no_such_role")
	files.replace(t, "variable/t.pkr.hcl", `variable "base"`, "variable \"colour\" {\n  type = string\n}\nvariable \"base\"")
	files.replace(t, "template/t.pkr.hcl", "sources =", "sauces =")
	files.push(t, "main")
	for _, wanted := range []struct {
		link, reason string
		says         []string
	}{
		{"task", "TaskFailed", []string{"Look at the moon", "task/play.yml", "/nonexistent/moon", "kubectl logs"}},
		{"test", "TestsFailed", []string{"test_what_was_made", "'one' == 'moon'", "test_made.py:2", "kubectl logs"}},
		{"script", "BuildFailed", []string{"exit status: 3", "and off", "kubectl logs"}},
		{"role", "VerificationFailed", []string{"step 2 command molecule syntax in role", "no_such_role", "molecule/default/converge.yml"}},
		{"variable", "TemplateInvalid", []string{"variable/t.pkr.hcl", "colour"}},
		{"template", "TemplateInvalid", []string{"template/t.pkr.hcl", "sauces"}},
		{"dependent", "ParentFailed", []string{"template"}},
	} {
		c.says(t, c.awaitReason(t, "mistakes", wanted.link, wanted.reason), wanted.says...)
	}
	role := c.build(t, c.awaitReason(t, "mistakes", "role", "VerificationFailed").Build)
	if steps := role.Status.Verification; len(steps) != 2 || !steps[0].Passed || steps[1].Passed {
		t.Errorf("the first of two steps passed, and the status says: %+v", steps)
	}
	for _, link := range good.Spec.Links {
		if published := good.Link(link.Name).Published; digest(t, published.Repository) != published.Digest {
			t.Errorf("the published tag of %s was moved", link.Name)
		}
	}
	made := c.builds(t, "mistakes")

	// Four are as they were before, so nothing has to be built; two are mended otherwise.
	files.replace(t, "task/play.yml", "/nonexistent/moon", "/etc/hostname")
	files.replace(t, "test/test_made.py", `"moon"`, `"one"`)
	files.replace(t, "script/t.pkr.hcl", "echo and off; exit 3", "echo on")
	files.replace(t, "role/molecule/default/converge.yml", "no_such_role", "moon")
	files.replace(t, "variable/t.pkr.hcl", "  type = string\n}\nvariable \"base\"", "  default = \"red\"\n}\nvariable \"base\"")
	files.replace(t, "template/t.pkr.hcl", "sauces =", "sources =")
	files.replace(t, "template/t.pkr.hcl", `"true"`, `"echo another >/etc/made"`)
	files.push(t, "main")
	mended := c.awaitDone(t, "mistakes")
	c.publishedIsTested(t, mended)
	for _, link := range good.Spec.Links {
		same := mended.Link(link.Name).Published.Build == good.Link(link.Name).Published.Build
		if same != slices.Contains([]string{"task", "test", "script", "role"}, link.Name) {
			t.Errorf("%s: the build is the same: %v", link.Name, same)
		}
	}
	// A failed build may be pruned meanwhile; none is made beyond those of variable, template and what stands on it.
	added := slices.DeleteFunc(c.builds(t, "mistakes"), func(name string) bool { return slices.Contains(made, name) })
	if len(added) != 3 {
		t.Errorf("these builds were made: %v", added)
	}
}

// missing is a chain whose links name what is not there.
const missing = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: missing, namespace: takelage}
spec:
  profiles: [small]
  triggers: {interval: 30s}
  links:
  - name: base
    source: {inline: {files: {t.pkr.hcl: TEMPLATE}}}
    from: {image: "REGISTRY/missing/base:1"}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
  - name: dependent
    source: {inline: {files: {t.pkr.hcl: TEMPLATE}}}
    from: {link: base}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
  - name: revision
    source: {git: {url: "GIT_SERVER/missing.git", revision: nothing}}
    from: {image: "REGISTRY/library/debian:13-slim"}
    build: {packer: {template: t.pkr.hcl, variables: {base: "$(parent.local)"}}}
`

// testMissing brings what is missing; nobody touches the chain.
func testMissing(t *testing.T, c *testCluster) {
	c.useProfile(t, "small", c.demonstration.Registry, "")
	files := c.newRepository(t, "missing")
	files.write(t, map[string]string{"t.pkr.hcl": template("true")})
	files.push(t, "main")
	c.apply(t, strings.ReplaceAll(missing, "TEMPLATE", quoted(template("true"))))
	c.says(t, c.awaitReason(t, "missing", "base", "BaseImageNotFound"), "missing/base:1")
	c.says(t, c.awaitReason(t, "missing", "revision", "RevisionNotFound"), "nothing", "missing.git")
	if link := c.chain(t, "missing").Link("dependent"); link.Build != "" {
		t.Errorf("a build was made of what stands on a link without a base: %+v", link)
	}
	registry := c.demonstration.Registry
	command(t, "", "crane", "copy", "--insecure", registry+"/library/debian:13-slim", registry+"/missing/base:1")
	command(t, files.folder, "git", "push", "--quiet", "--force", "origin", "HEAD:nothing")
	c.awaitDone(t, "missing")
}
