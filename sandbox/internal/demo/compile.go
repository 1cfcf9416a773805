package demo

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/progress"
)

// Compile runs a line of shell that makes the operator's program. Without one the program is there already.
func Compile(ctx context.Context, checkout, line string, printer *progress.Printer) error {
	if line == "" {
		return nil
	}
	command := exec.CommandContext(ctx, "sh", "-c", line)
	command.Dir = checkout
	// The shell, make, cargo and all compilers end together.
	command.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	step := printer.Start("compiling the operator's program (cargo)")
	shown := &lastLine{step: step}
	command.Stdout, command.Stderr = shown, shown
	if err := command.Run(); err != nil {
		step.End("failed")
		return fmt.Errorf("%s: %w\n%s", line, err, shown.tail())
	}
	step.End("done")
	return nil
}

// lastLine shows the last line of what a program prints, and keeps all of it.
type lastLine struct {
	step *progress.Step
	all  bytes.Buffer
}

// Write never fails.
func (l *lastLine) Write(text []byte) (int, error) {
	l.all.Write(text)
	lines := strings.Split(strings.TrimSpace(l.all.String()), "\n")
	l.step.Detail("%s", strings.TrimSpace(lines[len(lines)-1]))
	return len(text), nil
}

func (l *lastLine) tail() string {
	const most = 4000
	text := l.all.String()
	return strings.TrimSpace(text[max(0, len(text)-most):])
}
