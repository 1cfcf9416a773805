package selftest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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
}

func TestRefusedToOtherUsers(t *testing.T) {
	home := t.TempDir()
	const nobody = 65534
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for folder := home; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command := sandboxCommand(refusedNumber, "up")
	command.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "XDG_STATE_HOME=", "SANDBOX_STATE=")
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	refused(t, command, "must be run as root")
}

func TestRefusedOnAFullDisk(t *testing.T) {
	state := t.TempDir()
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(state, 0); err != nil {
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
			if left := listNames(t, folder); len(left) != 1 || left[0] != file {
				t.Errorf("the folder was changed: %v", left)
			}
		})
	}
}

func TestRefusedWhereTheNetworkIsTaken(t *testing.T) {
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
