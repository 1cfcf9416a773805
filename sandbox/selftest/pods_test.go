package selftest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/images"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/node"
	"imagechain.dev/sandbox/internal/supervisor"
)

// testBuildKit builds the image of the other tests from an ordinary Dockerfile: its base by its name on
// Docker Hub, its packages from Debian's archive.
func testBuildKit(t *testing.T, cluster *kube) {
	text := mustRun(t, cluster.command("buildctl", "build", "--progress=plain", "--frontend=dockerfile.v0",
		"--local=context=image", "--local=dockerfile=image",
		fmt.Sprintf("--output=type=image,name=%s/%s,push=true", cluster.sandbox.Registry(), testImage)))
	if digest := mustRun(t, cluster.command("crane", "digest", cluster.sandbox.Registry()+"/"+testImage)); !strings.HasPrefix(digest, "sha256:") {
		t.Errorf("no digest after the push: %s\n%s", digest, text)
	}
}

// testPods runs side by side what does not disturb each other.
func testPods(t *testing.T, cluster *kube) {
	for name, test := range map[string]func(*testing.T, *kube){
		"logs and exec":              testLogsAndExec,
		"service and DNS":            testServiceAndDNS,
		"debian":                     testDebian,
		"native sidecar":             testNativeSidecar,
		"systemd":                    testSystemd,
		"out of memory":              testOutOfMemory,
		"deadline":                   testDeadline,
		"own user namespace":         testUserNamespace,
		"seccomp":                    testSeccomp,
		"admission policy":           testAdmissionPolicy,
		"node restriction":           testNodeRestriction,
		"audit log":                  testAuditLog,
		"registry names":             testRegistryNames,
		"registry deletes":           testRegistryDeletes,
		"git server":                 testGitServer,
		"up again":                   testUpAgain,
		"other users":                testOtherUsers,
		"base image is reproducible": testReproducible,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, cluster)
		})
	}
}

func testLogsAndExec(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, pod("talker", `command: [sh, -c, "echo hello; exec sleep infinity"]`))
	cluster.run(t, "-n", namespace, "wait", "--for=condition=Ready", within, "pod/talker")
	// That it runs does not tell that it has spoken.
	eventually(t, "its word", func() (bool, string) {
		log := cluster.run(t, "-n", namespace, "logs", "talker")
		return log == "hello\n", log
	})
	if name := cluster.run(t, "-n", namespace, "exec", "talker", "--", "uname", "-n"); name != "talker\n" {
		t.Errorf("exec: %q", name)
	}
}

func testServiceAndDNS(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, pod("web", `command: [python3, -m, http.server, "8080", --directory, /etc]`, `readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}`))
	cluster.apply(t, namespace, `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}`)
	cluster.run(t, "-n", namespace, "wait", "--for=condition=Ready", within, "pod/web")
	cluster.apply(t, namespace, pod("client", `env: [{name: PYTHONUNBUFFERED, value: "1"}]`, `command:`, `- python3`, `- -c`, `- |`,
		`  import os, ssl, time, urllib.request as request`,
		`  account = "/var/run/secrets/kubernetes.io/serviceaccount/"`,
		`  def fetch(url, **options):`,
		`      for attempt in range(60):`, // kube-proxy learns of a Service by a watch, a moment after we do
		`          try: return request.urlopen(url, timeout=5, **options).read().decode()`,
		`          except OSError as failed: last = failed; time.sleep(0.5)`,
		`      raise last`,
		`  print("name", fetch("http://web/debian_version").strip())`,
		`  print("full", fetch("http://web.`+namespace+`.svc.cluster.local/debian_version").strip())`,
		`  print("address", fetch("http://%s/debian_version" % os.environ["WEB_SERVICE_HOST"]).strip())`,
		`  call = request.Request("https://kubernetes.default/api", headers={"Authorization": "Bearer " + open(account + "token").read()})`,
		`  print("api", "APIVersions" in fetch(call, context=ssl.create_default_context(cafile=account + "ca.crt")))`))
	log := cluster.succeeds(t, namespace, "client")
	for _, want := range []string{"name 13", "full 13", "address 13", "api True"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in:\n%s", want, log)
		}
	}
}

// testDebian reaches what is not on this machine, through the cluster's DNS and the host's network, and finds
// Debian as its official images are: recommended packages come along, services are not started on installation.
func testDebian(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	images := map[string]string{"slim": "debian:12-slim", "whole": "debian:13"}
	for name, image := range images {
		cluster.apply(t, namespace, pod(name, `image: "`+image+`"`, `command:`, `- sh`, `- -euc`, `- |`,
			`  apt-get update -q -o APT::Update::Error-Mode=any`,
			`  apt-get install --simulate curl | grep '^Inst ca-certificates '`, // recommended by its library
			`  test -z "$(ls /etc/*/*/*mmdebstrap* /etc/apt/sources.list 2>/dev/null)"`,
			`  test "$(ls /etc/apt/sources.list.d)" = debian.sources`,
			`  /usr/sbin/policy-rc.d || echo policy $?`))
	}
	for name, image := range images {
		if log := cluster.succeeds(t, namespace, name); !strings.HasSuffix(log, "\npolicy 101\n") {
			t.Errorf("%s:\n%s", image, log)
		}
	}
}

func testNativeSidecar(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	manifest := pod("sidecar", `command: [cat, /shared/ready]`, `volumeMounts: [{name: shared, mountPath: /shared}]`) + `
  volumes: [{name: shared, emptyDir: {}}]
  initContainers:
  - name: engine
    image: 127.0.0.1:5000/` + testImage + `
    restartPolicy: Always
    command: [sh, -c, "sleep 1; echo up > /shared/ready; exec sleep infinity"]
    startupProbe: {exec: {command: [test, -f, /shared/ready]}, periodSeconds: 1, failureThreshold: 60}
    volumeMounts: [{name: shared, mountPath: /shared}]
`
	cluster.apply(t, namespace, manifest)
	cluster.run(t, "-n", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", within, "pod/sidecar")
	if log := cluster.run(t, "-n", namespace, "logs", "sidecar", "-c", "main"); log != "up\n" {
		t.Errorf("the main container read %q", log)
	}
}

func testSystemd(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, pod("systemd", `securityContext: {privileged: true}`, `command: [/sbin/init]`,
		`readinessProbe: {exec: {command: [systemctl, is-system-running]}, periodSeconds: 1}`))
	cluster.run(t, "-n", namespace, "wait", "--for=condition=Ready", within, "pod/systemd")
	if state := cluster.run(t, "-n", namespace, "exec", "systemd", "--", "systemctl", "is-system-running"); state != "running\n" {
		t.Errorf("systemd is %q", state)
	}
	if failed := cluster.run(t, "-n", namespace, "exec", "systemd", "--", "systemctl", "list-units", "--failed", "--no-legend"); failed != "" {
		t.Errorf("failed units: %s", failed)
	}
	if first := cluster.run(t, "-n", namespace, "exec", "systemd", "--", "cat", "/proc/1/comm"); first != "systemd\n" {
		t.Errorf("PID 1 is %q", first)
	}
}

// testOutOfMemory lets the container outlive its hog for a moment: on cgroup v1 containerd may hear of
// the end of a container's first process before it hears of the OOM, and then reports a mere Error
// (containerd issue 8180; on v2 it looks the counter up).
func testOutOfMemory(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, pod("hog", `resources: {limits: {memory: 64Mi}}`,
		`command: [sh, -c, "python3 -c 'x = bytearray(256 << 20); print(len(x))'; code=$?; sleep 3; exit $code"]`))
	cluster.run(t, "-n", namespace, "wait", "--for=jsonpath={.status.phase}=Failed", within, "pod/hog")
	if reason := cluster.get(t, namespace, "pod/hog", "{.status.containerStatuses[0].state.terminated.reason}"); reason != "OOMKilled" {
		t.Errorf("the reason is %q", reason)
	}
}

func testDeadline(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, pod("late", `command: [sleep, infinity]`)+"  activeDeadlineSeconds: 3\n")
	cluster.run(t, "-n", namespace, "wait", "--for=jsonpath={.status.reason}=DeadlineExceeded", within, "pod/late")
}

func testUserNamespace(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, pod("mapped", `command: [sh, -c, "id -u; cat /proc/self/uid_map"]`)+"  hostUsers: false\n")
	fields := strings.Fields(cluster.succeeds(t, namespace, "mapped"))
	if len(fields) != 4 || fields[0] != "0" || fields[2] == "0" || fields[3] != "65536" {
		t.Errorf("root of the pod is not another user of the node: %v", fields)
	}
}

func testSeccomp(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, pod("filtered", `command: [grep, "^Seccomp:", /proc/self/status]`))
	if mode := strings.Fields(cluster.succeeds(t, namespace, "filtered")); len(mode) != 2 || mode[1] != "2" {
		t.Errorf("no seccomp filter: %v", mode)
	}
}

func testAdmissionPolicy(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: selftest}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]}
  validations: [{expression: "object.metadata.name != 'forbidden'", message: "choose another name"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: selftest}
spec: {policyName: selftest, validationActions: [Deny]}
`)
	eventually(t, "the refusal", func() (bool, string) {
		text, err := cluster.command("kubectl", "-n", namespace, "create", "configmap", "forbidden", "--dry-run=server").CombinedOutput()
		return err != nil && strings.Contains(string(text), "choose another name"), string(text)
	})
	cluster.run(t, "-n", namespace, "create", "configmap", "allowed")
}

// testNodeRestriction also shows that RBAC is on: a node may do little, and not for another.
func testNodeRestriction(t *testing.T, cluster *kube) {
	pki := cluster.sandbox.Path("pki")
	asNode := func(arguments ...string) (string, error) {
		flags := []string{"--kubeconfig=/dev/null", "--server=" + cluster.sandbox.APIServer(), "--certificate-authority=" + pki + "/ca.crt",
			"--client-certificate=" + pki + "/kubelet.crt", "--client-key=" + pki + "/kubelet.key"}
		text, err := cluster.command("kubectl", append(flags, arguments...)...).CombinedOutput()
		return string(text), err
	}
	name := cluster.sandbox.Name()
	if text, err := asNode("label", "node", name, "node-restriction.kubernetes.io/selftest=yes"); err == nil || !strings.Contains(text, "is not allowed to modify labels") {
		t.Errorf("a node gave itself a restricted label: %v %s", err, text)
	}
	if text, err := asNode("-n", "kube-system", "get", "secrets"); err == nil || !strings.Contains(text, "Forbidden") {
		t.Errorf("a node lists Secrets: %v %s", err, text)
	}
	if text, err := asNode("get", "node", name); err != nil {
		t.Errorf("a node cannot read itself: %s", text)
	}
}

func testAuditLog(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.run(t, "-n", namespace, "create", "configmap", "counted")
	cluster.run(t, "-n", namespace, "get", "configmap", "counted")
	text, err := os.ReadFile(cluster.sandbox.Path("log", "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	var verbs []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"namespace":"`+namespace+`","name":"counted"`) && strings.Contains(line, `"userAgent":"kubectl/v1.`) {
			_, rest, _ := strings.Cut(line, `"verb":"`)
			verb, _, _ := strings.Cut(rest, `"`)
			verbs = append(verbs, verb)
		}
	}
	if strings.Join(verbs, " ") != "create" {
		t.Errorf("kubectl's requests in the audit log: %v, not one create", verbs)
	}
}

func testRegistryNames(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	images := map[string]string{
		"node":   cluster.sandbox.Registry() + "/library/debian:12",
		"local":  fmt.Sprintf("127.0.0.1:%d/library/debian:12-slim", layout.RegistryPort),
		"hub":    "debian:bookworm",
		"latest": "docker.io/library/debian",
	}
	for name, image := range images {
		cluster.apply(t, namespace, pod(name, `image: "`+image+`"`, `imagePullPolicy: Always`, `command: [cat, /etc/debian_version]`))
	}
	for name, image := range images {
		want := "12."
		if name == "latest" {
			want = "13."
		}
		if version := cluster.succeeds(t, namespace, name); !strings.HasPrefix(version, want) {
			t.Errorf("%s is Debian %s", image, version)
		}
	}
}

func testRegistryDeletes(t *testing.T, cluster *kube) {
	reference := cluster.sandbox.Registry() + "/selftest/deleted"
	mustRun(t, cluster.command("crane", "copy", cluster.sandbox.Registry()+"/library/debian:13-slim", reference+":1"))
	digest := strings.TrimSpace(mustRun(t, cluster.command("crane", "digest", reference+":1")))
	mustRun(t, cluster.command("crane", "delete", reference+"@"+digest))
	if text, err := cluster.command("crane", "digest", reference+":1").CombinedOutput(); err == nil {
		t.Errorf("still there: %s", text)
	}
}

// testGitServer pushes from the host and reads in a pod, under the same URL.
func testGitServer(t *testing.T, cluster *kube) {
	work, url := t.TempDir(), cluster.sandbox.GitServer()+"/selftest.git"
	if err := os.WriteFile(filepath.Join(work, "file"), []byte("from the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range [][]string{
		{"init", "--quiet", "--initial-branch=main"}, {"add", "file"},
		{"-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message=first"}, {"push", "--quiet", "--force", url, "main"},
	} {
		mustRun(t, cluster.command("git", append([]string{"-C", work}, arguments...)...))
	}
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, pod("reader", `command: [python3, -c, "import urllib.request as r; print(r.urlopen('`+url+`/info/refs?service=git-upload-pack').read().decode())"]`))
	commit := strings.TrimSpace(mustRun(t, cluster.command("git", "-C", work, "rev-parse", "HEAD")))
	if refs := cluster.succeeds(t, namespace, "reader"); !strings.Contains(refs, commit+" refs/heads/main") {
		t.Errorf("commit %s is not in:\n%s", commit, refs)
	}
}

func testUpAgain(t *testing.T, cluster *kube) {
	before := running(t, cluster.sandbox)
	// With another state folder, as after a forgotten SANDBOX_STATE: the running one is meant all the same.
	again := sandboxCommand(cluster.sandbox.Number, "up")
	again.Env = append(os.Environ(), "SANDBOX_STATE="+t.TempDir())
	if text := mustRun(t, again); !strings.Contains(text, "running already") || !strings.Contains(text, cluster.sandbox.State) {
		t.Errorf("a second up:\n%s", text)
	}
	if after := running(t, cluster.sandbox); after != before {
		t.Errorf("a second up changed the first process from %d to %d", before, after)
	}
}

// testOtherUsers looks at a running sandbox as somebody else.
func testOtherUsers(t *testing.T, cluster *kube) {
	for command, sentence := range map[string]string{"up": "must be run as root", "down": "must be run as root"} {
		if text, err := asNobody(t, cluster.sandbox.Number, command).CombinedOutput(); err == nil || !strings.Contains(string(text), sentence) {
			t.Errorf("%s: %v\n%s", command, err, text)
		}
	}
}

func testReproducible(t *testing.T, _ *kube) {
	mirror, err := images.FindMirror()
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for range 2 {
		image, err := images.Recipe{Suite: "trixie", Slim: true, Mirror: mirror}.Build(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("the same recipe gave %v", digests)
	}
}

// testKilledPrograms kills one after the other while a pod runs: the pod goes on, the program comes
// back, and the cluster works.
func testKilledPrograms(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, pod("survivor", `command: [sleep, infinity]`))
	cluster.run(t, "-n", namespace, "wait", "--for=condition=Ready", within, "pod/survivor")
	const identity = "{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount} {.status.phase}"
	before := cluster.get(t, namespace, "pod/survivor", identity)
	for _, name := range []string{"kubelet", "containerd", "kube-apiserver", "etcd"} {
		t.Run(name, func(t *testing.T) {
			kill(t, cluster.sandbox, name)
			eventually(t, "the API server's answer", func() (bool, string) {
				text, err := cluster.command("kubectl", "get", "--raw", "/readyz").CombinedOutput()
				return err == nil, string(text)
			})
			cluster.apply(t, namespace, pod("after-"+name, `command: ["true"]`))
			cluster.succeeds(t, namespace, "after-"+name)
			if after := cluster.get(t, namespace, "pod/survivor", identity); after != before {
				t.Errorf("the running pod changed from %q to %q", before, after)
			}
			cluster.run(t, "-n", namespace, "exec", "survivor", "--", "true")
		})
	}
}

// kill ends a program with SIGKILL and waits until it is started again.
func kill(t *testing.T, sandbox layout.Sandbox, name string) {
	t.Helper()
	before := statusOf(t, sandbox, name)
	mustRun(t, host.Inside(running(t, sandbox), "kill", "-KILL", fmt.Sprint(before.PID)))
	eventually(t, "the restart of "+name, func() (bool, string) {
		now := statusOf(t, sandbox, name)
		return now.Restarts > before.Restarts && now.PID != 0, fmt.Sprintf("%+v", now)
	})
}

func statusOf(t *testing.T, sandbox layout.Sandbox, name string) supervisor.Status {
	t.Helper()
	statuses, err := supervisor.Read(sandbox.Path(node.Report))
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range statuses {
		if status.Name == name {
			return status
		}
	}
	t.Fatalf("no program %s in %v", name, statuses)
	return supervisor.Status{}
}
