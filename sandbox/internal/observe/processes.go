// Package observe looks at processes, control groups and mounts of a machine, from the outside.
package observe

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is one of this machine; those of a sandbox are among them.
type Process struct {
	ID, Parent            int
	Name, Command, Groups string
	// Space is its PID namespace.
	Space string
}

// Is tells whether its command line holds some words.
func (p Process) Is(words string) bool { return strings.Contains(p.Command, words) }

// Processes are all that run.
func Processes() ([]Process, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, folder := range folders {
		if read, there := readProcess(folder); there {
			found = append(found, read)
		}
	}
	return found, nil
}

// readProcess tells nothing of one that has ended meanwhile.
func readProcess(folder string) (Process, bool) {
	id, err := strconv.Atoi(filepath.Base(folder))
	if err != nil {
		return Process{}, false
	}
	read := func(file string) string {
		text, _ := os.ReadFile(filepath.Join(folder, file)) // It may have ended.
		return strings.TrimSpace(string(bytes.ReplaceAll(text, []byte{0}, []byte(" "))))
	}
	made := Process{ID: id, Name: read("comm"), Command: read("cmdline"), Groups: read("cgroup")}
	made.Space, _ = os.Readlink(filepath.Join(folder, "ns", "pid"))
	made.Parent, err = parent(read("stat"))
	return made, err == nil
}

// parent reads /proc/PID/stat: number, name in brackets, which may hold anything, state, parent.
func parent(stat string) (int, error) {
	var state string
	var found int
	_, err := fmt.Sscanf(stat[strings.LastIndex(stat, ")")+1:], " %1s %d", &state, &found)
	return found, err
}

// Inner is a process of a container that the engine of a build has started.
type Inner struct {
	Process
	// Engine is the group of the engine's container.
	Engine string
	// Stage is the one that runs in its pod; empty between two.
	Stage string
}

// Container is the ID of its container, where its group is where it must be: below that of the engine's container.
func (i Inner) Container() (string, bool) {
	below, is := strings.CutPrefix(i.Groups, i.Engine+"/docker/")
	container, _, _ := strings.Cut(below, "/")
	return container, is
}

// FindInner finds them by the tree of processes and by their PID namespaces, wherever their groups are. Those of
// the engine itself are not among them.
func FindInner(all []Process) []Inner {
	byID := map[int]Process{}
	for _, each := range all {
		byID[each.ID] = each
	}
	stages := stagesOf(all)
	var found []Inner
	for _, each := range all {
		engine, below := engineAbove(each, byID)
		if !below || each.Space == engine.Space {
			continue
		}
		group := strings.TrimSuffix(engine.Groups, "/engine")
		found = append(found, Inner{each, group, stages[filepath.Dir(group)]})
	}
	return found
}

// engineAbove is the first process of the engine's container that a process descends from.
func engineAbove(from Process, byID map[int]Process) (Process, bool) {
	for at, there := from, true; there; at, there = byID[at.Parent] {
		if at.Is("runner engine") && !at.Is("--check") {
			return at, true
		}
	}
	return Process{}, false
}

// stagesOf tells by a pod's group which stage runs in it.
func stagesOf(all []Process) map[string]string {
	found := map[string]string{}
	for _, each := range all {
		for _, stage := range []string{"build", "verify"} {
			if each.Is("runner " + stage) {
				found[filepath.Dir(each.Groups)] = stage
			}
		}
	}
	return found
}
