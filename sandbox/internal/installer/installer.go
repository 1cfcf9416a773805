// Package installer makes the image of Debian's network installer, of Debian's own packages. It boots from a BIOS, asks
// for a boot command, and knows the label `install`.
package installer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/progress"
)

const menu = `default install
prompt 1
timeout 0
label install
  kernel /install/linux
  append initrd=/install/initrd.gz
`

// Make writes the image to a file.
func Make(ctx context.Context, path string, printer *progress.Printer) error {
	if err := host.EnsurePackages(printer, host.ToPackInstaller); err != nil {
		return err
	}
	step := printer.Start("making the image of Debian's network installer")
	if err := assemble(ctx, path); err != nil {
		step.End("failed")
		return err
	}
	step.End("done")
	return nil
}

func assemble(ctx context.Context, path string) error {
	folder, err := os.MkdirTemp("", "imagechain-installer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	kernel, err := fetch(ctx, folder)
	if err != nil {
		return err
	}
	tree := filepath.Join(folder, "tree")
	for from, to := range map[string]string{
		filepath.Join(kernel, "linux"):               "install/linux",
		filepath.Join(kernel, "initrd.gz"):           "install/initrd.gz",
		"/usr/lib/ISOLINUX/isolinux.bin":             "isolinux/isolinux.bin",
		"/usr/lib/syslinux/modules/bios/ldlinux.c32": "isolinux/ldlinux.c32",
	} {
		if err := copyFile(from, filepath.Join(tree, to)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "isolinux", "isolinux.cfg"), []byte(menu), 0o644); err != nil {
		return err
	}
	return run(ctx, folder, "xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", "DEBIAN",
		"-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", tree)
}

// fetch unpacks Debian's package of the installer, and returns the folder with its kernel.
func fetch(ctx context.Context, folder string) (string, error) {
	names, err := exec.CommandContext(ctx, "apt-cache", "pkgnames", "debian-installer-").Output()
	if err != nil {
		return "", fmt.Errorf("apt-cache pkgnames: %w", err)
	}
	release, err := newest(string(names))
	if err != nil {
		return "", err
	}
	// The folder is root's, whom apt would not fetch as.
	if err := run(ctx, folder, "apt-get", "download", "--quiet", "--option=APT::Sandbox::User=root", packageOf(release)); err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(folder, "*.deb"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("apt-get download left %d packages, and one is expected", len(found))
	}
	if err := run(ctx, folder, "dpkg-deb", "--extract", found[0], "package"); err != nil {
		return "", err
	}
	return filepath.Join(folder, "package/usr/lib/debian-installer/images", strconv.Itoa(release), "amd64/text/debian-installer/amd64"), nil
}

func packageOf(release int) string { return fmt.Sprintf("debian-installer-%d-netboot-amd64", release) }

var ofNetboot = regexp.MustCompile(`^debian-installer-(\d+)-netboot-amd64$`)

// newest is the newest release among the packages' names, one in each line.
func newest(names string) (int, error) {
	var releases []int
	for name := range strings.Lines(names) {
		if match := ofNetboot.FindStringSubmatch(strings.TrimSpace(name)); match != nil {
			release, err := strconv.Atoi(match[1])
			if err != nil {
				return 0, err
			}
			releases = append(releases, release)
		}
	}
	if len(releases) == 0 {
		return 0, errors.New("this machine's apt knows no package debian-installer-…-netboot-amd64: it needs the sources of a Debian")
	}
	return slices.Max(releases), nil
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}

func run(ctx context.Context, folder, name string, arguments ...string) error {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir = folder
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command.Args, " "), err, text)
	}
	return nil
}
