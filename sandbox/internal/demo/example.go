package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ApplyExample brings the example's files to the git server, and its objects to the cluster.
func (d Demo) ApplyExample(ctx context.Context) error {
	if err := d.ApplyTenant(ctx); err != nil {
		return err
	}
	return d.step("applying the chain takelage", func() error { return d.applyFile(ctx, "chain.yaml") })
}

// ApplyTenant brings the example's files to the git server, and its namespace to the cluster.
func (d Demo) ApplyTenant(ctx context.Context) error {
	if err := d.pushExample(ctx); err != nil {
		return err
	}
	return d.applyFile(ctx, "tenant.yaml")
}

func (d Demo) applyFile(ctx context.Context, name string) error {
	written, err := os.ReadFile(filepath.Join(d.Checkout, "examples", "takelage", name))
	if err != nil {
		return err
	}
	return apply(ctx, []byte(d.fill(string(written))))
}

// fill puts this registry and this git server in place of the example's.
func (s Settings) fill(manifest string) string {
	return strings.NewReplacer("registry.example", s.Registry, "https://git.example", s.GitServer).Replace(manifest)
}

// Repository is the URL of the example's repository.
func (s Settings) Repository() string { return s.GitServer + "/takelage.git" }

// pushExample fills the repository once. What somebody has pushed since is theirs, and stays.
func (d Demo) pushExample(ctx context.Context) error {
	heads, err := git(ctx, "", "ls-remote", d.Repository(), "refs/heads/main")
	if err == nil && len(heads) > 0 {
		d.Printer.Say("the example's files are in %s already, and stay as they are there", d.Repository())
		return nil
	}
	return d.step("pushing examples/takelage to "+d.Repository(), func() error {
		folder, err := os.MkdirTemp("", "imagechain-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		example := filepath.Join(d.Checkout, "examples", "takelage")
		if err := os.CopyFS(folder, os.DirFS(example)); err != nil {
			return err
		}
		for _, arguments := range [][]string{
			{"init", "--quiet", "--initial-branch=main"},
			{"add", "--all"},
			{"-c", "user.name=imagechain", "-c", "user.email=demo@imagechain.dev", "commit", "--quiet", "--message=The example as it ships"},
			{"push", "--quiet", d.Repository(), "main"},
		} {
			if _, err := git(ctx, folder, arguments...); err != nil {
				return err
			}
		}
		return nil
	})
}

func git(ctx context.Context, folder string, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "git", arguments...)
	command.Dir = folder
	// Nobody is there to be asked for a password.
	command.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
	text, err := run(command)
	if err != nil {
		err = fmt.Errorf("%w: this machine must be able to push there", err)
	}
	return text, err
}
