// Package node is what runs inside the sandbox's namespaces: their PID 1, which makes the mounts,
// the network and the configuration files of the node, and then keeps its programs running.
package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/patience"
	"imagechain.dev/sandbox/internal/pki"
	"imagechain.dev/sandbox/internal/programs"
	"imagechain.dev/sandbox/internal/supervisor"
)

// Orders are what the host tells PID 1, on its standard input.
type Orders struct {
	Sandbox  layout.Sandbox `json:"sandbox"`
	Programs programs.Set   `json:"programs"`
	// Resolver is the resolv.conf of node and pods.
	Resolver string `json:"resolver"`
}

// Report is the file, below the state folder, with the status of every program.
const Report = "programs.json"

// Run is PID 1. It returns only what keeps it from starting.
func Run(input io.Reader) error {
	if os.Getpid() != 1 {
		return errors.New("this is the first process of a sandbox's namespaces: elsewhere it would hide the machine's own folders")
	}
	// The input ends when the host has made the link: until then there is no network to set up.
	var orders Orders
	if err := json.NewDecoder(input).Decode(&orders); err != nil {
		return fmt.Errorf("reading the orders: %w", err)
	}
	// The lock, which says that this sandbox runs, must not outlive us in a child.
	unix.CloseOnExec(LockFile)
	for _, step := range []func(Orders) error{makeMounts, setHostName, makeNetwork, configure} {
		if err := step(orders); err != nil {
			return err
		}
	}
	return supervise(orders.Sandbox)
}

// LockFile is the descriptor under which PID 1 inherits the sandbox's lock.
const LockFile = 3

func setHostName(orders Orders) error { return unix.Sethostname([]byte(orders.Sandbox.Name())) }

func makeNetwork(orders Orders) error {
	sandbox := orders.Sandbox
	for _, arguments := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", sandbox.NodeIP() + "/30", "dev", "eth0"},
		{"link", "set", "eth0", "up"},
		{"route", "add", "default", "via", sandbox.HostIP()},
	} {
		if text, err := exec.Command("ip", arguments...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %s", strings.Join(arguments, " "), text)
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
}

func configure(orders Orders) error { return writeConfig(orders.Sandbox) }

func supervise(sandbox layout.Sandbox) error {
	keeper := supervisor.New(layout.InsideState+"/log", layout.InsideState+"/"+Report, environment(sandbox))
	if err := startAll(keeper, first(sandbox)); err != nil {
		return err
	}
	client, err := pki.Client(insidePKI, "admin")
	if err != nil {
		return err
	}
	// Without this wait they would fail, be started again later and later, and the node be Ready late.
	for !answers(client, sandbox.APIServer()+"/readyz") || !listens("/run/containerd/containerd.sock") {
		time.Sleep(patience.Of(50 * time.Millisecond))
	}
	if err := startAll(keeper, second(sandbox)); err != nil {
		return err
	}
	// The machine's shutdown asks politely first.
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	<-asked
	return nil
}

// startAll does not wait for those that are still being built.
func startAll(keeper *supervisor.Supervisor, programs []supervisor.Program) error {
	for _, each := range programs {
		if err := keeper.StartWhenThere(each); err != nil {
			return err
		}
	}
	return nil
}

func answers(client *http.Client, url string) bool {
	answer, err := client.Get(url)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func listens(socket string) bool {
	connection, err := net.Dial("unix", socket)
	if err == nil {
		connection.Close()
	}
	return err == nil
}
