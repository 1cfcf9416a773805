// Package installer makes the image of Debian's network installer of Debian's own packages, and serves what it fetches. It
// boots from a BIOS, asks for a boot command, and knows the label `install`.
package installer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/progress"
)

const (
	release = "trixie"
	// netboot is the package with the installer's kernel, and kernels is where it is in there.
	netboot = "debian-installer-13-netboot-amd64"
	kernels = "usr/lib/debian-installer/images/13/amd64/text/debian-installer/amd64"
	// needed is a part of each kernel without which nothing can be installed.
	needed = "ext4-modules-"

	menu = `default install
prompt 1
timeout 0
label install
  kernel /install/linux
  append initrd=/install/initrd.gz
`
)

// Installer is an installer whose parts an archive has.
type Installer struct {
	// Image is the path of its image.
	Image      string
	archive    archive
	components []byte
}

// Make makes the image in a folder, of what the archive at a URL has.
func Make(ctx context.Context, url, folder string, printer *progress.Printer) (Installer, error) {
	if err := host.EnsurePackages(printer, host.ToPackInstaller); err != nil {
		return Installer{}, err
	}
	step := printer.Start("making the image of Debian's network installer")
	made, err := assemble(ctx, archive(url), folder)
	if err != nil {
		step.End("failed")
		return Installer{}, err
	}
	step.End("done")
	return made, nil
}

func assemble(ctx context.Context, from archive, folder string) (Installer, error) {
	packages, err := from.index(ctx, "dists/"+release+"/main/binary-amd64/Packages.gz")
	if err != nil {
		return Installer{}, err
	}
	index, err := from.index(ctx, "dists/"+release+"/main/debian-installer/binary-amd64/Packages.gz")
	if err != nil {
		return Installer{}, err
	}
	kernel, own, err := from.fetch(ctx, folder, packages, index)
	if err != nil {
		return Installer{}, err
	}
	components, err := from.components(ctx, index, own)
	if err != nil {
		return Installer{}, err
	}
	image, err := pack(ctx, folder, kernel)
	return Installer{Image: image, archive: from, components: components}, err
}

var pointRelease = regexp.MustCompile(`^(.*\+deb\d+u)(\d+)(_all\.deb)$`)

// fetch unpacks the newest installer whose kernel's parts the archive has. It returns the folder with the kernel, and what
// the installer is made of.
func (a archive) fetch(ctx context.Context, folder string, packages, index []stanza) (string, []stanza, error) {
	for _, name := range versions(packages) {
		there, err := a.has(ctx, name)
		if err != nil {
			return "", nil, err
		}
		if !there {
			continue
		}
		unpacked := filepath.Join(folder, filepath.Base(name)+".d")
		if err := a.unpack(ctx, name, unpacked); err != nil {
			return "", nil, err
		}
		kernel := filepath.Join(unpacked, kernels)
		own, err := installed(filepath.Join(kernel, "initrd.gz"))
		if err != nil {
			return "", nil, err
		}
		if fits, err := a.hasKernel(ctx, index, own); fits || err != nil {
			return kernel, own, err
		}
	}
	return "", nil, fmt.Errorf("%s has no package %s whose kernel it has the parts of", a, netboot)
}

// versions are the files of the installer's packages, the newest first: archives keep some of earlier point releases.
func versions(packages []stanza) []string {
	for _, each := range packages {
		if each.field("Package") != netboot {
			continue
		}
		all := []string{each.field("Filename")}
		if match := pointRelease.FindStringSubmatch(all[0]); match != nil {
			last, _ := strconv.Atoi(match[2])
			for point := last - 1; point > 0; point-- {
				all = append(all, fmt.Sprintf("%s%d%s", match[1], point, match[3]))
			}
		}
		return all
	}
	return nil
}

func (a archive) hasKernel(ctx context.Context, index, own []stanza) (bool, error) {
	fitting := fits(index, own)
	for _, part := range index {
		if strings.HasPrefix(part.field("Package"), needed) {
			found, err := a.component(ctx, part, fitting)
			return found != nil, err
		}
	}
	return false, errors.New("the index of the archive has no parts of kernels")
}

func (a archive) unpack(ctx context.Context, name, folder string) error {
	content, err := a.get(ctx, name)
	if err != nil {
		return err
	}
	file := folder + ".deb"
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return err
	}
	defer os.Remove(file)
	return run(ctx, "dpkg-deb", "--extract", file, folder)
}

// pack makes the image.
func pack(ctx context.Context, folder, kernel string) (string, error) {
	tree := filepath.Join(folder, "tree")
	for from, to := range map[string]string{
		filepath.Join(kernel, "linux"):     "install/linux",
		filepath.Join(kernel, "initrd.gz"): "install/initrd.gz",
		host.BootLoader:                    "isolinux/isolinux.bin",
		host.BootLoaderModule:              "isolinux/ldlinux.c32",
	} {
		if err := copyFile(from, filepath.Join(tree, to)); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "isolinux", "isolinux.cfg"), []byte(menu), 0o644); err != nil {
		return "", err
	}
	image := filepath.Join(folder, "installer.iso")
	return image, run(ctx, "xorriso", "-as", "mkisofs", "-quiet", "-o", image, "-V", "DEBIAN",
		"-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", tree)
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

func run(ctx context.Context, name string, arguments ...string) error {
	command := exec.CommandContext(ctx, name, arguments...)
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command.Args, " "), err, text)
	}
	return nil
}
