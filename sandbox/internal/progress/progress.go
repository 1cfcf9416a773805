// Package progress prints what takes long: which step of how many, for how long. On a terminal the
// running step is one line that is written over; elsewhere it says so every now and then.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Quiet is how long a step may run before it says something where there is no terminal.
const Quiet = 20 * time.Second

// Printer prints the steps of one piece of work. Its methods may be called from several goroutines.
type Printer struct {
	out      io.Writer
	terminal bool
	started  time.Time
	now      func() time.Time
}

// New prints to the given file.
func New(out *os.File) *Printer {
	return &Printer{out: out, terminal: IsTerminal(out), started: time.Now(), now: time.Now}
}

// IsTerminal tells whether what is printed can be written over.
func IsTerminal(out *os.File) bool {
	info, err := out.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Say prints one line behind the time that has passed since the start.
func (p *Printer) Say(format string, arguments ...any) {
	fmt.Fprintf(p.out, "%s  %s\n", p.Clock(), fmt.Sprintf(format, arguments...))
}

// Clock is the time that has passed since the start, as Say prints it.
func (p *Printer) Clock() string { return Clock(p.now().Sub(p.started)) }

// Clock formats a duration as m:ss, padded to six.
func Clock(elapsed time.Duration) string {
	seconds := int(elapsed.Round(time.Second).Seconds())
	return fmt.Sprintf("%3d:%02d", seconds/60, seconds%60)
}

// Step is one running step.
type Step struct {
	printer *Printer
	title   string
	started time.Time
	stop    chan struct{}
	stopped sync.WaitGroup

	lock   sync.Mutex
	detail string
}

// Start begins a step; End must follow.
func (p *Printer) Start(format string, arguments ...any) *Step {
	step := &Step{printer: p, title: fmt.Sprintf(format, arguments...), started: p.now(), stop: make(chan struct{})}
	if !p.terminal {
		p.Say("%s", step.title)
	}
	step.stopped.Go(step.tick)
	return step
}

// Detail sets what the step is at.
func (s *Step) Detail(format string, arguments ...any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.detail = fmt.Sprintf(format, arguments...)
}

// End closes the step with a word: done, failed…
func (s *Step) End(word string) {
	close(s.stop)
	s.stopped.Wait()
	if s.printer.terminal {
		fmt.Fprint(s.printer.out, "\r\x1b[K")
	}
	s.printer.Say("%s: %s (%s)", s.title, word, s.printer.now().Sub(s.started).Round(100*time.Millisecond))
}

func (s *Step) tick() {
	every := Quiet
	if s.printer.terminal {
		every = 500 * time.Millisecond
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.show()
		}
	}
}

func (s *Step) show() {
	s.lock.Lock()
	defer s.lock.Unlock()
	elapsed := s.printer.now().Sub(s.started).Round(time.Second)
	if s.printer.terminal {
		fmt.Fprintf(s.printer.out, "\r\x1b[K%s  %s: %s %s", Clock(s.printer.now().Sub(s.printer.started)), s.title, elapsed, s.detail)
		return
	}
	s.printer.Say("%s: %s %s", s.title, elapsed, s.detail)
}
