package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// printer has a clock that goes on by a second with each look.
func printer(out *bytes.Buffer, terminal bool) *Printer {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	looks := 0
	return &Printer{out: out, terminal: terminal, width: 40, started: start, now: func() time.Time {
		looks++
		return start.Add(time.Duration(looks) * time.Second)
	}}
}

func TestWithoutATerminalAStepSaysItsBeginningAndItsEnd(t *testing.T) {
	var out bytes.Buffer
	printer(&out, false).Start("building it").End("done")
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 2 || !strings.Contains(lines[1], "building it: done (2s)") {
		t.Errorf("%q", lines)
	}
}

func TestStepsSideBySideAreWrittenOverTogether(t *testing.T) {
	var out bytes.Buffer
	p := printer(&out, true)
	first := p.Start("the first")
	second := p.Start("the second, whose line is longer than the terminal is wide")
	out.Reset()
	p.Say("a word in between")
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "\x1b[2A\r\x1b[J") || !strings.Contains(lines[0], "a word in between") {
		t.Errorf("%q", lines)
	}
	if len(lines[2]) != 39 {
		t.Errorf("%q wraps in a terminal of 40", lines[2])
	}
	first.End("done")
	out.Reset()
	second.End("done")
	if text := out.String(); !strings.HasPrefix(text, "\x1b[1A") || strings.Count(text, "\n") != 1 {
		t.Errorf("%q", text)
	}
}

func TestTheSlowestStepsComeFirst(t *testing.T) {
	var out bytes.Buffer
	p := printer(&out, false)
	p.ended = []Took{{"short", time.Second}, {"long", time.Hour}, {"middle", time.Minute}, {"another", time.Minute}}
	found := p.Slowest(2, 2*time.Second)
	if len(found) != 2 || found[0].Title != "long" || found[1].Title != "middle" {
		t.Errorf("%v", found)
	}
}
