package demo

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/progress"
)

func TestWhatTheCompilerSaysIsToldWhereItFails(t *testing.T) {
	err := Compile(t.Context(), t.TempDir(), "echo error: no such crate >&2; exit 101", progress.Silent())
	if err == nil || !strings.Contains(err.Error(), "error: no such crate") || !strings.Contains(err.Error(), "101") {
		t.Errorf("%v", err)
	}
}

func TestAProgramThatIsThereIsNotCompiled(t *testing.T) {
	if err := Compile(t.Context(), "/nonexistent", "", progress.Silent()); err != nil {
		t.Error(err)
	}
}

func TestTheCompilersEndWithTheDemo(t *testing.T) {
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := filepath.Join(folder, "begun")
	go func() {
		// A child of the shell's has begun, as a compiler is one of cargo's.
		for ctx.Err() == nil {
			if text, err := os.ReadFile(begun); err == nil && strings.HasSuffix(string(text), "\n") {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if err := Compile(ctx, folder, "sh -c 'echo $$ >begun; exec sleep 600'; true", progress.Silent()); err == nil {
		t.Error("it is told as done")
	}
	text, err := os.ReadFile(begun)
	if err != nil {
		t.Fatal(err)
	}
	// A killed process ends when it is scheduled next, and is a zombie until init has waited for it.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		status, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(text)), "status"))
		if err != nil || strings.Contains(string(status), "State:\tZ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the child still runs:\n%s", status)
		}
	}
}
