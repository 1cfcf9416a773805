package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/programs"
)

// tuned are the sysctls that the kubelet sets for the whole machine, with the values that it wants
// (kubelet's container manager, setupKernelTunables). It finds them in files of ours instead, so
// that the machine keeps its own, whatever way the sandbox ends.
var tuned = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// masked are folders of the host that the node's programs write to by default. Here they are empty
// file systems in memory, which go with the namespace.
var masked = map[string]string{"/run": "mode=755", "/var/lib": "mode=755", "/var/log": "mode=755", "/tmp": "mode=1777"}

// kept maps the folders that must survive a restart to their place below the state folder.
var kept = map[string]string{
	"/var/lib/containerd": "containerd",
	"/var/lib/kubelet":    "kubelet",
	"/var/lib/buildkit":   "buildkit",
	"/var/log/pods":       "pods",
}

func makeMounts(orders Orders) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	// By descriptor, since the host's folders may lie below one that is about to be masked.
	binds, err := openBinds(orders)
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return mountNew("proc", "/proc", "") },
		maskFolders,
		func() error { return bindAll(binds) },
		func() error { return linkPrograms(orders.Programs) },
		func() error { return writeResolver([]byte(orders.Resolver)) },
		maskSysctls,
		// The kubelet hands volumes to containers by propagation.
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func openBinds(orders Orders) (map[string]*os.File, error) {
	wanted := map[string]string{layout.InsideState: orders.Sandbox.State}
	for inside, name := range kept {
		wanted[inside] = orders.Sandbox.Path(name)
	}
	for module, folder := range orders.Programs {
		wanted[store(module)] = filepath.Dir(folder)
	}
	for _, name := range []string{"log", "etcd", "registry", "git"} {
		if err := os.MkdirAll(orders.Sandbox.Path(name), 0o755); err != nil {
			return nil, err
		}
	}
	opened := map[string]*os.File{}
	for inside, outside := range wanted {
		if err := os.MkdirAll(outside, 0o755); err != nil {
			return nil, err
		}
		file, err := os.Open(outside)
		if err != nil {
			return nil, err
		}
		opened[inside] = file
	}
	return opened, nil
}

func mountNew(kind, target, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(kind, target, kind, unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", kind, target, err)
	}
	return nil
}

func maskFolders() error {
	for folder, options := range masked {
		if err := mountNew("tmpfs", folder, options); err != nil {
			return err
		}
	}
	return errors.Join(os.MkdirAll("/run/lock", 0o755), os.MkdirAll("/run/netns", 0o755))
}

func bindAll(binds map[string]*os.File) error {
	for inside, file := range binds {
		if err := os.MkdirAll(inside, 0o755); err != nil {
			return err
		}
		if err := bind(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), inside); err != nil {
			return err
		}
		file.Close()
	}
	return nil
}

// store is where the folder is seen in which a module's programs are, or will be once they are built.
func store(module string) string { return layout.InsideRoot + "/stores/" + module }

// linkPrograms gives the programs the same paths on every machine. The links are relative: they are followed from
// outside, too.
func linkPrograms(set programs.Set) error {
	if err := os.MkdirAll(layout.InsidePrograms, 0o755); err != nil {
		return err
	}
	for module, folder := range set {
		target, err := filepath.Rel(layout.InsidePrograms, filepath.Join(store(module), filepath.Base(folder)))
		if err != nil {
			return err
		}
		if err := os.Symlink(target, filepath.Join(layout.InsidePrograms, module)); err != nil {
			return err
		}
	}
	return nil
}

func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding to %s: %w", to, err)
	}
	return nil
}

// maskSysctls also mounts a second, whole /proc: a pod with its own user namespace may mount one
// only where the kernel can see one that nothing covers (mount_too_revealing in fs/namespace.c).
func maskSysctls() error {
	folder := layout.InsideRoot + "/sysctl"
	if err := mountNew("proc", layout.InsideRoot+"/proc", ""); err != nil {
		return err
	}
	for name, value := range tuned {
		if _, err := os.Stat("/proc/sys/" + name); err != nil {
			continue
		}
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := bind(file, "/proc/sys/"+name); err != nil {
			return err
		}
	}
	return nil
}

// writeResolver puts it where pods get it from, and over what the node's own programs read.
func writeResolver(text []byte) error {
	file := layout.InsideConfig + "/resolv.conf"
	if err := os.MkdirAll(layout.InsideConfig, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	if _, err := os.Stat("/etc/resolv.conf"); err == nil {
		return bind(file, "/etc/resolv.conf")
	}
	// A link into /run, which is masked: what it leads to must be made anew.
	target, err := os.Readlink("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join("/etc", target)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, text, 0o644)
}
