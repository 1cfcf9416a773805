package guest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/progress"
)

func TestThisMachinesLoopbackHasAnotherNameInTheGuest(t *testing.T) {
	for value, wanted := range map[string]string{
		"http://127.0.0.1:3128":       "http://10.0.2.2:3128",
		"http://localhost:3128/a":     "http://10.0.2.2:3128/a",
		"https://proxy.example:3128":  "https://proxy.example:3128",
		"127.0.0.1,localhost,.direct": "127.0.0.1,localhost,.direct",
	} {
		if found := fromGuest(value); found != wanted {
			t.Errorf("%s is %s, not %s", value, found, wanted)
		}
	}
}

func TestTheRunnerIsAScript(t *testing.T) {
	script := filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(script, fmt.Appendf(nil, runner, `./test -run "^TestA$"`), 0o755); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("bash", "-n", script).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestUnitsAreStartedOrMasked(t *testing.T) {
	system := t.TempDir()
	if err := configure(system); err != nil {
		t.Fatal(err)
	}
	for link, wanted := range map[string]string{
		"multi-user.target.wants/guest.service":            "/etc/systemd/system/guest.service",
		"multi-user.target.wants/systemd-networkd.service": "/usr/lib/systemd/system/systemd-networkd.service",
		"apt-daily.timer": "/dev/null",
	} {
		found, err := os.Readlink(filepath.Join(system, "etc/systemd/system", link))
		if err != nil || found != wanted {
			t.Errorf("%s leads to %q: %v", link, found, err)
		}
	}
}

func TestLinesComeWithATime(t *testing.T) {
	var out bytes.Buffer
	tell(strings.NewReader("one\r\ntwo"), &out, progress.New(os.Stderr))
	if found := out.String(); found != "  0:00  one\n  0:00  two\n" {
		t.Errorf("it says %q", found)
	}
}

func TestWhatIsStartedTellsHowItEnded(t *testing.T) {
	if err := start(exec.Command("true")); err != nil {
		t.Error(err)
	}
	err := start(exec.Command("sh", "-c", "echo no such device >&2; exit 1"))
	if err == nil || !strings.Contains(err.Error(), "no such device") {
		t.Errorf("it says %v", err)
	}
}
