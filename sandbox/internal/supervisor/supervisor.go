// Package supervisor keeps the programs of a sandbox running, as PID 1 of its namespaces: it starts
// them, starts again what ends, reaps what is orphaned, and writes down how each is doing.
package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Program is what to run.
type Program struct {
	Name string `json:"name"`
	// Arguments begin with the absolute path of the executable.
	Arguments []string `json:"arguments"`
}

// Status is how a program is doing.
type Status struct {
	Name string `json:"name"`
	// PID inside the namespaces, 0 while it does not run.
	PID      int       `json:"pid"`
	Since    time.Time `json:"since"`
	Restarts int       `json:"restarts"`
	// Ended says how it ended last; empty if it never did.
	Ended string `json:"ended,omitempty"`
}

// restartDelay grows with each end that follows a start by less than settled.
const (
	firstDelay = 500 * time.Millisecond
	lastDelay  = 10 * time.Second
	settled    = 30 * time.Second
)

// Supervisor runs programs until its process ends.
type Supervisor struct {
	logs        string
	report      string
	environment []string

	lock     sync.Mutex
	running  map[int]*child
	statuses []Status
}

type child struct {
	program Program
	index   int
	delay   time.Duration
}

// New makes a supervisor that writes NAME.log files into a folder and the statuses into a file, and gives
// all programs the same environment. It must be the only one in its process that waits for children.
func New(logs, report string, environment []string) *Supervisor {
	s := &Supervisor{logs: logs, report: report, environment: environment, running: map[int]*child{}}
	go s.reap()
	return s
}

// Start runs a program for good.
func (s *Supervisor) Start(program Program) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.statuses = append(s.statuses, Status{Name: program.Name})
	return s.start(&child{program: program, index: len(s.statuses) - 1, delay: firstDelay})
}

// Awaited is what a program's status says while its executable is not there yet.
const Awaited = "it is still being built"

// look is how long it takes to see that an executable is there.
const look = 200 * time.Millisecond

// StartWhenThere runs a program for good from the moment at which its executable is there.
func (s *Supervisor) StartWhenThere(program Program) error {
	if there(program) {
		return s.Start(program)
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.statuses = append(s.statuses, Status{Name: program.Name, Since: time.Now(), Ended: Awaited})
	s.complain(s.write())
	go s.await(&child{program: program, index: len(s.statuses) - 1, delay: firstDelay})
	return nil
}

func (s *Supervisor) await(child *child) {
	for !there(child.program) {
		time.Sleep(look)
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.statuses[child.index].Ended = ""
	s.startOrRetry(child)
}

func there(program Program) bool {
	_, err := os.Stat(program.Arguments[0])
	return err == nil
}

// start needs the lock: the reaper must not see the end of a child that is not in the table yet.
func (s *Supervisor) start(child *child) error {
	log, err := os.OpenFile(filepath.Join(s.logs, child.program.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(child.program.Arguments[0], child.program.Arguments, &syscall.ProcAttr{
		Dir:   "/",
		Env:   s.environment,
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		// A process group of its own, so that a signal to it does not reach the others.
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("starting %s (%s): %w", child.program.Name, child.program.Arguments[0], err)
	}
	s.running[pid] = child
	status := &s.statuses[child.index]
	status.PID, status.Since = pid, time.Now()
	// It runs, whether that can be written down or not: a full disk must not start it twice.
	s.complain(s.write())
	return nil
}

// reap waits for every child, its own and adopted ones, for ever.
func (s *Supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			// No children yet: nothing tells when the first one comes.
			time.Sleep(20 * time.Millisecond)
		default:
			s.ended(pid, status)
		}
	}
}

func (s *Supervisor) ended(pid int, how syscall.WaitStatus) {
	s.lock.Lock()
	defer s.lock.Unlock()
	child, ours := s.running[pid]
	if !ours {
		return
	}
	delete(s.running, pid)
	status := &s.statuses[child.index]
	if time.Since(status.Since) > settled {
		child.delay = firstDelay
	}
	status.PID, status.Since, status.Ended = 0, time.Now(), describe(how)
	s.complain(s.write())
	time.AfterFunc(child.delay, func() { s.again(child) })
	child.delay = min(2*child.delay, lastDelay)
}

func (s *Supervisor) again(child *child) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.statuses[child.index].Restarts++
	s.startOrRetry(child)
}

// startOrRetry needs the lock.
func (s *Supervisor) startOrRetry(child *child) {
	if err := s.start(child); err != nil {
		s.statuses[child.index].Ended = err.Error()
		s.complain(s.write())
		time.AfterFunc(lastDelay, func() { s.again(child) })
	}
}

func describe(how syscall.WaitStatus) string {
	if how.Signaled() {
		return "killed: " + how.Signal().String()
	}
	return fmt.Sprintf("exit status %d", how.ExitStatus())
}

func (s *Supervisor) write() error {
	text, err := json.MarshalIndent(s.statuses, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.report+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(s.report+".new", s.report)
}

// complain is for what must not end the supervisor: its standard error is a log file.
func (s *Supervisor) complain(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// Read reads the statuses that a supervisor has written.
func Read(report string) ([]Status, error) {
	text, err := os.ReadFile(report)
	if err != nil {
		return nil, err
	}
	var statuses []Status
	if err := json.Unmarshal(text, &statuses); err != nil {
		return nil, fmt.Errorf("%s: %w", report, err)
	}
	slices.SortFunc(statuses, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return statuses, nil
}
