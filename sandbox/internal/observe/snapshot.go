package observe

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// GroupsRoot is where a machine has its control groups.
const GroupsRoot = "/sys/fs/cgroup"

// Snapshot is what a process sees of a machine with cgroup v2, a sorted line for each thing.
type Snapshot struct{ Groups, Mounts, Processes []string }

// Look takes the mounts of a process.
func Look(process int) (Snapshot, error) {
	groups, err := groups()
	if err != nil {
		return Snapshot{}, err
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", process))
	if err != nil {
		return Snapshot{}, err
	}
	all, err := Processes()
	if err != nil {
		return Snapshot{}, err
	}
	seen := Snapshot{Groups: groups, Mounts: mountLines(string(mounts)), Processes: processLines(all)}
	for _, lines := range [][]string{seen.Groups, seen.Mounts, seen.Processes} {
		slices.Sort(lines)
	}
	return seen, nil
}

func groups() ([]string, error) {
	var found []string
	err := filepath.WalkDir(GroupsRoot, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // It went in between.
		case err != nil || !entry.IsDir():
			return err
		}
		found = append(found, describe(path))
		return nil
	})
	return found, err
}

// describe is a group with its limits. What the kubelet's own groups hand down is the kubelet's business.
func describe(group string) string {
	text := strings.TrimPrefix(group, GroupsRoot) + "/"
	for _, file := range []string{"memory.max", "pids.max", "cgroup.max.descendants", "cgroup.subtree_control"} {
		value, err := os.ReadFile(filepath.Join(group, file))
		if err != nil || (file == "cgroup.subtree_control" && strings.Contains(group, "/kubepods")) {
			continue
		}
		text += fmt.Sprintf(" %s=%s", file, bytes.TrimSpace(value))
	}
	return text
}

// mountLines leaves the numbers of mounts out, and the peers that they share with.
func mountLines(mountinfo string) []string {
	var found []string
	for line := range strings.Lines(mountinfo) {
		left, right, _ := strings.Cut(strings.TrimSpace(line), " - ")
		if fields := strings.Fields(left); len(fields) >= 6 {
			found = append(found, strings.Join(fields[3:6], " ")+" "+right)
		}
	}
	return found
}

// processLines leaves the kernel's own threads out, which come and go.
func processLines(all []Process) []string {
	const kernel = 2
	var found []string
	for _, each := range all {
		if each.ID != kernel && each.Parent != kernel {
			found = append(found, each.Name+" "+each.Groups)
		}
	}
	return found
}

// Names leaves of groups their names alone.
func (s Snapshot) Names() Snapshot {
	names := make([]string, len(s.Groups))
	for i, group := range s.Groups {
		names[i], _, _ = strings.Cut(group, " ")
	}
	s.Groups = names
	return s
}

// Changes are the lines that are not as often in both, each behind by how much.
func (s Snapshot) Changes(after Snapshot) []string {
	return slices.Concat(changes(s.Groups, after.Groups), changes(s.Mounts, after.Mounts), changes(s.Processes, after.Processes))
}

func changes(before, after []string) []string {
	count := map[string]int{}
	for _, line := range before {
		count[line]--
	}
	for _, line := range after {
		count[line]++
	}
	var found []string
	for _, line := range slices.Sorted(maps.Keys(count)) {
		if count[line] != 0 {
			found = append(found, fmt.Sprintf("%+d %s", count[line], line))
		}
	}
	return found
}
