// Package host is what the sandbox does to the machine outside its namespaces: it looks whether
// the machine will do, makes the link, the firewall rules and the cgroups, and takes them away.
package host

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/layout"
)

// What a sandbox needs, in bytes. Measured: Go's caches grow by 7 GiB when everything is compiled, its
// programs and base images take 0.6 GiB; 0.5 GiB of memory idle.
const (
	stateNeeds  = 4 << 30
	cacheNeeds  = 1 << 30
	buildNeeds  = 10 << 30
	memoryNeeds = 2 << 30
)

// Problem is one thing that the machine lacks, as a sentence that says what to do.
type Problem string

// Preflight looks whether a sandbox can start here, before anything is changed. mustBuild says that
// programs have to be compiled first.
func Preflight(sandbox layout.Sandbox, mustBuild bool) []Problem {
	checks := []func(layout.Sandbox) error{
		checkState, checkOverlay, checkCgroups, checkAddresses, checkResolver, checkMemory, checkStateSpace, checkCacheSpace,
	}
	if mustBuild {
		checks = append(checks, checkBuildSpace)
	}
	return failures(sandbox, checks)
}

// RequireRoot says what to do where it is somebody else.
func RequireRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("it makes namespaces, links and cgroups and so must be run as root: use sudo, or a machine on which you are root")
	}
	return nil
}

// PreflightTools is the part of Preflight that runs programs of the packages of EnsurePackages.
func PreflightTools(sandbox layout.Sandbox) []Problem {
	return failures(sandbox, []func(layout.Sandbox) error{checkNftables})
}

func failures(sandbox layout.Sandbox, checks []func(layout.Sandbox) error) []Problem {
	var problems []Problem
	for _, check := range checks {
		if err := check(sandbox); err != nil {
			problems = append(problems, Problem(err.Error()))
		}
	}
	return problems
}

func checkState(sandbox layout.Sandbox) error {
	const elsewhere = "or keep the state elsewhere with SANDBOX_STATE=FOLDER"
	_, err := sandbox.HasState()
	switch {
	case errors.Is(err, layout.ErrForeignState):
		return fmt.Errorf("%s is in the way: %w: move it away, %s", sandbox.State, err, elsewhere)
	case errors.Is(err, layout.ErrOtherState):
		return fmt.Errorf("%s is in the way: %w: remove it with `make sandbox-down SANDBOX=%d`, %s", sandbox.State, err, sandbox.Number, elsewhere)
	}
	return err
}

func checkOverlay(layout.Sandbox) error {
	loadModules("overlay")
	filesystems, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	if !bytes.Contains(filesystems, []byte("\toverlay\n")) {
		return errors.New("the kernel has no overlayfs, which containerd keeps images in: load the module (`modprobe overlay`) or use a kernel that has it")
	}
	return nil
}

func checkNftables(layout.Sandbox) error {
	loadModules("nf_tables", "nft_chain_nat", "veth", "bridge")
	loadBridgeFilter()
	if text, err := exec.Command("nft", "list", "tables").CombinedOutput(); err != nil {
		return fmt.Errorf("nftables, which Services need, do not work here (`nft list tables`: %s): install the package nftables and use a kernel with CONFIG_NF_TABLES", firstLine(text, err))
	}
	if _, err := os.Stat("/proc/sys/net/bridge"); err != nil {
		return errors.New("the kernel has no br_netfilter, without which a pod cannot reach its neighbours through a Service: load the module (`modprobe br_netfilter`)")
	}
	return nil
}

// loadModules tries: where the kernel has no modules all is built in, or the checks will tell.
func loadModules(names ...string) {
	for _, name := range names {
		_ = exec.Command("modprobe", "--quiet", name).Run()
	}
}

// loadBridgeFilter loads br_netfilter for the node's network namespace, where it is on by default. In the
// machine's own it stays off: else its other bridges (docker's, libvirt's) would be filtered from now on.
func loadBridgeFilter() {
	const switches = "/proc/sys/net/bridge"
	if _, err := os.Stat(switches); err == nil {
		return
	}
	loadModules("br_netfilter")
	for _, protocol := range []string{"iptables", "ip6tables", "arptables"} {
		_ = os.WriteFile(switches+"/bridge-nf-call-"+protocol, []byte("0"), 0)
	}
}

func checkCgroups(layout.Sandbox) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		if mount.writable && (mount.unified || mount.has("memory")) {
			return nil
		}
	}
	return errors.New("no writable cgroup tree is mounted below /sys/fs/cgroup, so pods could not be limited: run it on a machine or in a container that has one (`docker run --privileged`)")
}

func checkAddresses(sandbox layout.Sandbox) error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, each := range interfaces {
		if each.Name == sandbox.Name() {
			continue
		}
		if address := overlapping(each, sandbox); address != nil {
			return fmt.Errorf("the network of sandbox %d is in use here (%s on %s): choose another number, for example `make sandbox SANDBOX=%d`", sandbox.Number, address, each.Name, (sandbox.Number+1)%(layout.MaxNumber+1))
		}
	}
	return nil
}

func overlapping(link net.Interface, sandbox layout.Sandbox) net.Addr {
	addresses, err := link.Addrs()
	if err != nil {
		return nil
	}
	for _, address := range addresses {
		_, theirs, err := net.ParseCIDR(address.String())
		if err != nil {
			continue
		}
		for _, ours := range []string{sandbox.LinkNet(), sandbox.PodNet(), sandbox.ServiceNet()} {
			if _, network, err := net.ParseCIDR(ours); err == nil && (network.Contains(theirs.IP) || theirs.Contains(network.IP)) {
				return address
			}
		}
	}
	return nil
}

// unfit are file systems on which containerd cannot stack its layers.
var unfit = map[int64]string{unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.NFS_SUPER_MAGIC: "NFS"}

func checkStateSpace(sandbox layout.Sandbox) error {
	const advice = "keep the state elsewhere with SANDBOX_STATE=FOLDER"
	space, err := statfs(sandbox.State)
	if err != nil {
		return err
	}
	if name, is := unfit[int64(space.Type)]; is {
		return fmt.Errorf("%s is on %s, on which containers cannot be stacked: %s", sandbox.State, name, advice)
	}
	return checkSpace(sandbox.State, stateNeeds, advice)
}

func checkCacheSpace(layout.Sandbox) error {
	cache, err := layout.CacheBase()
	if err != nil {
		return err
	}
	return checkSpace(cache, cacheNeeds, "put the cache elsewhere with XDG_CACHE_HOME=FOLDER")
}

func checkMemory(layout.Sandbox) error {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		var free uint64
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &free); err == nil && free<<10 < memoryNeeds {
			return fmt.Errorf("%d MiB of memory are free and %d MiB are needed: end something, or use a larger machine", free>>10, memoryNeeds>>20)
		}
	}
	return nil
}

func checkBuildSpace(layout.Sandbox) error {
	for variable, advice := range map[string]string{"GOCACHE": "set GOCACHE", "GOMODCACHE": "set GOMODCACHE"} {
		folder, err := exec.Command("go", "env", variable).Output()
		if err != nil {
			return fmt.Errorf("`go env %s`: %w", variable, err)
		}
		if err := checkSpace(strings.TrimSpace(string(folder)), buildNeeds, advice); err != nil {
			return err
		}
	}
	return nil
}

func checkSpace(folder string, needed uint64, advice string) error {
	space, err := statfs(folder)
	if err != nil {
		return err
	}
	if free := space.Bavail * uint64(space.Bsize); free < needed {
		return fmt.Errorf("the disk of %s has %d MiB free and %d MiB are needed: make room, or %s", folder, free>>20, needed>>20, advice)
	}
	return nil
}

// statfs looks at the file system that a folder, which need not exist yet, is or will be on.
func statfs(folder string) (unix.Statfs_t, error) {
	existing := folder
	for {
		if _, err := os.Stat(existing); err == nil || existing == filepath.Dir(existing) {
			break
		}
		existing = filepath.Dir(existing)
	}
	var space unix.Statfs_t
	if err := unix.Statfs(existing, &space); err != nil {
		return space, fmt.Errorf("statfs %s: %w", existing, err)
	}
	return space, nil
}

func firstLine(text []byte, err error) string {
	if line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n"); line != "" {
		return line
	}
	return err.Error()
}
