package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"imagechain.dev/sandbox/internal/layout"
)

const forwardSwitch = "/proc/sys/net/ipv4/ip_forward"

// MakeNetwork joins the network namespace of a process to the machine: a link, routes to pods and
// Services, and masquerading for what leaves the machine.
func MakeNetwork(sandbox layout.Sandbox, pid int) error {
	return exclusively(func() error { return makeNetwork(sandbox, pid) })
}

func makeNetwork(sandbox layout.Sandbox, pid int) error {
	if err := enableForwarding(); err != nil {
		return err
	}
	name := sandbox.Name()
	for _, arguments := range [][]string{
		{"link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(pid)},
		{"addr", "add", sandbox.HostIP() + "/30", "dev", name},
		{"link", "set", name, "up"},
		{"route", "add", sandbox.PodNet(), "via", sandbox.NodeIP()},
		{"route", "add", sandbox.ServiceNet(), "via", sandbox.NodeIP()},
	} {
		if err := run("ip", arguments...); err != nil {
			return err
		}
	}
	return allowForwarding(sandbox)
}

// allowForwarding adds a table of our own, which goes with one command. Where another table drops
// what it does not know (docker sets iptables' FORWARD to DROP), an accept in ours would not help:
// there the two rules go into that chain, marked with our name.
func allowForwarding(sandbox layout.Sandbox) error {
	name := sandbox.Name()
	rules := fmt.Sprintf(`table ip %[1]s {
	chain postrouting {
		type nat hook postrouting priority srcnat
		ip saddr %[2]s oifname != "%[1]s" masquerade
	}
}`, name, sandbox.LinkNet())
	command := exec.Command("nft", "-f", "-")
	command.Stdin = strings.NewReader(rules)
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %s", firstLine(text, err))
	}
	if chain := forwardChain(); !strings.Contains(chain, "policy drop") && !strings.Contains(chain, "-P FORWARD DROP") {
		return nil
	}
	return errors.Join(iptablesForward(sandbox, "-I", "-i"), iptablesForward(sandbox, "-I", "-o"))
}

// forwardChain is iptables' FORWARD chain as both of its back ends have it; empty where there is none.
// It looks through nft, since a look through iptables would itself make iptables' tables; the legacy
// back end, which nft does not see, names its tables in /proc.
func forwardChain() string {
	chain, err := exec.Command("nft", "list", "chain", "ip", "filter", "FORWARD").Output()
	if err != nil {
		chain = nil
	}
	tables, err := os.ReadFile("/proc/net/ip_tables_names")
	if err != nil || !strings.Contains(string(tables), "filter") {
		return string(chain)
	}
	rules, err := exec.Command("iptables-legacy", "-w", "-S", "FORWARD").Output()
	if err != nil {
		return string(chain)
	}
	return string(chain) + string(rules)
}

func iptablesForward(sandbox layout.Sandbox, action, direction string) error {
	name := sandbox.Name()
	return run("iptables", "-w", action, "FORWARD", direction, name, "-m", "comment", "--comment", name, "-j", "ACCEPT")
}

// removeNetwork takes away what MakeNetwork made, as far as it is there.
func removeNetwork(sandbox layout.Sandbox) error {
	name := sandbox.Name()
	var failed error
	if exec.Command("nft", "list", "table", "ip", name).Run() == nil {
		failed = errors.Join(failed, run("nft", "delete", "table", "ip", name))
	}
	// Whatever the chain's policy is by now.
	if strings.Contains(forwardChain(), name) {
		for _, direction := range []string{"-i", "-o"} {
			for iptablesForward(sandbox, "-C", direction) == nil {
				failed = errors.Join(failed, iptablesForward(sandbox, "-D", direction))
			}
		}
	}
	return errors.Join(failed, removeLink(name), restoreForwarding())
}

// removeLink is content when the kernel, which removes the link with its network namespace, was faster.
func removeLink(name string) error {
	if _, err := net.InterfaceByName(name); err != nil {
		return nil
	}
	err := run("ip", "link", "delete", name)
	if _, missing := net.InterfaceByName(name); missing != nil {
		return nil
	}
	return err
}

// rememberedForwarding is where the first sandbox that changes the switch puts its old value, and the
// last to go finds it. In /run, since the switch too lasts until the next boot.
const rememberedForwarding = "/run/imagechain-sandbox.ip_forward"

func enableForwarding() error {
	old, err := os.ReadFile(forwardSwitch)
	if err != nil || strings.TrimSpace(string(old)) == "1" {
		return err
	}
	if err := os.WriteFile(rememberedForwarding, old, 0o644); err != nil {
		return err
	}
	return os.WriteFile(forwardSwitch, []byte("1"), 0)
}

func restoreForwarding() error {
	if others, err := anySandboxes(); err != nil || others {
		return err
	}
	old, err := os.ReadFile(rememberedForwarding)
	if err != nil {
		return ignoreMissing(err)
	}
	return errors.Join(os.WriteFile(forwardSwitch, old, 0), os.Remove(rememberedForwarding))
}

func run(name string, arguments ...string) error {
	if text, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %s", name, strings.Join(arguments, " "), firstLine(text, err))
	}
	return nil
}
