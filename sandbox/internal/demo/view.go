package demo

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"imagechain.dev/sandbox/internal/progress"
)

// view shows the links of a chain: on a terminal as a table that is written over, elsewhere as a line for
// each change, and one now and then where nothing changes.
type view struct {
	out      io.Writer
	terminal bool
	printer  *progress.Printer

	lines int
	told  map[string]string
	last  time.Time
}

// row is one link as it is shown.
type row struct {
	link, state, detail string
	since               time.Duration
}

func rows(seen world, now time.Time) []row {
	var made []row
	for _, link := range seen.chain.Spec.Links {
		status := seen.chain.Link(link.Name)
		shown := row{link: link.Name, state: status.State, detail: status.Message}
		if running, there := seen.builds[status.Build]; there && status.State == "Building" {
			shown = building(link.Name, running, now)
		}
		if status.State == "Ready" && status.Published != nil {
			shown.detail = "published: " + short(status.Published.Digest)
		}
		made = append(made, shown)
	}
	return made
}

// building is a link whose build runs: in which stage, for how long, and why.
func building(link string, running Build, now time.Time) row {
	ready := Find(running.Status.Conditions, "Ready")
	shown := row{link: link, state: stageOf(ready.Reason), detail: strings.TrimSpace(ready.Message + causes(running))}
	if stage, is := running.running(); is {
		shown.state, shown.since = stage.Name, now.Sub(*stage.StartedAt)
	}
	return shown
}

// stageOf is the stage that a reason tells of, in the moments in which none runs.
func stageOf(reason string) string {
	switch reason {
	case "FetchingSource":
		return "source"
	case "Building":
		return "build"
	case "Verifying":
		return "verify"
	case "Staging", "TestsPassed", "NothingToTest":
		return "publish"
	}
	return "waiting"
}

func causes(found Build) string {
	if len(found.Spec.Causes) == 0 {
		return ""
	}
	return " (" + found.Spec.Causes[0].Type + ")"
}

// short is enough of a digest for people.
func short(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	return digest[:min(12, len(digest))]
}

func (v *view) show(seen world, now time.Time) {
	if v.terminal {
		v.table(rows(seen, now))
		return
	}
	v.changes(rows(seen, now), now)
}

func (v *view) table(rows []row) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(table, "        %s\t%s\t%s\t%s\n", row.link, row.state, seconds(row.since), row.detail)
	}
	_ = table.Flush() // A strings.Builder takes everything.
	if v.lines > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA\x1b[J", v.lines)
	}
	fmt.Fprint(v.out, text.String())
	v.lines = len(rows)
}

func (v *view) changes(rows []row, now time.Time) {
	if v.told == nil {
		v.told = map[string]string{}
	}
	quiet := now.Sub(v.last) >= progress.Quiet
	for _, row := range rows {
		text := strings.TrimSpace(fmt.Sprintf("%-9s %s", row.state, row.detail))
		changed := v.told[row.link] != text
		if !changed && (!quiet || row.since == 0) {
			continue
		}
		v.told[row.link], v.last = text, now
		v.printer.Say("%-10s %s", row.link, strings.TrimSpace(text+"  "+seconds(row.since)))
	}
}

// end leaves what was shown as it is.
func (v *view) end() { v.lines = 0 }

func seconds(elapsed time.Duration) string {
	if elapsed <= 0 {
		return ""
	}
	return elapsed.Round(time.Second).String()
}
