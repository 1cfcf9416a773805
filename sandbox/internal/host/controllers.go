package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mountedControllers lists, a path per line, the hierarchies that the first sandbox mounted and the
// last one to go unmounts.
const mountedControllers = "/run/imagechain-sandbox.cgroups"

// mountControllers mounts those hierarchies of cgroup v1 that the machine could have but has not.
// Else the first privileged pod whose PID 1 is systemd mounts them for itself; from then on
// containerd finds each new container in a hierarchy that it has no mount of, gives up watching it
// ("cannot find cgroup mount destination") and reports no OOMKilled any more.
func mountControllers() error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	text, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		return ignoreMissing(err)
	}
	for _, hierarchy := range missingHierarchies(string(text), mounts) {
		err := mountController(hierarchy)
		if errors.Is(err, unix.EROFS) {
			return nil // The price is a lost OOMKilled, not a sandbox.
		}
		if err != nil {
			return fmt.Errorf("mounting the cgroup hierarchy %s: %w", hierarchy, err)
		}
	}
	return nil
}

// missingHierarchies reads /proc/cgroups: lines of name, hierarchy, number of cgroups, enabled. The
// number of the hierarchy does not tell whether it is mounted: it lives on for a moment after the last
// unmount, and as long as any namespace has it.
func missingHierarchies(text string, mounts []cgroupMount) []string {
	if !mounted("memory", mounts) {
		return nil // Pure v2.
	}
	var missing []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 4 && fields[3] == "1" && !mounted(fields[0], mounts) && !onUnified(fields[0], mounts) {
			missing = append(missing, fields[0])
		}
	}
	return joinNetwork(missing)
}

func mounted(controller string, mounts []cgroupMount) bool {
	return slices.ContainsFunc(mounts, func(m cgroupMount) bool { return !m.unified && m.has(controller) })
}

// onUnified tells whether v2 has the controller, which v1 then leaves alone.
func onUnified(controller string, mounts []cgroupMount) bool {
	for _, mount := range mounts {
		if !mount.unified {
			continue
		}
		text, err := os.ReadFile(filepath.Join(mount.path, "cgroup.controllers"))
		if err == nil && slices.Contains(strings.Fields(string(text)), controller) {
			return true
		}
	}
	return false
}

// joinNetwork mounts net_cls and net_prio together, as systemd does: it takes a mount of its own name
// for done.
func joinNetwork(controllers []string) []string {
	rest := slices.DeleteFunc(slices.Clone(controllers), func(name string) bool { return name == "net_cls" || name == "net_prio" })
	if len(controllers)-len(rest) == 2 {
		return append(rest, "net_cls,net_prio")
	}
	return controllers
}

func mountController(hierarchy string) error {
	path := filepath.Join("/sys/fs/cgroup", hierarchy)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	record, err := os.OpenFile(mountedControllers, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer record.Close()
	// Before the mount, so that nothing is left when we are killed in between.
	if _, err := fmt.Fprintln(record, path); err != nil {
		return err
	}
	return unix.Mount("cgroup", path, "cgroup", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, hierarchy)
}

// unmountControllers leaves them to the other sandboxes while there are any.
func unmountControllers() error {
	if others, err := anySandboxes(); err != nil || others {
		return err
	}
	text, err := os.ReadFile(mountedControllers)
	if err != nil {
		return ignoreMissing(err)
	}
	for path := range strings.FieldsSeq(string(text)) {
		if err := unix.Unmount(path, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmounting %s: %w", path, err)
		}
		if err := ignoreMissing(os.Remove(path)); err != nil {
			return err
		}
	}
	return os.Remove(mountedControllers)
}
