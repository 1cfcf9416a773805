package host

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"imagechain.dev/sandbox/internal/progress"
)

// Package is a Debian package, with a file by which it is known to be there, so that nothing is asked of a
// machine that has it from elsewhere.
type Package struct{ name, proof string }

// The boot loader of the image of an installer, and the module that it loads first.
const (
	BootLoader       = "/usr/lib/ISOLINUX/isolinux.bin"
	BootLoaderModule = "/usr/lib/syslinux/modules/bios/ldlinux.c32"
)

var (
	// ToRun are the packages that a sandbox needs.
	ToRun = []Package{
		{"conntrack", "conntrack"},
		{"git", "git"},
		{"iproute2", "ip"},
		{"iptables", "iptables"},
		{"nftables", "nft"},
		{"util-linux", "nsenter"},
	}
	// ToBuild are those that its programs and base images are made with.
	ToBuild = []Package{
		{"gcc", "gcc"},
		{"libseccomp-dev", "/usr/include/seccomp.h"},
		{"mmdebstrap", "mmdebstrap"},
		{"pkg-config", "pkg-config"},
		// The keys that the base images' packages are signed with; an Ubuntu has others.
		{"debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"},
	}
	// ToBoot are those that tests boot machines with, and log in to them.
	ToBoot = []Package{
		{"openssh-client", "ssh"},
		{"qemu-system-x86", "qemu-system-x86_64"},
		{"qemu-utils", "qemu-img"},
	}
	// ToPackInstaller are those that the image of an installer is made with.
	ToPackInstaller = []Package{
		{"isolinux", BootLoader},
		{"syslinux-common", BootLoaderModule},
		{"xorriso", "xorriso"},
	}
	// ToVirtualize are those of a virtual machine with a sandbox in it.
	ToVirtualize = []Package{
		{"e2fsprogs", "mke2fs"},
		{"qemu-system-x86", "qemu-system-x86_64"},
		{"qemu-utils", "qemu-img"},
	}
)

// EnsurePackages installs the Debian packages that are missing, or names the command where it may not.
func EnsurePackages(printer *progress.Printer, wanted ...[]Package) error {
	missing := missingPackages(slices.Concat(wanted...))
	if len(missing) == 0 {
		return nil
	}
	install := append([]string{"install", "-y", "--no-install-recommends"}, missing...)
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("these Debian packages are missing: %s: install them (`apt-get %s`)", strings.Join(missing, " "), strings.Join(install, " "))
	}
	step := printer.Start("installing Debian packages: %s", strings.Join(missing, " "))
	for _, arguments := range [][]string{{"update"}, install} {
		if err := apt(arguments...); err != nil {
			step.End("failed")
			return err
		}
	}
	step.End("done")
	return nil
}

func apt(arguments ...string) error {
	var output bytes.Buffer
	// Others install things too, unattended-upgrades for one: wait for their lock.
	command := exec.Command("apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, arguments...)...)
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(arguments, " "), err, output.String())
	}
	return nil
}

func missingPackages(packages []Package) []string {
	var missing []string
	for _, each := range packages {
		if !present(each.proof) {
			missing = append(missing, each.name)
		}
	}
	return missing
}

func present(proof string) bool {
	if strings.HasPrefix(proof, "/") {
		_, err := os.Stat(proof)
		return err == nil
	}
	// An ordinary user's PATH has no sbin.
	for _, folder := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if info, err := os.Stat(filepath.Join(folder, proof)); err == nil && info.Mode()&0o111 != 0 {
			return true
		}
	}
	return false
}
