package demotest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/demo"
)

// Secret values that must be found nowhere.
const (
	gitCanary     = "canary-git-6f1e8a"
	stagingCanary = "canary-staging-90bd27"
	publishCanary = "canary-publish-c3d5e4"
	// Programs print it with escapes.
	variableCanary = `Xy"canary-variable-1a7b9f\pass`
	testCanary     = "canary-test-e8c20d"
)

// guarded is a chain for which a git server and a registry want to know who asks.
const guarded = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: guarded, namespace: takelage}
spec:
  profiles: [guarded]
  source: {git: {url: "http://GIT_GUARD/guarded.git", revision: main, secretRef: {name: git}}}
  links:
  - name: image
    from: {chain: {name: takelage, link: systemd}}
    build:
      packer:
        template: t.pkr.hcl
        variables: {base: "$(parent.local)"}
        secretVariables: [{name: token, secretKeyRef: {name: vault, key: build}}]
    verify:
    - command:
        arguments: [sh, -c, 'test -n "$TOKEN" && echo "the token is $TOKEN"']
        secretVariables: [{name: TOKEN, secretKeyRef: {name: vault, key: test}}]
    publish: {image: {repository: REGISTRY_GUARD/guarded/image, tags: [latest], secretRef: {name: publish}}}
`

// quoting hands the variable to ansible, which packer prints as JSON; the playbook fails where it is another.
const (
	quoting = `provisioner "ansible" {
    playbook_file   = "play.yml"
    user            = "root"
    extra_arguments = [
      "--extra-vars", "ansible_connection=docker ansible_host=${build.ID}",
      "--extra-vars", jsonencode({ token = var.token }),
    ]
  }
  provisioner "shell"`
	secretPlay = `- hosts: all
  gather_facts: false
  tasks:
  - ansible.builtin.debug: {msg: "{{ token | to_json }} and {{ token | quote }}"}
    failed_when: token | length != 30
`
)

// secretTemplate prints a variable that is a secret, and fails where it is not there.
var secretTemplate = strings.NewReplacer(
	`variable "base"`, "variable \"token\" {\n  type = string\n}\nvariable \"base\"",
	`provisioner "shell"`, quoting,
	`    inline =`, "    environment_vars = [\"TOKEN=${var.token}\"]\n    inline =",
).Replace(template(`test -n "$TOKEN" && echo "the token is $TOKEN"`))

// testCredentials lets one link meet wrong credentials at each step, and mends them one by one.
func testCredentials(t *testing.T, c *testCluster) {
	if c.sandbox == nil {
		t.Skip("the servers that ask for passwords are on this machine, which only a sandbox is known to reach")
	}
	git := c.newGuard(t, c.demonstration.GitServer, map[string]user{"git": {gitCanary, "/"}})
	// Who may stage cannot publish.
	registry := c.newGuard(t, "http://"+c.demonstration.Registry, map[string]user{
		"staging": {stagingCanary, "/v2/" + staging + "/"},
		"publish": {publishCanary, "/v2/guarded/image/"},
	})
	c.useProfile(t, "guarded", registry, "staging")
	files := c.newRepository(t, "guarded")
	files.write(t, map[string]string{"t.pkr.hcl": secretTemplate, "play.yml": secretPlay})
	files.push(t, "main")
	c.secret(t, builds, "staging", dockerConfig(registry, "staging", "wrong"))
	c.secret(t, namespace, "git", map[string]string{"username": "git", "password": "wrong"})
	c.secret(t, namespace, "vault", map[string]string{"build": variableCanary, "test": testCanary})
	manifest := strings.NewReplacer("GIT_GUARD", git, "REGISTRY_GUARD", registry).Replace(guarded)
	c.apply(t, manifest)

	// What it says is what has to be typed.
	link := c.awaitReason(t, "guarded", "image", "AccessNotGranted")
	c.says(t, link, "kubectl create role", "git")
	told := demo.Find(c.chain(t, "guarded").Status.Conditions, "Ready").Message
	for _, line := range []string{
		"kubectl create role imagechain-secret-git -n takelage --verb=get,list,watch --resource=secrets --resource-name=git",
		"kubectl create rolebinding imagechain-secret-git -n takelage --role=imagechain-secret-git --serviceaccount=imagechain-system:imagechain",
	} {
		if !strings.Contains(told, line) {
			t.Errorf("the condition does not say what is to be typed: %s", told)
		}
	}
	c.grant(t, manifest)
	c.says(t, c.awaitReason(t, "guarded", "image", "AccessDenied"), git, "«git»")
	// As files have it, with a newline at the end.
	c.secret(t, namespace, "git", map[string]string{"username": "git\n", "password": gitCanary + "\n"})
	c.says(t, c.awaitReason(t, "guarded", "image", "PushDenied"), registry, "«staging» of "+builds)
	c.secret(t, builds, "staging", dockerConfig(registry, "staging", stagingCanary))
	c.says(t, c.awaitReason(t, "guarded", "image", "SecretNotFound"), "publish")
	c.secret(t, namespace, "publish", map[string]string{"username": "publish", "password": "wrong"})
	c.says(t, c.awaitReason(t, "guarded", "image", "PushDenied"), registry, "«publish»")
	c.secret(t, namespace, "publish", map[string]string{"username": "publish", "password": publishCanary})
	chain := c.awaitDone(t, "guarded")

	name := chain.Link("image").Published.Build
	if attempts := c.build(t, name).Status.Attempts; len(attempts) != 2 {
		t.Errorf("%d attempts were made, where the first one had no right to push: %+v", len(attempts), attempts)
	}
	c.hasNoCanary(t)
}

// grant types what the program says, so that the operator may read what a chain names.
func (c *testCluster) grant(t *testing.T, manifest string) {
	t.Helper()
	asking := exec.Command(c.demonstration.Program, "grant", "-f", "-")
	asking.Stdin = strings.NewReader(c.fill(manifest))
	lines := run(t, asking)
	if !strings.Contains(lines, "kubectl create role") {
		t.Fatalf("nothing is granted by: %s", lines)
	}
	command(t, "", "sh", "-euc", lines)
}

// secret makes one, or changes what it holds.
func (c *testCluster) secret(t *testing.T, in, name string, data map[string]string) {
	t.Helper()
	kind := "Opaque"
	if _, is := data[".dockerconfigjson"]; is {
		kind = "kubernetes.io/dockerconfigjson"
	} else if _, is := data["username"]; is {
		kind = "kubernetes.io/basic-auth"
	}
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]string{"name": name, "namespace": in},
		"type": kind, "stringData": data,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, string(text))
}

// dockerConfig is as `docker login` with a key store leaves it, to which somebody has added credentials.
func dockerConfig(registry, user, password string) map[string]string {
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	const form = `{"auths": {"https://index.docker.io/v1/": {}, %q: {"auth": %q}}, "credsStore": "desktop"}`
	return map[string]string{".dockerconfigjson": fmt.Sprintf(form, registry, auth)}
}

// canaries are what no encoding of a text changes.
var canaries = regexp.MustCompile(`canary-[a-z0-9-]+`)

// hasNoCanary looks for secret values in all that anybody but a reader of Secrets can see.
func (c *testCluster) hasNoCanary(t *testing.T) {
	t.Helper()
	places := map[string]string{
		"objects": c.kubectl(t, "get", "imagechains,imagebuilds,buildprofiles,pods,events,configmaps", "--all-namespaces", "--output=json", "--show-managed-fields"),
	}
	pods := strings.Fields(c.kubectl(t, "get", "pods", "-n", builds, "-l", "imagechain.dev/chain=guarded", "-o", "jsonpath={.items[*].metadata.name}"))
	if len(pods) == 0 {
		t.Error("no pod is left whose logs could be looked at")
	}
	logs := ""
	for _, pod := range pods {
		logs += c.kubectl(t, "logs", "-n", builds, pod, "--all-containers")
	}
	if !strings.Contains(logs, "the token is") {
		t.Error("the logs are not those of the build")
	}
	places["logs of the stages"] = logs
	places["log of the operator"] = c.kubectl(t, "logs", "-n", "imagechain-system", "-l", "app.kubernetes.io/name=imagechain", "--tail=-1")
	image := c.demonstration.Registry + "/guarded/image:latest"
	places["configuration of the image"] = command(t, "", "crane", "config", "--insecure", image)
	places["manifest of the image"] = command(t, "", "crane", "manifest", "--insecure", image)
	layers, err := exec.Command("crane", "export", "--insecure", image, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(layers, []byte("/lib/systemd")) {
		t.Error("the layers are not those of the image")
	}
	places["layers of the image"] = string(layers)
	for _, canary := range []string{gitCanary, stagingCanary, publishCanary, variableCanary, testCanary} {
		// Without its first and last characters, which have escapes in some places.
		for _, form := range []string{canaries.FindString(canary), base64.StdEncoding.EncodeToString([]byte(canary))} {
			for place, text := range places {
				if at := strings.Index(text, form); at >= 0 {
					t.Errorf("%s is in the %s: …%s…", canary, place, text[max(0, at-200):at])
				}
			}
		}
	}
}
