package demotest

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/demo"
)

// rounds is how often each way is measured.
const rounds = 3

// byChain is the demo's link web alone.
const byChain = `
apiVersion: imagechain.dev/v1alpha1
kind: ImageChain
metadata: {name: overhead, namespace: takelage}
spec:
  profiles: [docker]
  source: {git: {url: "GIT_SERVER/takelage.git", revision: main}}
  links:
  - name: web
    from: {chain: {name: takelage, link: systemd}, as: "takelage/systemd:local"}
    build: {packer: {template: packer/web.pkr.hcl, variables: {base: "$(parent.local)"}}}
    verify: [{molecule: {directory: ansible, scenario: web, environment: {PROJECT_IMAGE: "$(image.local)"}}}]
    publish: {image: {repository: REGISTRY/overhead/by-chain, tags: [latest]}}
`

// byHand is what somebody types who has the builder image and an engine in it.
const byHand = `
set -eu
dockerd --insecure-registry=REGISTRY >/tmp/dockerd.log 2>&1 &
until docker info >/dev/null 2>&1; do sleep 0.1; done
git clone --quiet --depth=1 GIT_SERVER/takelage.git /work/takelage
docker pull --quiet PARENT
docker tag PARENT takelage/systemd:local
cd /work/takelage/packer
# Packer 1.6 does not know this block.
sed -i '/^packer {/,/^}/d' web.pkr.hcl
packer build -machine-readable -var base=takelage/systemd:local web.pkr.hcl | tee /tmp/packer.log
docker tag "$(sed -n 's/.*,artifact,0,id,//p' /tmp/packer.log)" REGISTRY/overhead/by-hand:latest
cd ../ansible
PROJECT_IMAGE=REGISTRY/overhead/by-hand:latest molecule test --scenario-name web
docker push --quiet REGISTRY/overhead/by-hand:latest
`

// TestOverhead builds, tests and pushes the same image by turns: as a chain, and by the same commands in one
// container. It measures, and asserts nothing of the times.
func TestOverhead(t *testing.T) {
	c := up(t)
	c.demo(t)
	var chains, hands []time.Duration
	for round := range rounds {
		chains = append(chains, c.timeChain(t, round))
		hands = append(hands, c.timeHand(t))
		t.Logf("round %d: as a chain %s, by hand %s", round+1, chains[round], hands[round])
	}
	slices.Sort(chains)
	slices.Sort(hands)
	chain, hand := chains[rounds/2], hands[rounds/2]
	t.Logf("medians: as a chain %s, by hand %s: %s more, %.1f %%", chain, hand, chain-hand, 100*(chain-hand).Seconds()/hand.Seconds())
}

// timeChain is how long it takes from the request to the published tag.
func (c *testCluster) timeChain(t *testing.T, round int) time.Duration {
	t.Helper()
	token := fmt.Sprintf("round-%d", round)
	began := time.Now()
	c.apply(t, strings.Replace(byChain, "name: overhead,", "name: overhead, annotations: {imagechain.dev/requestedAt: "+token+"},", 1))
	done := c.awaitRequest(t, "overhead", token)
	took := time.Since(began).Round(100 * time.Millisecond)
	t.Logf("%s", stages(c.build(t, done.Link("web").Published.Build)))
	return took
}

func stages(build demo.Build) string {
	var text strings.Builder
	for _, stage := range build.Status.Stages {
		if stage.StartedAt != nil && stage.FinishedAt != nil {
			fmt.Fprintf(&text, "%s %s  ", stage.Name, stage.FinishedAt.Sub(*stage.StartedAt))
		}
	}
	return text.String()
}

// timeHand is how long it takes from the pod's creation to its end.
func (c *testCluster) timeHand(t *testing.T) time.Duration {
	t.Helper()
	var profile struct {
		Spec struct {
			Images    struct{ Builder string }
			Resources map[string]string
		}
	}
	c.read(t, &profile, "get", "buildprofile", "docker")
	parent := c.chain(t, "takelage").Link("systemd").Published
	script := strings.ReplaceAll(c.fill(byHand), "PARENT", parent.Repository+"@"+parent.Digest)
	began := time.Now()
	c.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: by-hand, namespace: takelage-demo}
spec:
  restartPolicy: Never
  containers:
  - name: by-hand
    image: %q
    command: [sh, -c, %q]
    securityContext: {privileged: true}
    resources: {limits: {cpu: %q, memory: %q}}
    volumeMounts:
    - {name: graph, mountPath: /var/lib/docker}
    - {name: work, mountPath: /work}
  volumes:
  - {name: graph, emptyDir: {}}
  - {name: work, emptyDir: {}}
`, profile.Spec.Images.Builder, script, profile.Spec.Resources["cpu"], profile.Spec.Resources["memory"]))
	c.eventually(t, "the end of the pod by-hand", func() (bool, string) {
		phase := c.kubectl(t, "get", "pod", "by-hand", "-n", "takelage-demo", "-o", "jsonpath={.status.phase}")
		return phase == "Succeeded" || phase == "Failed", phase
	})
	took := time.Since(began).Round(100 * time.Millisecond)
	if logs, err := exec.Command("kubectl", "logs", "by-hand", "-n", "takelage-demo").CombinedOutput(); err != nil || !strings.Contains(string(logs), "overhead/by-hand") {
		t.Fatalf("%v\n%s", err, logs)
	}
	if phase := c.kubectl(t, "get", "pod", "by-hand", "-n", "takelage-demo", "-o", "jsonpath={.status.phase}"); phase != "Succeeded" {
		t.Fatalf("by hand it failed:\n%s", c.kubectl(t, "logs", "by-hand", "-n", "takelage-demo"))
	}
	c.kubectl(t, "delete", "pod", "by-hand", "-n", "takelage-demo")
	return took
}
