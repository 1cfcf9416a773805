package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Settings say which cluster, registry and git server are used. The environment has them: of a sandbox, as
// `sandbox env` prints them, or of the user's own.
type Settings struct {
	// Checkout is the folder of the repository.
	Checkout string
	// Program is the operator's program, for its image.
	Program string
	// Registry is host:port, the same for the cluster and for this machine.
	Registry string
	// GitServer is the URL to which a repository's name is added, the same for both.
	GitServer string
	// OperatorImage and BuilderImage, where they are set, are used instead of images that are built here.
	OperatorImage, BuilderImage string
	// Sandbox is how its make targets are told which one it is; empty on another cluster.
	Sandbox *int
}

// FromEnvironment reads the settings.
func FromEnvironment(checkout, program string) Settings {
	return Settings{
		Checkout: checkout, Program: program,
		Registry: os.Getenv("REGISTRY"), GitServer: strings.TrimSuffix(os.Getenv("GIT_SERVER"), "/"),
		OperatorImage: os.Getenv("OPERATOR_IMAGE"), BuilderImage: os.Getenv("BUILDER_IMAGE"),
	}
}

// check tells everything that is missing, before anything is done.
func (s Settings) check(ctx context.Context) error {
	var missing []error
	say := func(format string, arguments ...any) {
		missing = append(missing, fmt.Errorf("  - "+format, arguments...))
	}
	if s.Registry == "" {
		say("REGISTRY is not set: the host, with its port, of a registry that the cluster pulls from and this machine pushes to")
	}
	if s.GitServer == "" {
		say("GIT_SERVER is not set: a URL such as https://git.example/me, to which takelage.git is added; the cluster must be able to clone it, and this machine to push to it")
	}
	for _, tool := range []string{"kubectl", "helm", "git"} {
		if _, err := exec.LookPath(tool); err != nil {
			say("%s is not in the PATH", tool)
		}
	}
	if s.OperatorImage == "" || s.BuilderImage == "" {
		s.checkBuilding(say)
	}
	if len(missing) == 0 {
		if _, err := kubectl(ctx, "get", "namespaces", "--output=name"); err != nil {
			say("the cluster does not answer: %w", err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("nothing was done:\n%w", errors.Join(missing...))
	}
	return nil
}

func (s Settings) checkBuilding(say func(string, ...any)) {
	const instead = "or build images/operator and images/builder with docker, push them, and set OPERATOR_IMAGE and BUILDER_IMAGE to their names by digest"
	if _, err := exec.LookPath("buildctl"); err != nil || os.Getenv("BUILDKIT_HOST") == "" {
		say("buildctl is not in the PATH, or BUILDKIT_HOST is not set: name a BuildKit, " + instead)
	}
	if _, err := os.Stat(s.Program); err != nil {
		say("the operator's program is not there (%w): `make release` makes it", err)
	}
}

// plainHTTP tells whether the registry is reached without TLS.
func (s Settings) plainHTTP(ctx context.Context) bool {
	answer, err := ask(ctx, "http://"+s.Registry+"/v2/")
	// A server of TLS that is asked without it says so by 400.
	return err == nil && answer != http.StatusBadRequest
}

// hasBase tells whether the registry holds what Docker Hub calls debian:13, as a sandbox's does.
func (s Settings) hasBase(ctx context.Context) bool {
	answer, err := ask(ctx, "http://"+s.Registry+"/v2/library/debian/manifests/13")
	return err == nil && answer == http.StatusOK
}

func ask(ctx context.Context, url string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json")
	// No redirect to TLS is followed: then it is not plain HTTP.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirected") }}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}
