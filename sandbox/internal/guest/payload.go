package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"imagechain.dev/sandbox/internal/images"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/patience"
	"imagechain.dev/sandbox/internal/programs"
)

const (
	payloadDisk = "payload"
	payloadSize = "8G"
	// inside is where the guest has the second disk.
	inside = "/payload"
)

// carried are the folders of the checkout that the tests read.
var carried = []string{"charts", "examples", "images"}

// makePayload makes the disk with all that is ours: programs, images, a checkout and what is to be done.
func (g Guest) makePayload(ctx context.Context, disk, line string, slower int) error {
	kept, set, err := g.prepare(ctx)
	if err != nil {
		return err
	}
	step := g.Cluster.Printer.Start("making the guest's second disk")
	if err := g.packPayload(disk, line, slower, kept, set); err != nil {
		step.End("failed")
		return err
	}
	step.End("done")
	return nil
}

// prepare has everything in the cache: the programs, and the folders of images.
func (g Guest) prepare(ctx context.Context) ([]string, programs.Set, error) {
	builder, err := programs.NewBuilder(filepath.Join(g.Cluster.Checkout, "sandbox", "programs"))
	if err != nil {
		return nil, nil, err
	}
	set, err := builder.Ensure(ctx, programs.Modules, g.Cluster.Printer)
	if err != nil {
		return nil, nil, err
	}
	bases, err := images.EnsureBases(ctx, g.Cluster.Printer, images.Suites...)
	if err != nil {
		return nil, nil, err
	}
	kept, err := g.ensureOwn(ctx, bases)
	for _, base := range bases {
		kept = append(kept, base.Folder())
	}
	return kept, set, err
}

// ensureOwn builds operator and builder where the cache does not have them, with a sandbox on this machine.
func (g Guest) ensureOwn(ctx context.Context, bases []images.Base) ([]string, error) {
	base, err := images.OwnBase(bases)
	if err != nil {
		return nil, err
	}
	var kept []string
	var missing []images.Own
	for _, own := range []images.Own{images.Operator(g.Cluster.Checkout, g.Program), images.Builder(g.Cluster.Checkout)} {
		folder, err := own.Kept(base)
		if err != nil {
			return nil, err
		}
		kept = append(kept, folder)
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, own)
		}
	}
	if len(missing) == 0 {
		return kept, nil
	}
	if err := errors.Join(g.Cluster.Up(), g.Cluster.Use()); err != nil {
		return nil, err
	}
	for _, own := range missing {
		_, failed := own.Publish(ctx, g.Cluster.Registry(), g.Cluster.Printer)
		err = errors.Join(err, failed)
	}
	return kept, errors.Join(err, g.Cluster.Down(false))
}

func (g Guest) packPayload(disk, line string, slower int, kept []string, set programs.Set) error {
	work, err := os.MkdirTemp(filepath.Dir(disk), "payload-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	own, err := layout.CacheBase()
	if err != nil {
		return err
	}
	there := programs.Set{}
	for module, folder := range set {
		kept = append(kept, folder)
		there[module] = inside + "/cache/imagechain/" + relative(own, folder)
	}
	for _, folder := range kept {
		if err := copyTree(folder, filepath.Join(work, "cache/imagechain", relative(own, folder))); err != nil {
			return err
		}
	}
	for _, folder := range carried {
		if err := copyTree(filepath.Join(g.Cluster.Checkout, folder), filepath.Join(work, "checkout", folder)); err != nil {
			return err
		}
	}
	if err := errors.Join(g.packPrograms(work, line, slower), there.Write(filepath.Join(work, "programs.json"))); err != nil {
		return err
	}
	return makeDisk(disk, work, payloadSize)
}

// packPrograms puts in what is to be run.
func (g Guest) packPrograms(work, line string, slower int) error {
	tests := filepath.Join(work, "checkout/sandbox/demotest")
	if err := os.MkdirAll(tests, 0o755); err != nil {
		return err
	}
	compile := exec.Command("go", "test", "-c", "-o", filepath.Join(tests, "demotest"), "./demotest")
	compile.Dir = filepath.Join(g.Cluster.Checkout, "sandbox")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false")
	if err := quietly(compile); err != nil {
		return err
	}
	own, err := os.Executable()
	if err != nil {
		return err
	}
	for from, to := range map[string]string{own: "sandbox", g.Program: "imagechain"} {
		if err := exec.Command("cp", "--", from, filepath.Join(work, to)).Run(); err != nil {
			return fmt.Errorf("copying %s: %w", from, err)
		}
	}
	variables, err := environment(slower)
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(filepath.Join(work, "environment"), variables, 0o644),
		writeFile(filepath.Join(work, "checkout/sandbox/sandbox"), starter, 0o755),
		writeFile(filepath.Join(work, "run"), fmt.Sprintf(runner, line), 0o755),
	)
}

// starter stands in the place of the script that compiles the sandbox's program.
const starter = `#!/bin/sh
exec /payload/sandbox --checkout /payload/checkout --prebuilt /payload/programs.json "$@"
`

// runner runs the line, tells how it ended, and ends the machine. A file that is written to a port is read here.
const runner = `#!/bin/bash
until [ -e /dev/virtio-ports/result ] && [ -e /dev/virtio-ports/output ]; do sleep 0.1; done
exec >/dev/virtio-ports/output 2>&1 </dev/null
. /payload/environment
cd /payload/checkout/sandbox/demotest
systemctl is-system-running --wait >/dev/null
echo "guest: $(uname -r), $(systemctl --version | head -n 1), booted in $(cut -d' ' -f1 /proc/uptime) s"
# A pipe, since a port looks like a terminal.
( %s ) 2>&1 | cat
code=${PIPESTATUS[0]}
if [ $code != 0 ]; then
	journalctl --no-pager >/var/log/journal.txt
	cd / && shopt -s nullglob && tar cz var/log/journal.txt root/.local/state/imagechain/*/{log,pods} >/dev/virtio-ports/logs
fi
echo $code >/dev/virtio-ports/result
# At once: nobody needs its disks any more.
systemctl poweroff --force --force
`

// environment is what decides how this machine reaches packages, as the guest must see it.
func environment(slower int) (string, error) {
	mirror, err := images.FindMirror()
	if err != nil {
		return "", err
	}
	var text strings.Builder
	set := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&text, "export %s=%s\n", name, quoteLine(fromGuest(value)))
		}
	}
	set("HOME", "/root")
	set("XDG_CACHE_HOME", inside+"/cache")
	set("PROGRAM", inside+"/imagechain")
	set(patience.Variable, strconv.Itoa(slower))
	set("DEBIAN_MIRROR", mirror.Packages)
	set("DEBIAN_SECURITY", mirror.Security)
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		set(name, os.Getenv(name))
	}
	return text.String(), nil
}

// fromGuest names this machine's loopback as the guest reaches it.
func fromGuest(value string) string {
	return strings.NewReplacer("//127.0.0.1", "//10.0.2.2", "//localhost", "//10.0.2.2").Replace(value)
}

func relative(base, folder string) string {
	return strings.TrimPrefix(strings.TrimPrefix(folder, base), "/")
}

// copyTree copies by links where it can: the disk is made from it at once.
func copyTree(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if exec.Command("cp", "--archive", "--link", "--", from, to).Run() == nil {
		return nil
	}
	return quietly(exec.Command("cp", "--archive", "--", from, to))
}
