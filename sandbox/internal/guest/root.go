package guest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/cache"
	"imagechain.dev/sandbox/internal/images"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/progress"
)

// suite must not be older than this machine's own: runc, which is built here, uses its C library.
const suite = "trixie"

// installed are the packages of the guest: those that boot it, and what a sandbox needs.
var installed = []string{
	"linux-image-amd64", "initramfs-tools", "systemd-sysv", "dbus", "udev", "kmod", "procps", "ca-certificates",
	"conntrack", "git", "iproute2", "iptables", "libseccomp2", "nftables", "util-linux",
}

// diskSize is what the guest sees; the file holds what is written.
const diskSize = "64G"

// image is the guest's system as the cache has it.
type image struct{ folder string }

func (i image) disk() string   { return filepath.Join(i.folder, "disk") }
func (i image) kernel() string { return filepath.Join(i.folder, "kernel") }
func (i image) initrd() string { return filepath.Join(i.folder, "initrd") }

// written are files of the guest that no package has.
var written = map[string]string{
	"etc/hostname":    "guest\n",
	"etc/fstab":       "/dev/vda / ext4 defaults 0 0\n/dev/vdb /payload ext4 defaults 0 0\n",
	"etc/resolv.conf": "nameserver 10.0.2.3\n",
	"etc/machine-id":  "",
	// qemu's own network: .2 is the machine that it runs on, .3 its resolver.
	"etc/systemd/network/guest.network": "[Match]\nType=ether\nName=e*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n",
	"etc/systemd/system/guest.service": `[Unit]
Description=What this machine was started for
RequiresMountsFor=/payload
After=systemd-networkd.service
[Service]
ExecStart=/payload/run
TasksMax=infinity
`,
	// A shell for whoever looks into a guest that runs; no login, whose session would be news to a test.
	"etc/systemd/system/shell.service": `[Unit]
Description=A shell on the second serial line
[Service]
ExecStart=/bin/bash -l
WorkingDirectory=/root
Environment=HOME=/root TERM=vt220
StandardInput=tty
StandardOutput=tty
TTYPath=/dev/ttyS1
Restart=always
`,
}

// wanted are units that run, and unwanted ones that would change processes and mounts while a test looks at them.
var (
	wanted   = []string{"guest.service", "shell.service", "systemd-networkd.service"}
	unwanted = []string{
		"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
		"systemd-tmpfiles-clean.timer", "systemd-timesyncd.service", "systemd-networkd-wait-online.service",
		"getty@tty1.service", "serial-getty@ttyS0.service",
	}
)

// ensureRoot makes the system where the cache does not have it.
func ensureRoot(printer *progress.Printer) (image, error) {
	base, err := layout.CacheBase()
	if err != nil {
		return image{}, err
	}
	mirror, err := images.FindMirror()
	if err != nil {
		return image{}, err
	}
	recipe, err := json.Marshal([]any{arguments(""), written, wanted, unwanted, diskSize, mirror})
	if err != nil {
		return image{}, err
	}
	sum := sha256.Sum256(recipe)
	store := cache.Store{Folder: filepath.Join(base, "guests"), What: "making the guest's system", Unfinished: unfinished + "*"}
	made := image{filepath.Join(store.Folder, "debian-"+suite+"-"+hex.EncodeToString(sum[:])[:12])}
	if _, err := os.Stat(made.folder); !errors.Is(err, fs.ErrNotExist) {
		return made, err
	}
	return made, store.Exclusively(printer, func() error { return made.make(mirror, printer) })
}

const unfinished = "unfinished-"

func (i image) make(mirror images.Mirror, printer *progress.Printer) error {
	if _, err := os.Stat(i.folder); err == nil {
		return nil // Another process made it while this one waited.
	}
	work, err := os.MkdirTemp(filepath.Dir(i.folder), unfinished)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	step := printer.Start("making the guest's system with mmdebstrap")
	if err := fill(work, mirror); err != nil {
		step.End("failed")
		return err
	}
	step.End("done")
	return os.Rename(filepath.Join(work, "image"), i.folder)
}

// fill makes a folder `image` with all that a machine starts from.
func fill(work string, mirror images.Mirror) error {
	system, made := filepath.Join(work, "system"), image{filepath.Join(work, "image")}
	sources := filepath.Join(work, "sources.list")
	if err := errors.Join(os.Mkdir(made.folder, 0o755), os.WriteFile(sources, []byte(mirror.Sources(suite)), 0o644)); err != nil {
		return err
	}
	command := exec.Command("mmdebstrap", append(arguments(system), sources)...)
	// Its mounts go with it, whatever way it ends.
	command.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if err := quietly(command); err != nil {
		return err
	}
	if err := errors.Join(configure(system), trustAsHere(system)); err != nil {
		return err
	}
	for file, pattern := range map[string]string{made.kernel(): "vmlinuz-*", made.initrd(): "initrd.img-*"} {
		found, err := filepath.Glob(filepath.Join(system, "boot", pattern))
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("the guest's system has %d files %s, not one", len(found), pattern)
		}
		if err == nil {
			err = os.Rename(found[0], file)
		}
		if err != nil {
			return err
		}
	}
	return makeDisk(made.disk(), system, diskSize)
}

func arguments(system string) []string {
	return []string{
		"--mode=root", "--variant=minbase", "--format=directory", "--quiet",
		"--keyring=" + images.Keyring,
		`--aptopt=APT::Install-Recommends "false"`,
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		// The kernel unpacks a third, with what this one machine has.
		`--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"`,
		`--essential-hook=echo MODULES=list >"$1/etc/initramfs-tools/conf.d/guest"`,
		`--essential-hook=printf 'virtio_pci\nvirtio_blk\next4\n' >"$1/usr/share/initramfs-tools/modules.d/guest"`,
		"--include=" + strings.Join(installed, ","),
		suite, system,
	}
}

func configure(system string) error {
	for path, text := range written {
		if err := writeFile(filepath.Join(system, path), text, 0o644); err != nil {
			return err
		}
	}
	units := filepath.Join(system, "etc/systemd/system")
	links := map[string]string{}
	for _, unit := range wanted {
		folder := "/usr/lib/systemd/system/"
		if _, own := written["etc/systemd/system/"+unit]; own {
			folder = "/etc/systemd/system/"
		}
		links["multi-user.target.wants/"+unit] = folder + unit
	}
	for _, unit := range unwanted {
		links[unit] = "/dev/null"
	}
	for link, target := range links {
		path := filepath.Join(units, link)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), ignoreMissing(os.Remove(path)))
		if err = errors.Join(err, os.Symlink(target, path)); err != nil {
			return err
		}
	}
	return nil
}

// trustAsHere gives the guest this machine's certificates: it may have to go through the same proxy.
func trustAsHere(system string) error {
	const bundle = "etc/ssl/certs/ca-certificates.crt"
	text, err := os.ReadFile("/" + bundle)
	if err != nil {
		return ignoreMissing(err)
	}
	return writeFile(filepath.Join(system, bundle), string(text), 0o644)
}

func writeFile(path, text string, mode fs.FileMode) error {
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), ignoreMissing(os.Remove(path))); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}

// makeDisk makes a file system of a folder, without mounting anything.
func makeDisk(file, folder, size string) error {
	return quietly(exec.Command("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", folder, file, size))
}

func quietly(command *exec.Cmd) error {
	text, err := command.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return fmt.Errorf("%s: %w\n%s", filepath.Base(command.Path), err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	return nil
}
