package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A supervisor waits for all children of its process, so one must do for all tests.
func TestProgramsAreKeptRunningOnceEach(t *testing.T) {
	folder := t.TempDir()
	report := filepath.Join(folder, "programs.json")
	keeper := New(folder, report, []string{"GREETING=hello", "PATH=/usr/bin:/bin"})
	marks := filepath.Join(folder, "marks")
	start := func(name, script string) {
		if err := keeper.Start(Program{Name: name, Arguments: []string{"/bin/sh", "-c", script}}); err != nil {
			t.Fatal(err)
		}
	}
	start("failing", "echo $GREETING; exit 3")
	eventually(t, func() bool {
		status := find(t, report, "failing")
		return status.Restarts >= 1 && status.Ended == "exit status 3"
	})
	if log, err := os.ReadFile(filepath.Join(folder, "failing.log")); err != nil || !strings.HasPrefix(string(log), "hello\nhello\n") {
		t.Errorf("its log is %q (%v)", log, err)
	}
	// The statuses can no longer be written, as on a full disk: the program must run once all the same.
	eventually(t, func() bool { return os.Mkdir(report+".new", 0o755) == nil })
	start("lasting", "echo run >>"+marks+"; exec sleep 600")
	eventually(t, func() bool { _, err := os.Stat(marks); return err == nil })
	time.Sleep(2 * firstDelay)
	if text, err := os.ReadFile(marks); err != nil || string(text) != "run\n" {
		t.Errorf("it was started as %q (%v)", text, err)
	}
	if err := os.Remove(report + ".new"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return find(t, report, "lasting").PID != 0 })
	process, err := os.FindProcess(find(t, report, "lasting").PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return find(t, report, "lasting").Ended == "killed: killed" })
}

func find(t *testing.T, report, name string) Status {
	t.Helper()
	statuses, err := Read(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range statuses {
		if status.Name == name {
			return status
		}
	}
	return Status{}
}

func eventually(t *testing.T, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if check() {
			return
		}
	}
	t.Fatal("it did not happen")
}
