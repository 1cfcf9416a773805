// Package gitserver serves bare repositories over git's smart HTTP protocol. It has no users: whoever
// reaches it may push, and a push to a name that is free makes the repository.
package gitserver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// name is what a repository may be called, in a URL as NAME.git.
var name = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Server is the handler.
type Server struct {
	folder  string
	backend cgi.Handler
	// making keeps two first pushes from making one repository at once.
	making sync.Mutex
}

// New serves the repositories of a folder.
func New(folder string) (*Server, error) {
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("git --exec-path: %w", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return nil, err
	}
	return &Server{folder: folder, backend: cgi.Handler{
		Path:       backend,
		Env:        []string{"GIT_PROJECT_ROOT=" + folder, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=sandbox", "HOME=/nonexistent"},
		InheritEnv: []string{"PATH"},
	}}, nil
}

// ServeHTTP answers the list of repositories at /, and git's own requests below /NAME.git/.
func (s *Server) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	if request.URL.Path == "/" {
		s.list(response)
		return
	}
	repository, _, _ := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
	base, isGit := strings.CutSuffix(repository, ".git")
	if !isGit || !name.MatchString(base) {
		http.Error(response, "a repository is called /NAME.git, NAME in lower case letters, digits, . _ -", http.StatusNotFound)
		return
	}
	if request.URL.Query().Get("service") == "git-receive-pack" {
		if err := s.ensure(repository); err != nil {
			http.Error(response, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	whole, err := spooled(request)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	defer whole.Close()
	s.backend.ServeHTTP(response, request)
}

// spooled gives a request a length, which CGI wants to know first: git sends pushes of more than 1 MiB
// without one.
func spooled(request *http.Request) (io.Closer, error) {
	if request.ContentLength >= 0 {
		return request.Body, nil
	}
	file, err := os.CreateTemp("", "git-push-")
	if err != nil {
		return nil, err
	}
	// It goes with its last user.
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	length, err := io.Copy(file, request.Body)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	request.Body, request.ContentLength, request.TransferEncoding = file, length, nil
	return file, nil
}

func (s *Server) list(response http.ResponseWriter) {
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".git") {
			fmt.Fprintln(response, entry.Name())
		}
	}
}

func (s *Server) ensure(repository string) error {
	s.making.Lock()
	defer s.making.Unlock()
	path := filepath.Join(s.folder, repository)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return initialise(path)
}

// initialise makes a bare repository that serves partial clones and single commits by their hash.
func initialise(path string) error {
	if err := git("", "init", "--quiet", "--bare", "--initial-branch=main", path); err != nil {
		return err
	}
	for key, value := range map[string]string{
		"uploadpack.allowFilter":        "true",
		"uploadpack.allowAnySHA1InWant": "true",
		"http.receivepack":              "true",
	} {
		if err := git(path, "config", key, value); err != nil {
			return err
		}
	}
	return nil
}

// Seed makes a repository of each folder of examples, on branch main, unless one of that name is
// there: what a user has pushed since stays. No examples are no error.
func Seed(repositories, examples string) error {
	entries, err := os.ReadDir(examples)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if entry.IsDir() {
			err = errors.Join(err, seed(repositories, entry.Name()+".git", filepath.Join(examples, entry.Name())))
		}
	}
	return err
}

func seed(repositories, name, example string) error {
	repository := filepath.Join(repositories, name)
	if _, err := os.Stat(repository); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Under another name first, so that a repository is never seen half-filled, nor by two at once.
	unfinished, err := os.MkdirTemp(repositories, ".unfinished-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(unfinished)
	if err := initialise(unfinished); err != nil {
		return err
	}
	if err := git(unfinished, "--work-tree", example, "add", "--all"); err != nil {
		return err
	}
	commit := []string{"-c", "user.name=imagechain", "-c", "user.email=sandbox@imagechain.dev", "commit", "--quiet", "--message", "The example as it ships"}
	if err := git(unfinished, append([]string{"--work-tree", example}, commit...)...); err != nil {
		return err
	}
	err = os.Rename(unfinished, repository)
	if errors.Is(err, fs.ErrExist) {
		return nil // Another process made it meanwhile.
	}
	return err
}

func git(repository string, arguments ...string) error {
	if repository != "" {
		arguments = append([]string{"--git-dir", repository}, arguments...)
	}
	command := exec.Command("git", arguments...)
	// Neither the user's settings nor the machine's decide what a sandbox serves.
	command.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(string(text)))
	}
	return nil
}
