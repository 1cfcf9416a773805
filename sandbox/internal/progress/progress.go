// Package progress prints what takes long: which steps run, for how long. On a terminal the running steps
// are lines that are written over; elsewhere each says so every now and then.
package progress

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Quiet is how long a step may run before it says something where there is no terminal.
const Quiet = 20 * time.Second

// Printer prints the steps of one piece of work. Its methods may be called from several goroutines.
type Printer struct {
	out      io.Writer
	terminal bool
	width    int
	started  time.Time
	now      func() time.Time

	lock    sync.Mutex
	running []*Step
	// shown is how many lines of running steps are on the terminal.
	shown int
	ended []Took
}

// Took is how long a step took.
type Took struct {
	Title string
	Time  time.Duration
}

// New prints to the given file.
func New(out *os.File) *Printer {
	return &Printer{out: out, terminal: IsTerminal(out), width: width(out), started: time.Now(), now: time.Now}
}

// Silent prints nothing.
func Silent() *Printer { return &Printer{out: io.Discard, started: time.Now(), now: time.Now} }

// IsTerminal tells whether what is printed can be written over.
func IsTerminal(out *os.File) bool {
	info, err := out.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func width(out *os.File) int {
	const usual = 80
	if size, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		return int(size.Col)
	}
	return usual
}

// Say prints one line behind the time that has passed since the start.
func (p *Printer) Say(format string, arguments ...any) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.say(fmt.Sprintf(format, arguments...))
}

// say needs the lock.
func (p *Printer) say(text string) {
	if p.shown > 0 {
		fmt.Fprintf(p.out, "\x1b[%dA\r\x1b[J", p.shown)
	}
	p.shown = 0
	if text != "" {
		fmt.Fprintf(p.out, "%s  %s\n", p.Clock(), text)
	}
	if !p.terminal {
		return
	}
	for _, step := range p.running {
		line := []rune(p.Clock() + "  " + step.line())
		// A line that wraps would be two.
		fmt.Fprintln(p.out, string(line[:min(len(line), p.width-1)]))
		p.shown++
	}
}

// Clock is the time that has passed since the start, as Say prints it.
func (p *Printer) Clock() string { return Clock(p.now().Sub(p.started)) }

// Clock formats a duration as m:ss, padded to six.
func Clock(elapsed time.Duration) string {
	seconds := int(elapsed.Round(time.Second).Seconds())
	return fmt.Sprintf("%3d:%02d", seconds/60, seconds%60)
}

// Slowest are the steps that took longest, up to a number of them and of at least that time.
func (p *Printer) Slowest(most int, atLeast time.Duration) []Took {
	p.lock.Lock()
	defer p.lock.Unlock()
	found := slices.DeleteFunc(slices.Clone(p.ended), func(each Took) bool { return each.Time < atLeast })
	slices.SortStableFunc(found, func(a, b Took) int { return cmp.Compare(b.Time, a.Time) })
	return found[:min(most, len(found))]
}

// SaySlowest prints them; nothing where nothing took long. Steps that ran side by side count in full.
func (p *Printer) SaySlowest() {
	const most, atLeast = 12, 5 * time.Second
	for i, each := range p.Slowest(most, atLeast) {
		if i == 0 {
			p.Say("what took longest, some of it side by side:")
		}
		p.Say("  %s  %s", Clock(each.Time), each.Title)
	}
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
	p.lock.Lock()
	defer p.lock.Unlock()
	p.running = append(p.running, step)
	if p.terminal {
		p.say("")
	} else {
		p.say(step.title)
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
	s.printer.lock.Lock()
	defer s.printer.lock.Unlock()
	s.printer.running = slices.DeleteFunc(s.printer.running, func(each *Step) bool { return each == s })
	took := s.printer.now().Sub(s.started)
	s.printer.ended = append(s.printer.ended, Took{s.title, took})
	s.printer.say(fmt.Sprintf("%s: %s (%s)", s.title, word, took.Round(100*time.Millisecond)))
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

// show lets all lines on a terminal be written anew; elsewhere it prints this one.
func (s *Step) show() {
	s.printer.lock.Lock()
	defer s.printer.lock.Unlock()
	if s.printer.terminal {
		s.printer.say("")
		return
	}
	s.printer.say(s.line())
}

// line is what the step is at.
func (s *Step) line() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return fmt.Sprintf("%s: %s %s", s.title, s.printer.now().Sub(s.started).Round(time.Second), s.detail)
}
