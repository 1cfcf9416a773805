package gitserver

import (
	"crypto/rand"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func serve(t *testing.T) (string, string) {
	t.Helper()
	folder := t.TempDir()
	server, err := New(folder)
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return listening.URL, folder
}

func runGit(t *testing.T, folder string, arguments ...string) string {
	t.Helper()
	command := exec.Command("git", arguments...)
	command.Dir = folder
	command.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "GIT_TERMINAL_PROMPT=0")
	text, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", arguments, err, text)
	}
	return strings.TrimSpace(string(text))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAnExampleIsServedChangedAndKept(t *testing.T) {
	url, folder := serve(t)
	examples, work := t.TempDir(), t.TempDir()
	write(t, filepath.Join(examples, "shop", "chain.yaml"), "one")
	if err := Seed(folder, examples); err != nil {
		t.Fatal(err)
	}
	clone := filepath.Join(work, "clone")
	runGit(t, work, "clone", "--quiet", url+"/shop.git", clone)
	write(t, filepath.Join(clone, "chain.yaml"), "two")
	runGit(t, clone, "commit", "--quiet", "--all", "--message", "two")
	runGit(t, clone, "push", "--quiet")
	pushed := runGit(t, clone, "rev-parse", "HEAD")

	if err := Seed(folder, examples); err != nil {
		t.Fatal(err)
	}
	if served := runGit(t, work, "ls-remote", url+"/shop.git", "refs/heads/main"); !strings.HasPrefix(served, pushed) {
		t.Errorf("seeding again moved main from %s to %s", pushed, served)
	}
}

func TestAPushMakesARepositoryThatServesPartialClonesAndCommitsByHash(t *testing.T) {
	url, _ := serve(t)
	source := t.TempDir()
	runGit(t, source, "init", "--quiet", "--initial-branch=main")
	write(t, filepath.Join(source, "big"), strings.Repeat("0123456789", 1000))
	runGit(t, source, "add", "--all")
	runGit(t, source, "commit", "--quiet", "--message", "first")
	first := runGit(t, source, "rev-parse", "HEAD")
	runGit(t, source, "commit", "--quiet", "--allow-empty", "--message", "second")
	runGit(t, source, "push", "--quiet", url+"/new.git", "main")

	fetched := t.TempDir()
	runGit(t, fetched, "init", "--quiet")
	// A commit that no branch points at, its trees but not its files.
	runGit(t, fetched, "fetch", "--quiet", "--depth=1", "--filter=blob:none", url+"/new.git", first)
	if tree := runGit(t, fetched, "ls-tree", "--name-only", first); tree != "big" {
		t.Errorf("ls-tree of the fetched commit: %q", tree)
	}
	if missing := runGit(t, fetched, "rev-list", "--objects", "--missing=print", first); !strings.Contains(missing, "?") {
		t.Errorf("the filter was ignored: nothing is missing in\n%s", missing)
	}
}

func TestAPushMayBeLarge(t *testing.T) {
	url, _ := serve(t)
	source := t.TempDir()
	runGit(t, source, "init", "--quiet", "--initial-branch=main")
	// Nothing that compresses, and more than http.postBuffer, from which on git does not say how much it is.
	noise := make([]byte, 3<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(source, "big"), string(noise))
	runGit(t, source, "add", "--all")
	runGit(t, source, "commit", "--quiet", "--message", "first")
	runGit(t, source, "push", "--quiet", url+"/big.git", "main")
	pushed := runGit(t, source, "rev-parse", "HEAD")
	if served := runGit(t, source, "ls-remote", url+"/big.git", "refs/heads/main"); !strings.HasPrefix(served, pushed) {
		t.Errorf("pushed %s, served %s", pushed, served)
	}
}

func TestForeignNamesAreRefused(t *testing.T) {
	url, folder := serve(t)
	for _, path := range []string{"/%2e%2e/x.git", "/Upper.git", "/x", "/-x.git", "/x%00y.git"} {
		command := exec.Command("git", "ls-remote", url+path)
		command.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
		if text, err := command.CombinedOutput(); err == nil {
			t.Errorf("%s was served: %s", path, text)
		}
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Errorf("something was made: %v %v", entries, err)
	}
}
