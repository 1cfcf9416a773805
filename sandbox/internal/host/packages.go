package host

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"imagechain.dev/sandbox/internal/progress"
)

// packages maps the Debian packages that a sandbox needs to a file by which each is known to be
// there, so that nothing is asked of a machine that has them from elsewhere.
var packages = []struct{ name, proof string }{
	{"conntrack", "conntrack"},
	{"gcc", "gcc"},
	{"git", "git"},
	{"iproute2", "ip"},
	{"iptables", "iptables"},
	{"libseccomp-dev", "/usr/include/seccomp.h"},
	{"mmdebstrap", "mmdebstrap"},
	{"nftables", "nft"},
	{"pkg-config", "pkg-config"},
	{"util-linux", "nsenter"},
	// The keys that the base images' packages are signed with; an Ubuntu has others.
	{"debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"},
}

// EnsurePackages installs the Debian packages that are missing, or names the command where it may not.
func EnsurePackages(printer *progress.Printer) error {
	missing := missingPackages()
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

func missingPackages() []string {
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
