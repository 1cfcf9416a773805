package demotest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/demo"
)

// testBoxes makes a box of an image, boots it for its tests, publishes it, writes the same disk in another format, and
// lets packer and ansible make a web server of it, with the tests of its docker twin.
func testBoxes(t *testing.T, c *testCluster) {
	c.useProfile(t, "small", c.demonstration.Registry, "")
	c.useMachines(t)
	written, err := os.ReadFile(filepath.Join(checkout, "examples", "takelage", "boxes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, strings.NewReplacer("[docker, machines]", "[small, machines]", "https://git.example", c.demonstration.GitServer, "registry.example", c.demonstration.Registry).Replace(string(written)))
	// Each wait has its own time: a machine that is emulated takes minutes to boot.
	for _, link := range []string{"machine", "box", "disk", "web"} {
		c.await(t, "boxes", link+" is verified", func(chain demo.Chain) bool { return chain.Link(link).State == "Ready" })
	}
	done := c.awaitDone(t, "boxes")
	c.publishedIsTested(t, done)
	published := done.Link("box").Published
	made := c.build(t, published.Build)
	box := made.Status
	if box.Artifact.Kind != "Box" || box.Artifact.ImageID != "" {
		t.Errorf("the artifact is no box: %+v", box.Artifact)
	}
	// Those of its docker twin.
	web := c.build(t, c.chain(t, "boxes").Link("web").Published.Build).Status
	twin := c.build(t, c.chain(t, "takelage").Link("web").Published.Build).Status
	for _, step := range append(box.Verification, web.Verification...) {
		if !step.Passed || step.Tests == 0 {
			t.Errorf("a step did not pass, or had no tests: %+v", step)
		}
	}
	if web.Verification[0].Tests != twin.Verification[0].Tests {
		t.Errorf("%d tests ran on the machine, and %d on its twin", web.Verification[0].Tests, twin.Verification[0].Tests)
	}
	// The version has the time at which its build was made.
	if expected := []string{fmt.Sprintf("1.0.%d", made.Metadata.CreationTimestamp.Unix()), "latest"}; !slices.Equal(published.Tags, expected) {
		t.Errorf("the tags are %v, not %v", published.Tags, expected)
	}
	c.fetches(t, box.Artifact.ContentDigest, published)
	c.standsOnOthers(t, box.Artifact.ContentDigest, c.build(t, c.chain(t, "boxes").Link("disk").Published.Build).Status.Artifact.ContentDigest)
}

// others is a chain on boxes that none of its links has made: one by its URL, one by its tag. A file that is fetched beside
// them is checked, too.
const others = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: others, namespace: takelage}
spec:
  profiles: [machines]
  source: {inline: {files: {README: none}}}
  links:
  - name: by-url
    from: {box: {url: "URL", sha256: SUM}}
    build: {box: {format: Raw}}
    publish: {box: {repository: REGISTRY/takelage/others, tags: [by-url]}}
  - name: by-tag
    from: {box: {reference: "REGISTRY/takelage/box:latest"}}
    files: [{name: box, url: "URL", sha256: SUM}]
    build: {box: {format: Raw}}
    publish: {box: {repository: REGISTRY/takelage/others, tags: [by-tag]}}
`

// standsOnOthers makes the disk of the published box once more, of its file and of its tag: each byte is the same. Both want
// the same file, which one of them fetches: the other one gets it from the cache of the node.
func (c *testCluster) standsOnOthers(t *testing.T, box, disk string) {
	t.Helper()
	sum := strings.TrimPrefix(box, "sha256:")
	url := "http://" + c.demonstration.Registry + "/v2/takelage/box/blobs/" + box
	c.apply(t, strings.NewReplacer("URL", url, "SUM", sum).Replace(others))
	chain := c.awaitDone(t, "others")
	for _, link := range []string{"by-url", "by-tag"} {
		made := c.build(t, chain.Link(link).Published.Build).Status.Artifact.ContentDigest
		if made != disk {
			t.Errorf("%s has made the disk %s, and the link of the chain %s", link, made, disk)
		}
	}
	fetched := c.logs(t, "others", "by-url", "--container=source") + c.logs(t, "others", "by-tag", "--container=source")
	if strings.Count(fetched, "fetching "+url+" …") != 2 || strings.Count(fetched, " MiB from the cache of the node, ") != 1 {
		t.Errorf("the file of both links was not fetched once:\n%s", fetched)
	}
}

// useMachines gives the tenant a profile that makes boxes.
func (c *testCluster) useMachines(t *testing.T) {
	t.Helper()
	c.useProfileOf(t, "machines", c.demonstration.Registry, "", "cpu: 1500m, memory: 2Gi, storage: 8Gi, requests: {cpu: 500m}", "engine: None", "hypervisor: Qemu")
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
    command: [vagrant, box, add, --provider, libvirt, ARGUMENTS]
`

// fetches lets Vagrant add the published box: from the registry by its checksum, and by another one, which it refuses;
// and from the catalog, which tells versions and checksums itself.
func (c *testCluster) fetches(t *testing.T, digest string, published *demo.Published) {
	t.Helper()
	_, checksum, _ := strings.Cut(digest, ":")
	builder := strings.TrimSpace(c.kubectl(t, "get", "buildprofile", "machines", "-o", "jsonpath={.spec.images.builder}"))
	_, path, _ := strings.Cut(published.Repository, "/")
	file := "http://" + c.demonstration.Registry + "/v2/" + path + "/blobs/" + digest
	version, catalog := published.Tags[0], c.catalog(t)+"/"+published.Repository
	checked := func(checksum string) []string {
		return []string{"--name", "demo/box", "--checksum-type", "sha256", "--checksum", checksum, file}
	}
	added := "Successfully added box '" + path + "' (v" + version + ") for 'libvirt'!"
	for name, test := range map[string]struct {
		arguments   []string
		phase, says string
	}{
		"fetches":            {checked(checksum), "Succeeded", "Successfully added box 'demo/box' (v0) for 'libvirt'!"},
		"fetches-others":     {checked(strings.Repeat("0", 64)), "Failed", "checksum of the downloaded box did not match"},
		"fetches-newest":     {[]string{catalog}, "Succeeded", added},
		"fetches-version":    {[]string{"--box-version", version, catalog}, "Succeeded", added},
		"fetches-no-version": {[]string{"--box-version", "0.9", catalog}, "Failed", "has no available version that matches the constraints you requested"},
	} {
		arguments := make([]string, 0, len(test.arguments))
		for _, argument := range test.arguments {
			arguments = append(arguments, quoted(argument))
		}
		c.apply(t, strings.NewReplacer("NAME", name, "BUILDER", builder, "ARGUMENTS", strings.Join(arguments, ", ")).Replace(fetch))
		t.Cleanup(func() { c.kubectl(t, "delete", "pod", name, "-n", namespace) })
		c.kubectl(t, "wait", "--for=jsonpath={.status.phase}="+test.phase, "--timeout="+waits.String(), "pod/"+name, "-n", namespace)
		said := c.kubectl(t, "logs", name, "-n", namespace)
		if !strings.Contains(strings.Join(strings.Fields(said), " "), test.says) {
			t.Errorf("vagrant does not say %q:\n%s", test.says, said)
		}
	}
}

// catalog lets the chart show the tenant's boxes, and returns the URL of that.
func (c *testCluster) catalog(t *testing.T) string {
	t.Helper()
	registry := c.demonstration.Registry
	c.change(t, fmt.Sprintf("boxes: {enabled: true, repositories: [%s], insecureRegistries: [%s]}\n", quoted(registry+"/takelage"), quoted(registry)))
	return "http://imagechain-boxes.imagechain-system"
}
