package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A supervisor waits for all children of its process, so one must do for all tests.
func TestProgramsAreKeptRunningOnceEach(t *testing.T) {
	folder := t.TempDir()
	report, marks := filepath.Join(folder, "programs.json"), filepath.Join(folder, "marks")
	keeper := New(folder, report, []string{"GREETING=hello", "PATH=/usr/bin:/bin"})
	t.Cleanup(func() { end(keeper) })
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
	// That it was started again does not tell that it has printed again.
	eventually(t, func() bool {
		return strings.HasPrefix(content(t, filepath.Join(folder, "failing.log")), "hello\nhello\n")
	})
	// The statuses can no longer be written, as on a full disk: what is started runs, once, all the same.
	eventually(t, func() bool { return os.Mkdir(report+".new", 0o755) == nil })
	start("lasting", "echo run >>"+marks+"; exec sleep 600")
	eventually(t, func() bool { return content(t, marks) == "run\n" })
	kill(t, alone(t, keeper, "lasting").PID)
	eventually(t, func() bool { return content(t, marks) == "run\nrun\n" })
	// A start that is taken for a failure says so here, and is tried again.
	if status := alone(t, keeper, "lasting"); status.Restarts != 1 || status.Ended != "killed: killed" {
		t.Errorf("its second start is told as %+v", status)
	}
	if err := os.Remove(report + ".new"); err != nil {
		t.Fatal(err)
	}
	kill(t, alone(t, keeper, "lasting").PID)
	eventually(t, func() bool { return find(t, report, "lasting").Restarts == 2 })

	// A program that is still being built is started once it has its name.
	late, built := filepath.Join(folder, "late"), filepath.Join(folder, "unfinished")
	if err := keeper.StartWhenThere(Program{Name: "late", Arguments: []string{late}}); err != nil {
		t.Fatal(err)
	}
	if status := find(t, report, "late"); status.Ended != Awaited || status.PID != 0 {
		t.Errorf("before it is there its status is %+v", status)
	}
	if err := os.WriteFile(built, []byte("#!/bin/sh\nexec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(built, late); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return find(t, report, "late").PID != 0 })
	if status := alone(t, keeper, "late"); status.Restarts != 0 || status.Ended != "" {
		t.Errorf("its first start is told as %+v", status)
	}
}

// alone is the status of a program, of which one process runs.
func alone(t *testing.T, keeper *Supervisor, name string) Status {
	t.Helper()
	keeper.lock.Lock()
	defer keeper.lock.Unlock()
	var found Status
	processes := 0
	for pid, child := range keeper.running {
		if child.program.Name == name {
			found = keeper.statuses[child.index]
			processes++
		}
		if child.program.Name == name && pid != found.PID {
			t.Errorf("%s runs as %d, and its status is %+v", name, pid, found)
		}
	}
	if processes != 1 {
		t.Fatalf("%d processes of %s run: %+v", processes, name, keeper.statuses)
	}
	return found
}

// end leaves no process, and nobody who starts another or writes a file.
func end(keeper *Supervisor) {
	keeper.lock.Lock() // For good.
	for pid := range keeper.running {
		_ = syscall.Kill(pid, syscall.SIGKILL) // It may have ended by itself.
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// content of a file that may not be there yet.
func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
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
