// Package selftest proves on real pods what the sandbox promises. It uses sandboxes of its own, so
// that a user's stays as it is; run it with `make sandbox-test`, as root.
package selftest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/layout"
)

// The numbers of the self-test's sandboxes: high, where no user starts to count.
const (
	firstNumber   = 90
	secondNumber  = 91
	refusedNumber = 92
)

// program is the sandbox's own, built from this checkout.
var program string

func TestMain(m *testing.M) {
	os.Exit(withProgram(m.Run))
}

func withProgram(run func() int) int {
	folder, err := os.MkdirTemp("", "imagechain-selftest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	// Another user has to reach the program, for the test as non-root.
	if err := os.Chmod(folder, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = filepath.Join(folder, "sandbox")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the sandbox's program:", err)
		return 1
	}
	// Of a run that was killed.
	for _, number := range []int{firstNumber, secondNumber, refusedNumber} {
		if text, err := sandboxCommand(number, "down").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "removing sandbox %d of an earlier run: %v\n%s", number, err, text)
			return 1
		}
	}
	return run()
}

// sandboxCommand runs the sandbox's program and returns all that it prints.
func sandboxCommand(number int, arguments ...string) *exec.Cmd {
	return exec.Command(program, append([]string{"--checkout", "../..", "--number", fmt.Sprint(number)}, arguments...)...)
}

func mustRun(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	text, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command.Args, " "), err, text)
	}
	return string(text)
}

func find(t *testing.T, number int) layout.Sandbox {
	t.Helper()
	sandbox, err := layout.New(number)
	if err != nil {
		t.Fatal(err)
	}
	return sandbox
}

// up starts a sandbox, on its earlier state if there is one, and ends it with the test.
func up(t *testing.T, number int) *kube {
	t.Helper()
	t.Logf("up:\n%s", mustRun(t, sandboxCommand(number, "up")))
	started := &kube{sandbox: find(t, number), environment: os.Environ()}
	for line := range strings.Lines(mustRun(t, sandboxCommand(number, "env"))) {
		name, value, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if found {
			started.environment = append(started.environment, name+"="+strings.Trim(value, "'"))
		}
	}
	return started
}

// TestSandbox goes through the life of a sandbox. The steps are in order: each begins with what the
// one before has left.
func TestSandbox(t *testing.T) {
	before := observe(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the failed sandbox is kept for a look: `make sandbox-shell SANDBOX=%d`, `make sandbox-down SANDBOX=%d`", firstNumber, firstNumber)
		}
	})
	cluster := up(t, firstNumber)
	for _, step := range []struct {
		name string
		test func(*testing.T, *kube)
	}{
		{"image", testBuildKit},
		{"pods", testPods},
		{"killed programs", testKilledPrograms},
		{"machine crash", testMachineCrash},
		{"two at once", testTwoAtOnce},
	} {
		// The later ones need what the earlier ones leave.
		if !t.Run(step.name, func(t *testing.T) { step.test(t, cluster) }) {
			return
		}
	}
	t.Run("down leaves nothing", func(t *testing.T) { testDown(t, before) })
}

// testDown ends the sandbox twice: as it runs, and after a crash.
func testDown(t *testing.T, before machine) {
	for _, killed := range []bool{false, true} {
		sandbox := find(t, firstNumber)
		if killed {
			mustRun(t, sandboxCommand(firstNumber, "up"))
		}
		namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", running(t, sandbox)))
		if err != nil {
			t.Fatal(err)
		}
		if processes := processesIn(t, namespace); len(processes) < 10 {
			t.Errorf("only %v are in the sandbox's namespace: the look is wrong", processes)
		}
		if killed {
			if err := host.Kill(running(t, sandbox)); err != nil {
				t.Fatal(err)
			}
		}
		mustRun(t, sandboxCommand(firstNumber, "down"))
		before.mustEqual(t, observe(t))
		if left := processesIn(t, namespace); len(left) > 0 {
			t.Errorf("these processes are left: %v", left)
		}
		if _, err := os.Stat(sandbox.State); !os.IsNotExist(err) {
			t.Errorf("the state is still there: %v", err)
		}
	}
}

// running is the PID of a sandbox's first process.
func running(t *testing.T, sandbox layout.Sandbox) int {
	t.Helper()
	found, err := host.Find(sandbox)
	if err != nil || found.PID == 0 {
		t.Fatalf("it does not run: %+v %v", found, err)
	}
	return found.PID
}

// testTwoAtOnce needs the first one running, and leaves it so.
func testTwoAtOnce(t *testing.T, cluster *kube) {
	second := up(t, secondNumber)
	for _, each := range []*kube{cluster, second} {
		namespace := each.namespace(t)
		each.apply(t, namespace, pod("hello", `image: "debian:13-slim"`, `command: [sh, -c, "echo from $(uname -n)"]`))
		each.succeeds(t, namespace, "hello")
	}
	mustRun(t, sandboxCommand(secondNumber, "down"))
	if found, err := host.Find(find(t, secondNumber)); found.PID != 0 || err != nil {
		t.Errorf("the second still runs: %+v %v", found, err)
	}
	cluster.run(t, "wait", "--for=condition=Ready", within, "node/"+cluster.sandbox.Name())
	mustRun(t, sandboxCommand(firstNumber, "status"))
}

// testMachineCrash kills all of the sandbox at once and starts it again on what it had written.
func testMachineCrash(t *testing.T, cluster *kube) {
	namespace := cluster.namespace(t)
	cluster.apply(t, namespace, pod("once", `command: [sleep, infinity]`))
	cluster.apply(t, namespace, strings.Replace(pod("always", `command: [sleep, infinity]`), "restartPolicy: Never", "restartPolicy: Always", 1))
	for _, name := range []string{"once", "always"} {
		cluster.run(t, "-n", namespace, "wait", "--for=condition=Ready", within, "pod/"+name)
	}
	if err := host.Kill(running(t, cluster.sandbox)); err != nil {
		t.Fatal(err)
	}
	if text, err := sandboxCommand(firstNumber, "status").CombinedOutput(); err == nil || !strings.Contains(string(text), "not running") {
		t.Errorf("status of a crashed sandbox: %v %s", err, text)
	}
	if text := mustRun(t, sandboxCommand(firstNumber, "up")); !strings.Contains(text, "was killed") {
		t.Errorf("the second start does not say what it found:\n%s", text)
	}
	cluster.run(t, "-n", namespace, "wait", "--for=jsonpath={.status.phase}=Failed", within, "pod/once")
	if ended := cluster.get(t, namespace, "pod/once", "{.status.containerStatuses[0].state.terminated.exitCode} {.status.containerStatuses[0].state.terminated.reason}"); ended != "255 Unknown" {
		t.Errorf("the pod that was not to be restarted ended as %q, not as 255 Unknown", ended)
	}
	// Its status may still be that of before the crash, which was Ready, too.
	cluster.run(t, "-n", namespace, "wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", within, "pod/always")
	cluster.run(t, "-n", namespace, "wait", "--for=condition=Ready", within, "pod/always")
}
