package demo

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// shownStages are the columns of the summary.
var shownStages = []string{"source", "build", "verify", "publish"}

// summary says what came out, and where to look further.
func summary(seen world, page string, settings Settings) string {
	var text strings.Builder
	fmt.Fprint(&text, "\n")
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "LINK\tPUBLISHED AS\tDIGEST\tTESTS\t%s\n", strings.ToUpper(strings.Join(shownStages, "\t")))
	for _, link := range seen.chain.Spec.Links {
		fmt.Fprintln(table, strings.Join(summaryRow(seen, seen.chain.Link(link.Name)), "\t"))
	}
	_ = table.Flush() // A strings.Builder takes everything.
	fmt.Fprintf(&text, "\nThe image of %s was booted in the pod web of the namespace %s, and serves «%s».\n\n", bootedLink, shown, page)
	shell := ""
	if settings.Sandbox != nil {
		shell = fmt.Sprintf(" (in `make sandbox-shell%s`)", sandboxArgument(*settings.Sandbox))
	}
	fmt.Fprintf(&text, "To look further%s:\n", shell)
	fmt.Fprintf(&text, "  kubectl get imagechains,imagebuilds -n %s\n", tenant)
	fmt.Fprintf(&text, "  kubectl port-forward -n %s pod/web 8080:80    # then open http://127.0.0.1:8080\n", shown)
	fmt.Fprintf(&text, "  git clone %s    # change ansible/group_vars and push: web and dev are built again\n", settings.Repository())
	return text.String()
}

func sandboxArgument(number int) string {
	if number == 0 {
		return ""
	}
	return fmt.Sprintf(" SANDBOX=%d", number)
}

func summaryRow(seen world, link LinkStatus) []string {
	if link.Published == nil {
		return []string{link.Name, "-", "-", "-"}
	}
	made := seen.builds[link.Published.Build]
	row := []string{
		link.Name,
		link.Published.Repository + ":" + strings.Join(link.Published.Tags, ","),
		short(link.Published.Digest),
		tests(made),
	}
	for _, name := range shownStages {
		took, known := made.took(name)
		if !known {
			row = append(row, "-")
			continue
		}
		row = append(row, took.Round(time.Second).String())
	}
	return row
}

func tests(made Build) string {
	run, bad := 0, 0
	for _, step := range made.Status.Verification {
		run, bad = run+step.Tests, bad+step.Failures
	}
	return fmt.Sprintf("%d passed", run-bad)
}
