package programs

import (
	"bytes"
	"strings"

	"imagechain.dev/sandbox/internal/progress"
)

// tailLines is how much of go's output is shown when it fails.
const tailLines = 30

// packageCounter reads what `go build -v` prints: a line per package that had to be compiled.
type packageCounter struct {
	step    *progress.Step
	total   int
	seen    int
	partial []byte
	last    []string
}

// Write never fails.
func (c *packageCounter) Write(text []byte) (int, error) {
	c.partial = append(c.partial, text...)
	for {
		line, rest, found := bytes.Cut(c.partial, []byte("\n"))
		if !found {
			return len(text), nil
		}
		c.partial = rest
		c.line(string(line))
	}
}

func (c *packageCounter) line(line string) {
	c.last = append(c.last, line)
	if len(c.last) > tailLines {
		c.last = c.last[1:]
	}
	if !strings.HasPrefix(line, "go: downloading") {
		c.seen++
	}
	c.step.Detail("%d of at most %d packages", c.seen, c.total)
}

func (c *packageCounter) tail() string { return strings.Join(c.last, "\n") }
