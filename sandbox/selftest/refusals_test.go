package selftest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/host"
)

// refused runs `up` and wants one sentence and an unchanged machine.
func refused(t *testing.T, command *exec.Cmd, sentence string) {
	t.Helper()
	before := observe(t)
	text, err := command.CombinedOutput()
	if err == nil {
		t.Fatalf("it started:\n%s", text)
	}
	t.Logf("%s", text)
	if !strings.Contains(string(text), sentence) {
		t.Errorf("no %q in what it says", sentence)
	}
	if problems := strings.Count(string(text), "\n  - "); problems != 1 {
		t.Errorf("%d problems are named, not one", problems)
	}
	before.mustEqual(t, observe(t))
	if found, err := host.Find(find(t, refusedNumber)); found.PID != 0 || err != nil {
		t.Errorf("it runs: %+v %v", found, err)
	}
}

func TestRefusedToOtherUsers(t *testing.T) {
	refused(t, asNobody(t, refusedNumber, "up"), "must be run as root")
}

// asNobody runs the sandbox's program as a user without rights, with a home of their own.
func asNobody(t *testing.T, number int, command string) *exec.Cmd {
	t.Helper()
	const nobody = 65534
	home := t.TempDir()
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for folder := home; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	made := sandboxCommand(number, command)
	made.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "XDG_STATE_HOME=", "SANDBOX_STATE=")
	made.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return made
}

func TestRefusedOnAFullDisk(t *testing.T) {
	// One place for all runs: that of a killed one is found again.
	state := filepath.Join(os.TempDir(), "imagechain-selftest-full")
	_ = unix.Unmount(state, unix.MNT_DETACH)
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(unix.Unmount(state, 0), os.Remove(state)); err != nil {
			t.Error(err)
		}
	})
	refused(t, withState(state), "64 MiB free and 4096 MiB are needed")
	if left := listNames(t, state); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

func TestRefusedOnAForeignStateFolder(t *testing.T) {
	for name, file := range map[string]string{"of something else": "letter.txt", "of another version": "sandbox.json"} {
		t.Run(name, func(t *testing.T) {
			state := t.TempDir()
			folder := filepath.Join(state, fmt.Sprintf("sandbox-%d", refusedNumber))
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, file), []byte(`{"format":"0"}`), 0o644); err != nil {
				t.Fatal(err)
			}
			refused(t, withState(state), "is in the way")
			down := sandboxCommand(refusedNumber, "down")
			down.Env = append(os.Environ(), "SANDBOX_STATE="+state)
			text, err := down.CombinedOutput()
			if name == "of another version" {
				if _, left := os.Stat(folder); err != nil || !os.IsNotExist(left) {
					t.Errorf("down left the folder: %v %v %s", left, err, text)
				}
				return
			}
			if err == nil || !strings.Contains(string(text), "move it away") {
				t.Errorf("down of a foreign folder: %v %s", err, text)
			}
			if left := listNames(t, folder); len(left) != 1 || left[0] != file {
				t.Errorf("the folder was changed: %v", left)
			}
		})
	}
}

func TestRefusedWhereTheNetworkIsTaken(t *testing.T) {
	_ = exec.Command("ip", "link", "delete", "selftest0").Run() // Of a run that was killed.
	mustRun(t, exec.Command("ip", "link", "add", "selftest0", "type", "veth", "peer", "name", "selftest1"))
	t.Cleanup(func() { mustRun(t, exec.Command("ip", "link", "delete", "selftest0")) })
	mustRun(t, exec.Command("ip", "addr", "add", fmt.Sprintf("10.202.%d.7/32", refusedNumber), "dev", "selftest0"))
	refused(t, withState(t.TempDir()), "selftest0")
}

func TestRefusedForAnUnknownNumber(t *testing.T) {
	if text, err := sandboxCommand(100, "up").CombinedOutput(); err == nil || !strings.Contains(string(text), "0 to 99") {
		t.Errorf("%v %s", err, text)
	}
}

func withState(folder string) *exec.Cmd {
	command := sandboxCommand(refusedNumber, "up")
	command.Env = append(os.Environ(), "SANDBOX_STATE="+folder)
	return command
}
