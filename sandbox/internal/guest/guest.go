// Package guest runs a command beside a sandbox in a virtual machine: a stock Debian with its own kernel, systemd
// and cgroup v2, whatever the machine itself has. Nothing is compiled in there: all of ours comes on a second disk.
package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"imagechain.dev/sandbox/internal/cluster"
	"imagechain.dev/sandbox/internal/host"
)

// Guest is a machine for one command.
type Guest struct {
	// Cluster has the checkout, and the number of the sandbox that builds our images where the cache lacks them.
	Cluster cluster.Cluster
	// Program is the operator's program.
	Program string
	// Processors and MemoryMiB are what the machine has.
	Processors, MemoryMiB int
	// Out is where the command's output goes, line by line.
	Out io.Writer
}

// longest is how long a machine may run, whatever it does.
const longest = 10 * time.Hour

// packages are those of Debian that are needed on this machine.
var packages = [][]host.Package{host.ToRun, host.ToBuild, host.ToVirtualize}

// Run starts the machine, lets it run a line of shell in the folder of the tests, and ends it. What it wrote is
// kept where that fails.
func (g Guest) Run(ctx context.Context, line string) error {
	if err := host.RequireRoot(); err != nil {
		return err
	}
	printer := g.Cluster.Printer
	if err := host.EnsurePackages(printer, packages...); err != nil {
		return err
	}
	root, err := ensureRoot(printer)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(g.Cluster.State), 0o755); err != nil {
		return err
	}
	folder, err := os.MkdirTemp(filepath.Dir(g.Cluster.State), "guest-")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	err = g.runIn(ctx, folder, root, line)
	// The disks are large and tell nothing that the logs do not.
	for _, disk := range []string{payloadDisk, rootDisk} {
		err = errors.Join(err, ignoreMissing(os.Remove(filepath.Join(folder, disk))))
	}
	if _, ran := os.Stat(filepath.Join(folder, consoleFile)); err != nil && ran == nil {
		return fmt.Errorf("%w\nIts console and its logs are in %s", err, folder)
	}
	return errors.Join(err, os.RemoveAll(folder))
}

func (g Guest) runIn(ctx context.Context, folder string, root image, line string) error {
	printer := g.Cluster.Printer
	found, err := findAccelerator(ctx, folder, root, printer)
	if err != nil {
		return err
	}
	if err := g.makePayload(ctx, filepath.Join(folder, payloadDisk), line, found.slower); err != nil {
		return err
	}
	machine := machine{folder: folder, root: root, accelerator: found, processors: g.Processors, memoryMiB: g.MemoryMiB}
	printer.Say("starting a Debian %s on %s, with %d processors and %d MiB; a shell in it: socat -,raw,echo=0 unix:%s",
		suite, found.name, g.Processors, g.MemoryMiB, filepath.Join(folder, shellSocket))
	if err := machine.run(ctx, g.Out, printer); err != nil {
		return err
	}
	code, err := os.ReadFile(filepath.Join(folder, resultFile))
	switch text := strings.TrimSpace(string(code)); {
	case err != nil:
		return err
	case text == "":
		return errors.New("the guest ended before its command did")
	case text != "0":
		return fmt.Errorf("the command in the guest ended with exit code %s", text)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// quoteLine puts a text between quotes for a shell.
func quoteLine(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
