package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/node"
)

const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// Lock is held by whoever brings a sandbox up or down, and then by its PID 1 for as long as it lives:
// a lock of an open file description goes with the descriptor to a child.
type Lock struct {
	file *os.File
	path string
}

// busy is what to say to whoever comes while another process holds the lock.
func busy(sandbox layout.Sandbox) error {
	return fmt.Errorf("sandbox %d is being started or stopped by another process: wait for it, and try again", sandbox.Number)
}

// Acquire takes a sandbox's lock. It fails where its PID 1 lives, or somebody is bringing it up or down.
func Acquire(sandbox layout.Sandbox) (*Lock, error) {
	for {
		lock := &Lock{path: lockPath(sandbox)}
		var err error
		if lock.file, err = os.OpenFile(lock.path, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
			return nil, err
		}
		err = unix.FcntlFlock(lock.file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if err == nil && lock.isCurrent() {
			// Whoever is named there is gone, and the number may be another process's by now.
			return lock, lock.file.Truncate(0)
		}
		lock.Release()
		if errors.Is(err, unix.EAGAIN) {
			return nil, busy(sandbox)
		}
		if err != nil {
			return nil, err
		}
	}
}

// isCurrent tells whether the path still leads to the file that is locked: the one who held it before
// may have removed it in between.
func (l *Lock) isCurrent() bool {
	locked, err := l.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(l.path)
	return err == nil && os.SameFile(locked, named)
}

// Release gives the lock up, unless a child has inherited it.
func (l *Lock) Release() { l.file.Close() }

// Remove ends the last trace of a sandbox in /run.
func (l *Lock) Remove() error { return os.Remove(l.path) }

// lockPath is outside the state folder, which may have to be removed while the lock is held, and in
// /run, since no lock lasts beyond the boot.
func lockPath(sandbox layout.Sandbox) string { return "/run/" + sandbox.Name() + ".lock" }

// Node is a running sandbox, as its lock tells.
type Node struct {
	// PID of its first process, outside its namespaces; 0 if it does not run.
	PID int `json:"pid"`
	// State is the folder that it writes to, and that is left when it was killed.
	State string `json:"state"`
}

// Find looks a sandbox up. It only looks, so that it is in nobody's way.
func Find(sandbox layout.Sandbox) (Node, error) {
	file, err := os.Open(lockPath(sandbox))
	if err != nil {
		return Node{}, ignoreMissing(err)
	}
	defer file.Close()
	held := unix.Flock_t{Type: unix.F_RDLCK}
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &held); err != nil {
		return Node{}, err
	}
	runs := held.Type != unix.F_UNLCK
	var found Node
	err = json.NewDecoder(file).Decode(&found)
	if runs && err != nil {
		return Node{}, busy(sandbox)
	}
	if !runs {
		found.PID = 0
	}
	return found, nil
}

// StartNode starts PID 1 in namespaces of its own and joins them to the machine's network. What PID 1
// has to say goes to init.log.
func StartNode(orders node.Orders, lock *Lock) (*exec.Cmd, error) {
	sandbox := orders.Sandbox
	if err := os.MkdirAll(sandbox.Path("log"), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(sandbox.Log("init"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command("/proc/self/exe", "init")
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{lock.file}
	command.SysProcAttr = &unix.SysProcAttr{Cloneflags: namespaces, Setsid: true}
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	defer input.Close()
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("making the namespaces: %w", err)
	}
	return command, connect(orders, lock, command.Process.Pid, input)
}

// connect tells others of the first process, gives it its network and then, last, its orders.
func connect(orders node.Orders, lock *Lock, pid int, input io.Writer) error {
	text, err := json.Marshal(Node{PID: pid, State: orders.Sandbox.State})
	if err != nil {
		return err
	}
	if _, err := lock.file.WriteAt(text, 0); err != nil {
		return err
	}
	if err := MakeNetwork(orders.Sandbox, pid); err != nil {
		return err
	}
	return json.NewEncoder(input).Encode(orders)
}

// Kill ends a sandbox's PID 1, and with it, by the kernel's word, every process of its namespaces. It
// returns when all are gone: a process descriptor is readable only after the namespace is emptied.
func Kill(pid int) error {
	descriptor, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(descriptor)
	if err := unix.PidfdSendSignal(descriptor, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	for {
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(descriptor), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// CleanUp removes what a sandbox whose processes are ended has left outside its state folder. It may
// be called when nothing is left. The cgroups go first: they tell other sandboxes that it is there.
func CleanUp(sandbox layout.Sandbox) error {
	return exclusively(func() error { return errors.Join(removeCgroups(sandbox), removeNetwork(sandbox)) })
}

// Leftovers tells whether a sandbox that was killed has left something on the machine.
func Leftovers(sandbox layout.Sandbox) bool {
	groups, err := sandboxCgroups(sandbox.Name())
	return err == nil && len(groups) > 0 || exec.Command("nft", "list", "table", "ip", sandbox.Name()).Run() == nil
}

// anySandboxes tells whether there is one on the machine, running or killed.
func anySandboxes() (bool, error) {
	groups, err := sandboxCgroups("imagechain-*")
	return len(groups) > 0, err
}

// sandboxCgroups finds the cgroups of the sandboxes whose name matches a pattern.
func sandboxCgroups(pattern string) ([]string, error) {
	mounts, err := cgroupMounts()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, mount := range mounts {
		groups, err := filepath.Glob(filepath.Join(mount.path, pattern))
		if err != nil {
			return nil, err
		}
		found = append(found, groups...)
	}
	return found, nil
}

// exclusively keeps sandboxes apart that start and end at once, where they change what all share. The
// lock is on /run itself, so that it leaves no file.
func exclusively(act func() error) error {
	run, err := os.Open("/run")
	if err != nil {
		return err
	}
	defer run.Close()
	if err := unix.Flock(int(run.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	return act()
}

// Inside is a command in a sandbox's namespaces, for example a client of containerd's socket.
func Inside(pid int, arguments ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--"}
	return exec.Command("nsenter", append(enter, arguments...)...)
}
