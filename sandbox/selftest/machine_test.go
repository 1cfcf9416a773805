package selftest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// machine is what a sandbox could change outside its namespaces: a set of lines for each aspect.
type machine map[string][]string

// processes may end by themselves meanwhile, those of others too: only new ones are ours.
const processes = "processes in other PID namespaces"

func observe(t *testing.T) machine {
	t.Helper()
	return machine{
		processes:  otherProcesses(t),
		"mounts":   readLines(t, "/proc/self/mountinfo"),
		"links":    listNames(t, "/sys/class/net"),
		"routes":   strings.Split(mustRun(t, exec.Command("ip", "route")), "\n"),
		"firewall": firewall(t),
		"sysctls":  sysctls(t),
		"cgroups":  cgroups(t),
		"/run":     listNames(t, "/run"),
	}
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
			if aspect != processes && !slices.Contains(after[aspect], line) {
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

// otherProcesses are those that are not in our own PID namespace.
func otherProcesses(t *testing.T) []string {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if namespace, err := os.Readlink(link); err == nil && namespace != own {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(link)), "cmdline"))
			found = append(found, fmt.Sprintf("%s %q", link, command))
		}
	}
	return found
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

// volatile sysctls move by themselves.
var volatile = regexp.MustCompile(`random/|ns_last_pid|/pty/nr|file-nr|inode-|/quota/|dentry-state|aio-nr|sched_domain|perf_event_max_sample_rate|stat_refresh|/neigh/|/conf/|drop_caches|compact_memory|/route/flush|panic_print|nr_|/usermodehelper|tcp_mem|udp_mem|tcp_fastopen_key|netdev_rss_key`)

func sysctls(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, root := range []string{"/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/fs", "/proc/sys/net/ipv4", "/proc/sys/net/bridge"} {
		_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || volatile.MatchString(path) {
				return nil
			}
			if value, err := os.ReadFile(path); err == nil {
				found = append(found, path+" = "+strings.TrimSpace(string(value)))
			}
			return nil
		})
	}
	if len(found) < 50 {
		t.Fatalf("only %d sysctls could be read", len(found))
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
