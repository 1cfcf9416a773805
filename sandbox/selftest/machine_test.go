package selftest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// machine is what the self-test's sandboxes could change outside their namespaces: a set of lines for
// each aspect. Other sandboxes, docker and whoever else is on the machine may do as they like meanwhile.
type machine map[string][]string

// ours finds the self-test's sandboxes by name, address and state folder.
var ours = regexp.MustCompile(`imagechain-9[0-2]\b|sandbox-9[0-2]\b|10\.20[123]\.9[0-2]\.`)

func observe(t *testing.T) machine {
	t.Helper()
	return machine{
		"mounts":   onlyOurs(readLines(t, "/proc/self/mountinfo")),
		"links":    onlyOurs(listNames(t, "/sys/class/net")),
		"routes":   onlyOurs(strings.Split(mustRun(t, exec.Command("ip", "route")), "\n")),
		"firewall": onlyOurs(firewall(t)),
		"cgroups":  onlyOurs(cgroups(t)),
		"/run":     onlyOurs(listNames(t, "/run")),
		"sysctls":  sysctls(t),
		"shared":   shared(t),
	}
}

var anySandbox = regexp.MustCompile(`/imagechain-\d+$`)

// shared is what all sandboxes have in common, as it is to be when none is there: the first one notes
// in /run what it changes, the last one puts it back, and others come and go between two looks.
func shared(t *testing.T) []string {
	t.Helper()
	// While this is locked no sandbox makes or removes its cgroups, or changes what is shared.
	run, err := os.Open("/run")
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	if err := unix.Flock(int(run.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	notes, err := filepath.Glob("/run/imagechain-sandbox.*")
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) > 0 && !slices.ContainsFunc(cgroups(t), anySandbox.MatchString) {
		return notes
	}
	if forwarding := "/run/imagechain-sandbox.ip_forward"; slices.Contains(notes, forwarding) {
		return readLines(t, forwarding)
	}
	return readLines(t, "/proc/sys/net/ipv4/ip_forward")
}

func onlyOurs(lines []string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return !ours.MatchString(line) })
}

func (m machine) mustEqual(t *testing.T, after machine) {
	t.Helper()
	for aspect, before := range m {
		for _, line := range after[aspect] {
			if !slices.Contains(before, line) {
				t.Errorf("%s: new: %s", aspect, line)
			}
		}
		for _, line := range before {
			if !slices.Contains(after[aspect], line) {
				t.Errorf("%s: gone: %s", aspect, line)
			}
		}
	}
}

func readLines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

func listNames(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// processesIn finds the processes of a PID namespace, given as /proc/PID/ns/pid reads; a dead one that
// its parent, the machine's first process, has not collected yet does not count.
func processesIn(t *testing.T, namespace string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(links, func(link string) bool {
		found, err := os.Readlink(link)
		if err != nil || found != namespace {
			return true
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(link)), "status"))
		return err != nil || strings.Contains(string(status), "State:\tZ")
	})
}

var handles = regexp.MustCompile(` # handle \d+|packets \d+ bytes \d+`)

func firewall(t *testing.T) []string {
	t.Helper()
	rules := mustRun(t, exec.Command("nft", "list", "ruleset"))
	// iptables' older back end, which nft does not show. To ask it makes its tables: only if they are there.
	if tables, err := os.ReadFile("/proc/net/ip_tables_names"); err == nil && len(tables) > 0 {
		rules += mustRun(t, exec.Command("iptables-legacy-save"))
	}
	return strings.Split(handles.ReplaceAllString(rules, ""), "\n")
}

// touched are the sysctls of the machine that the node's programs would set, or that forwarding needs.
var touched = []string{
	"kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	"vm/overcommit_memory", "vm/panic_on_oom", "net/ipv4/conf/all/route_localnet",
	"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables", "net/bridge/bridge-nf-call-arptables",
}

func sysctls(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, name := range touched {
		if value, err := os.ReadFile("/proc/sys/" + name); err == nil {
			found = append(found, name+" = "+strings.TrimSpace(string(value)))
		}
	}
	if len(found) < 5 {
		t.Fatalf("only %v could be read", found)
	}
	return found
}

func cgroups(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
