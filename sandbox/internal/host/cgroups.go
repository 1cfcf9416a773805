package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imagechain.dev/sandbox/internal/layout"
)

// cgroupMount is one mounted cgroup tree: the one of v2, or one of those of v1.
type cgroupMount struct {
	path     string
	unified  bool
	writable bool
	options  []string
}

func (m cgroupMount) has(controller string) bool { return slices.Contains(m.options, controller) }

func cgroupMounts() ([]cgroupMount, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseCgroupMounts(string(text)), nil
}

// parseCgroupMounts reads mountinfo (proc(5)): ID parent major:minor root PATH OPTIONS tags… - TYPE source SUPEROPTIONS.
func parseCgroupMounts(mountinfo string) []cgroupMount {
	var mounts []cgroupMount
	for line := range strings.Lines(mountinfo) {
		left, right, found := strings.Cut(line, " - ")
		before, after := strings.Fields(left), strings.Fields(right)
		if !found || len(before) < 6 || len(after) < 3 || !strings.HasPrefix(after[0], "cgroup") {
			continue
		}
		// Elsewhere are those of chroots and containers, and views of a part of the tree.
		if before[3] != "/" || !strings.HasPrefix(before[4], "/sys/fs/cgroup") {
			continue
		}
		mounts = append(mounts, cgroupMount{
			path:     before[4],
			unified:  after[0] == "cgroup2",
			writable: slices.Contains(strings.Split(before[5], ","), "rw"),
			options:  strings.Split(after[2], ","),
		})
	}
	return mounts
}

// MakeCgroups makes the parent of all pods: the kubelet wants it to be there.
func MakeCgroups(sandbox layout.Sandbox) error {
	return exclusively(func() error { return makeCgroups(sandbox) })
}

func makeCgroups(sandbox layout.Sandbox) error {
	if err := mountControllers(); err != nil {
		return err
	}
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		if !mount.writable {
			continue
		}
		if err := mount.make(sandbox.Name()); err != nil {
			return fmt.Errorf("making the cgroup %s in %s: %w", sandbox.Name(), mount.path, err)
		}
	}
	return nil
}

func (m cgroupMount) make(name string) error {
	if m.unified {
		if err := m.enableControllers(); err != nil {
			return err
		}
	}
	group := filepath.Join(m.path, name)
	if err := os.MkdirAll(group, 0o755); err != nil {
		return err
	}
	if !m.has("cpuset") {
		return nil
	}
	// In v1 a new cpuset has neither CPUs nor memory nodes, and no process can enter it.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if err := copyFile(filepath.Join(m.path, file), filepath.Join(group, file)); err != nil {
			return err
		}
	}
	return nil
}

// enableControllers hands every controller down to the children of the root, one by one: what one
// kernel cannot delegate must not keep the others back. Those that limits need must be there.
func (m cgroupMount) enableControllers() error {
	available, err := os.ReadFile(filepath.Join(m.path, "cgroup.controllers"))
	if err != nil {
		return err
	}
	control := filepath.Join(m.path, "cgroup.subtree_control")
	var failed error
	for controller := range strings.FieldsSeq(string(available)) {
		failed = errors.Join(failed, os.WriteFile(control, []byte("+"+controller), 0))
	}
	enabled, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	for _, needed := range []string{"cpu", "memory", "pids"} {
		if slices.Contains(strings.Fields(string(available)), needed) && !slices.Contains(strings.Fields(string(enabled)), needed) {
			return fmt.Errorf("the controller %s cannot be handed down, as in a container whose own processes are in the root of its cgroup tree: run it on the machine itself, or move them into a child: %w", needed, failed)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0)
}

// removeCgroups removes the cgroups of a sandbox whose processes are ended; the kernel may need a
// moment to take the last of them out.
func removeCgroups(sandbox layout.Sandbox) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		if err := removeTree(filepath.Join(mount.path, sandbox.Name())); err != nil {
			return err
		}
	}
	return unmountControllers()
}

func removeTree(group string) error {
	var err error
	for range 100 {
		if err = removeOnce(group); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the cgroup %s cannot be removed: %w", group, err)
}

// removeOnce removes the folders from the leaves up; a cgroup's files cannot be removed, nor need they.
func removeOnce(group string) error {
	var folders []string
	err := filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, folder := range slices.Backward(folders) {
		err = errors.Join(err, ignoreMissing(os.Remove(folder)))
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
