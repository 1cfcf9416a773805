package demo

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/progress"
)

// seenAt plays events, as kubectl writes them, of a chain with two links.
func seenAt(t *testing.T, conditions, links string, builds ...string) world {
	t.Helper()
	seen := world{builds: map[string]Build{}}
	seen.note("ADDED", fmt.Appendf(nil, `{"kind": "ImageChain", "metadata": {"name": "takelage", "generation": 2},
		"spec": {"links": [{"name": "systemd"}, {"name": "web"}]},
		"status": {"observedGeneration": 2, "conditions": [%s], "links": [%s]}}`, conditions, links))
	for _, each := range builds {
		seen.note("MODIFIED", []byte(each))
	}
	if seen.chain.Metadata.Name == "" {
		t.Fatal("the chain was not understood")
	}
	return seen
}

const (
	readySystemd = `{"name": "systemd", "state": "Ready", "build": "b1", "published":
		{"repository": "r/systemd", "tags": ["13", "latest"], "digest": "sha256:0123456789abcdef", "build": "b1"}}`
	buildingWeb   = `{"name": "web", "state": "Building", "build": "b2"}`
	finishedBuild = `{"kind": "ImageBuild", "metadata": {"name": "b1"}, "spec": {"chainRef": {"name": "takelage", "link": "systemd"}},
		"status": {"stages": [{"name": "build", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:52Z"}],
		"verification": [{"step": "1 pytest", "passed": true, "tests": 3, "failures": 0}]}}`
	runningBuild = `{"kind": "ImageBuild", "metadata": {"name": "b2"}, "spec": {"chainRef": {"name": "takelage", "link": "web"}, "causes": [{"type": "SourceChanged"}]},
		"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "Verifying", "message": "the tests run"}], "stages": [
		{"name": "engine", "startedAt": "2026-01-01T00:00:01Z"},
		{"name": "build", "startedAt": "2026-01-01T00:00:02Z", "finishedAt": "2026-01-01T00:01:00Z"},
		{"name": "verify", "startedAt": "2026-01-01T00:01:00Z"}]}}`
)

var noon = time.Date(2026, 1, 1, 0, 1, 12, 0, time.UTC)

func TestRows(t *testing.T) {
	seen := seenAt(t, "", readySystemd+","+buildingWeb, finishedBuild, runningBuild)
	want := []row{
		{link: "systemd", state: "Ready", detail: "published: 0123456789ab"},
		{link: "web", state: "verify", detail: "the tests run (SourceChanged)", since: 12 * time.Second},
	}
	for i, found := range rows(seen, noon) {
		if found != want[i] {
			t.Errorf("row %d: %+v, not %+v", i, found, want[i])
		}
	}
}

func TestBetweenTwoStagesTheNextOneIsShown(t *testing.T) {
	const between = `{"kind": "ImageBuild", "metadata": {"name": "b2"}, "spec": {"chainRef": {"name": "takelage", "link": "web"}},
		"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "Verifying", "message": "the tests run"}], "stages": [
		{"name": "build", "startedAt": "2026-01-01T00:00:02Z", "finishedAt": "2026-01-01T00:01:00Z"}]}}`
	want := row{link: "web", state: "verify", detail: "the tests run"}
	if found := rows(seenAt(t, "", readySystemd+","+buildingWeb, between), noon)[1]; found != want {
		t.Errorf("%+v, not %+v", found, want)
	}
}

func TestALinkWithoutAStatusIsPending(t *testing.T) {
	if found := rows(seenAt(t, "", ""), noon); len(found) != 2 || found[1].state != "Pending" {
		t.Errorf("%+v", found)
	}
}

func TestWhenItEnds(t *testing.T) {
	const ready, upToDate = `{"type": "Ready", "status": "True"}`, `{"type": "UpToDate", "status": "True"}`
	for name, test := range map[string]struct {
		conditions string
		done       bool
		failed     string
	}{
		"nothing is known":           {"", false, ""},
		"a rebuild runs":             {ready + `, {"type": "UpToDate", "status": "False"}`, false, ""},
		"all is there":               {ready + "," + upToDate, true, ""},
		"somebody must act":          {`{"type": "Stalled", "status": "True", "reason": "TestsFailed", "message": "look"}`, false, "TestsFailed: look"},
		"a rebuild failed":           {ready + `, {"type": "Degraded", "status": "True", "reason": "TestsFailed", "message": "look"}`, false, "TestsFailed: look"},
		"it was stalled, and is not": {`{"type": "Stalled", "status": "False"}`, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			seen := seenAt(t, test.conditions, "")
			if seen.chain.Done() != test.done || seen.chain.Failed() != test.failed {
				t.Errorf("done %v, failed %q", seen.chain.Done(), seen.chain.Failed())
			}
			seen.chain.Metadata.Generation++
			if seen.chain.Done() || seen.chain.Failed() != "" {
				t.Error("a status of an earlier generation counts")
			}
		})
	}
}

func TestOtherChainsAreNotShown(t *testing.T) {
	seen := seenAt(t, "", "")
	seen.note("ADDED", []byte(`{"kind": "ImageChain", "metadata": {"name": "other"}}`))
	seen.note("ADDED", []byte(`{"kind": "ImageBuild", "metadata": {"name": "b"}, "spec": {"chainRef": {"name": "other"}}}`))
	seen.note("ADDED", []byte(`{"kind": "Status", "message": "too old resource version"}`))
	if seen.chain.Metadata.Name != chainName || len(seen.builds) != 0 {
		t.Errorf("%+v", seen)
	}
}

func TestWithoutATerminalEachChangeIsALine(t *testing.T) {
	var out bytes.Buffer
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	view := view{out: &out, printer: progress.New(writer)}
	seen := seenAt(t, "", readySystemd+","+buildingWeb, finishedBuild, runningBuild)
	for _, later := range []time.Duration{0, time.Second, 2 * time.Second, progress.Quiet + 3*time.Second} {
		view.show(seen, noon.Add(later))
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(reader); err != nil {
		t.Fatal(err)
	}
	// One for each link, and one for the stage that goes on after a while.
	if lines := strings.Count(text.String(), "\n"); lines != 3 || out.Len() != 0 {
		t.Errorf("%d lines:\n%s%s", lines, text.String(), out.String())
	}
}

func TestATerminalIsWrittenOver(t *testing.T) {
	var out bytes.Buffer
	view := view{out: &out, terminal: true}
	seen := seenAt(t, "", readySystemd+","+buildingWeb, finishedBuild, runningBuild)
	view.show(seen, noon)
	first := out.Len()
	view.show(seen, noon)
	if again := out.String()[first:]; !strings.HasPrefix(again, "\x1b[2A\x1b[J") {
		t.Errorf("the second table begins with %q", again[:10])
	}
}

func TestSummary(t *testing.T) {
	number := 2
	seen := seenAt(t, "", readySystemd, finishedBuild)
	text := summary(seen, "A page", Settings{Registry: "r", GitServer: "http://git", Sandbox: &number})
	for _, want := range []string{"r/systemd:13,latest", "0123456789ab", "3 passed", "52s", "«A page»", "SANDBOX=2", "git clone http://git/takelage.git"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func TestWhatAFailureSays(t *testing.T) {
	seen := seenAt(t, "", `{"name": "web", "state": "Failed", "reason": "TestsFailed", "message": "short", "build": "b3"}`,
		`{"kind": "ImageBuild", "metadata": {"name": "b3"}, "spec": {"chainRef": {"name": "takelage", "link": "web"}}, "status": {"failure": {"message": "test_page failed: see the log"}}}`)
	if text := failure(seen, "TestsFailed: 1 link").Error(); !strings.Contains(text, "link web: TestsFailed: test_page failed: see the log") {
		t.Errorf("%s", text)
	}
}

func TestAProfileFitsTheLargestNode(t *testing.T) {
	for name, test := range map[string]struct {
		nodes []node
		want  map[string]string
	}{
		"two cores":   {[]node{{2000, 24000}}, map[string]string{"cpu": "1800m", "memory": "8192Mi", "storage": "20Gi"}},
		"a large one": {[]node{{1000, 2000}, {16000, 64000}}, map[string]string{"cpu": "4000m", "memory": "8192Mi", "storage": "20Gi"}},
		"a small one": {[]node{{1000, 3000}}, map[string]string{"cpu": "800m", "memory": "2048Mi", "storage": "20Gi"}},
	} {
		if found := fit(test.nodes); !maps.Equal(found, test.want) {
			t.Errorf("%s: %v, not %v", name, found, test.want)
		}
	}
}

func TestQuantitiesOfNodes(t *testing.T) {
	if milliCPU("2") != 2000 || milliCPU("1930m") != 1930 || mebibytes("16384Ki") != 16 || mebibytes("2147483648") != 2048 {
		t.Error("a quantity was not understood")
	}
}

func TestTheExampleNamesNoHostOfOurs(t *testing.T) {
	text, err := os.ReadFile("../../../examples/takelage/chain.yaml")
	if err != nil {
		t.Fatal(err)
	}
	filled := Settings{Registry: "r:5000", GitServer: "http://git:8000"}.fill(string(text))
	if strings.Contains(filled, ".example") || !strings.Contains(filled, `url: "http://git:8000/takelage.git"`) || !strings.Contains(filled, "repository: r:5000/takelage/web") {
		t.Errorf("%s", filled)
	}
}

func TestTheFirstImageIsTheFirstThatIsPublished(t *testing.T) {
	if link, is := seenAt(t, "", buildingWeb).firstPublished(); is {
		t.Errorf("nothing is published, but %s", link)
	}
	if link, is := seenAt(t, "", buildingWeb+","+readySystemd).firstPublished(); !is || link != "systemd" {
		t.Errorf("it is %q (%v)", link, is)
	}
}

func TestEachImageWaitsForWhatItIsBuiltWith(t *testing.T) {
	var awaited []Part
	cause := errors.New("enough")
	d := Demo{Settings: Settings{BuilderImage: "there", Checkout: "../../.."}, Await: func(part Part, _ string) error {
		awaited = append(awaited, part)
		if part == Program {
			return cause
		}
		return nil
	}}
	if err := d.Install(t.Context()); !errors.Is(err, cause) {
		t.Errorf("it ended with %v", err)
	}
	if !slices.Equal(awaited, []Part{BuildKit, Program}) {
		t.Errorf("it waited for %v", awaited)
	}
}

func TestNothingIsDoneWithoutSettings(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("BUILDKIT_HOST", "")
	err := Settings{Program: "/nonexistent"}.check(t.Context())
	for _, want := range []string{"REGISTRY", "GIT_SERVER", "kubectl", "buildctl", "make release"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}
