// Package layout holds the names, addresses and paths of a sandbox. Everything follows from its
// number and the folder that keeps its state.
package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MaxNumber bounds the number of a sandbox, so that the name stays a valid link name (15 bytes).
const MaxNumber = 99

// StateFormat changes when a sandbox can no longer start on the state of an earlier one.
const StateFormat = "1"

// Paths inside the sandbox's own mount namespace: the same on every machine, so the programs'
// settings hold no path of the machine.
const (
	InsideRoot     = "/run/sandbox"
	InsideState    = InsideRoot + "/state"
	InsideConfig   = InsideRoot + "/config"
	InsideCNI      = InsideRoot + "/cni"
	InsidePrograms = InsideRoot + "/programs"
)

// Ports of the node.
const (
	APIServerPort = 6443
	RegistryPort  = 5000
	GitPort       = 8000
)

// Sandbox is one of the machine's sandboxes.
type Sandbox struct {
	// Number, 0 to MaxNumber, picks the network and the names.
	Number int
	// State is the folder on the host that holds all that the sandbox writes.
	State string
}

// New finds the sandbox of a number; its state lies under SANDBOX_STATE, or the user's state folder.
func New(number int) (Sandbox, error) {
	if number < 0 || number > MaxNumber {
		return Sandbox{}, fmt.Errorf("there is no sandbox %d: choose a number from 0 to %d", number, MaxNumber)
	}
	base, err := stateBase()
	if err != nil {
		return Sandbox{}, err
	}
	return Sandbox{Number: number, State: filepath.Join(base, fmt.Sprintf("sandbox-%d", number))}, nil
}

func stateBase() (string, error) {
	if chosen := os.Getenv("SANDBOX_STATE"); chosen != "" {
		return filepath.Abs(chosen)
	}
	return userFolder("XDG_STATE_HOME", ".local/state")
}

// CacheBase is the folder for what is built once: programs and base images.
func CacheBase() (string, error) { return userFolder("XDG_CACHE_HOME", ".cache") }

func userFolder(variable, underHome string) (string, error) {
	if chosen := os.Getenv(variable); filepath.IsAbs(chosen) {
		return filepath.Join(chosen, "imagechain"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: set HOME or %s", err, variable)
	}
	return filepath.Join(home, underHome, "imagechain"), nil
}

// Name is that of the host's link, the cgroup, the nftables table, the node and the host name.
func (s Sandbox) Name() string { return fmt.Sprintf("imagechain-%d", s.Number) }

// HostIP is the host's end of the link to the node.
func (s Sandbox) HostIP() string { return fmt.Sprintf("10.201.%d.1", s.Number) }

// NodeIP is the node's address; API server, registry, git server and DNS listen there.
func (s Sandbox) NodeIP() string { return fmt.Sprintf("10.201.%d.2", s.Number) }

// LinkNet is the network of the link between host and node.
func (s Sandbox) LinkNet() string { return fmt.Sprintf("10.201.%d.0/30", s.Number) }

// PodNet is the network of the pods.
func (s Sandbox) PodNet() string { return fmt.Sprintf("10.202.%d.0/24", s.Number) }

// ServiceNet is the network of the ClusterIPs.
func (s Sandbox) ServiceNet() string { return fmt.Sprintf("10.203.%d.0/24", s.Number) }

// KubernetesIP is the ClusterIP of the `kubernetes` Service: the first of ServiceNet.
func (s Sandbox) KubernetesIP() string { return fmt.Sprintf("10.203.%d.1", s.Number) }

// APIServer is the API server's URL, the same from host, node and pods.
func (s Sandbox) APIServer() string { return fmt.Sprintf("https://%s:%d", s.NodeIP(), APIServerPort) }

// Registry is host:port of the registry, the same from host, node and pods.
func (s Sandbox) Registry() string { return fmt.Sprintf("%s:%d", s.NodeIP(), RegistryPort) }

// GitServer is the base URL of the git server, the same from host, node and pods.
func (s Sandbox) GitServer() string { return fmt.Sprintf("http://%s:%d", s.NodeIP(), GitPort) }

// BuildKit is the address of buildkitd: a socket, since whoever reaches it is root on the node.
func (s Sandbox) BuildKit() string { return "unix://" + s.Path("buildkit.sock") }

// Direct are the addresses that must not be asked for through a proxy of the environment, as NO_PROXY
// lists them, behind what it lists already.
func (s Sandbox) Direct(already string) string {
	own := []string{"127.0.0.1", "localhost", s.NodeIP(), s.HostIP(), s.PodNet(), s.ServiceNet(), ".svc", ".cluster.local"}
	if already != "" {
		own = append([]string{already}, own...)
	}
	return strings.Join(own, ",")
}

// Kubeconfig is the admin's kubeconfig.
func (s Sandbox) Kubeconfig() string { return s.Path("kubeconfig") }

// Path is a path below the state folder, as the host sees it.
func (s Sandbox) Path(parts ...string) string {
	return filepath.Join(append([]string{s.State}, parts...)...)
}

// Log is where a program of the sandbox writes, as the host sees it.
func (s Sandbox) Log(program string) string { return s.Path("log", program+".log") }

// manifest says whose state a folder holds.
type manifest struct {
	Format string `json:"format"`
	Number int    `json:"number"`
}

var (
	// ErrForeignState means that the state folder holds something that is no sandbox's state.
	ErrForeignState = errors.New("it holds something else than a sandbox's state")
	// ErrOtherState means that it holds the state of another version, or of another sandbox.
	ErrOtherState = errors.New("it holds the state of another version of the sandbox")
)

// HasState tells whether there is state to start on; ErrForeignState or ErrOtherState if it will not do.
func (s Sandbox) HasState() (bool, error) {
	entries, err := os.ReadDir(s.State)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(entries) == 0) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, s.checkManifest()
}

func (s Sandbox) checkManifest() error {
	text, err := os.ReadFile(s.manifestPath())
	if errors.Is(err, fs.ErrNotExist) {
		return ErrForeignState
	}
	if err != nil {
		return err
	}
	var found manifest
	if json.Unmarshal(text, &found) != nil || found != (manifest{StateFormat, s.Number}) {
		return ErrOtherState
	}
	return nil
}

// ClaimState makes the state folder and marks it as ours. The mark is written once and is whole or not
// there: a kill in between must not make the state unusable.
func (s Sandbox) ClaimState() error {
	if known, err := s.HasState(); known || err != nil {
		return err
	}
	if err := os.MkdirAll(s.State, 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(manifest{StateFormat, s.Number})
	if err != nil {
		return err
	}
	unfinished := s.State + ".new"
	if err := os.WriteFile(unfinished, text, 0o644); err != nil {
		return err
	}
	return os.Rename(unfinished, s.manifestPath())
}

func (s Sandbox) manifestPath() string { return s.Path("sandbox.json") }
