// Package programs builds the sandbox's programs from their Go modules, once for each state of
// their inputs, into a cache outside the checkout.
package programs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"imagechain.dev/sandbox/internal/background"
	"imagechain.dev/sandbox/internal/cache"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/progress"
)

// buildFlags: no path of the machine, and nothing of the repository's state, gets into a program. The
// latter would also fail where git mistrusts the owner of the checkout, as under sudo.
var buildFlags = []string{"-v", "-trimpath", "-buildvcs=false"}

// Set tells where the programs of each module are.
type Set map[string]string

// Folders are those of all modules in a fixed order, for PATH.
func (s Set) Folders() []string { return slices.Sorted(maps.Values(s)) }

// Program is the path of a module's program.
func (s Set) Program(module, name string) string { return filepath.Join(s[module], name) }

// ReadSet reads what Write has written.
func ReadSet(path string) (Set, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var set Set
	return set, json.Unmarshal(text, &set)
}

// Write keeps the set in a file.
func (s Set) Write(path string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// Builder builds modules into a cache.
type Builder struct {
	// Source is the folder that holds one folder per module.
	Source string
	cache  string
	// version of Go.
	version string
}

// NewBuilder finds the cache and the Go toolchain.
func NewBuilder(source string) (*Builder, error) {
	base, err := layout.CacheBase()
	if err != nil {
		return nil, err
	}
	version, err := output(context.Background(), source, "go", "version")
	if err != nil {
		return nil, fmt.Errorf("the sandbox is built with Go, which does not run: %w: install Go 1.26 or newer", err)
	}
	return &Builder{Source: source, cache: filepath.Join(base, "programs"), version: version}, nil
}

// Missing tells which of the modules are not in the cache.
func (b *Builder) Missing(modules []Module) ([]Module, error) {
	var missing []Module
	for _, module := range modules {
		folder, err := b.folder(module)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(folder); err != nil {
			missing = append(missing, module)
		}
	}
	return missing, nil
}

// Set tells where the programs of the modules are, or will be.
func (b *Builder) Set(modules []Module) (Set, error) {
	set := Set{}
	for _, module := range modules {
		folder, err := b.folder(module)
		if err != nil {
			return nil, err
		}
		set[module.Name] = folder
	}
	return set, nil
}

// Ensure builds what is missing and tells where everything is.
func (b *Builder) Ensure(ctx context.Context, modules []Module, printer *progress.Printer) (Set, error) {
	for _, module := range modules {
		if err := b.ensure(ctx, module, printer); err != nil {
			return nil, err
		}
	}
	return b.Set(modules)
}

// Begin builds what is missing in the background, one after the other: each uses all processors by itself. The
// results are by the names of the modules.
func (b *Builder) Begin(group *background.Group, modules []Module, printer *progress.Printer) map[string]*background.Result[string] {
	results := map[string]*background.Result[string]{}
	turn := make(chan struct{})
	close(turn)
	for _, module := range modules {
		mine, next := turn, make(chan struct{})
		results[module.Name] = background.Begin(group, module.What, func(ctx context.Context) (string, error) {
			defer close(next)
			<-mine
			if err := b.ensure(ctx, module, printer); err != nil {
				return "", err
			}
			return b.folder(module)
		})
		turn = next
	}
	return results
}

// ensure builds a module where it is missing. Two processes never build at once.
func (b *Builder) ensure(ctx context.Context, module Module, printer *progress.Printer) error {
	if missing, err := b.Missing([]Module{module}); err != nil || len(missing) == 0 {
		return err
	}
	store := cache.Store{Folder: b.cache, What: "building programs", Unfinished: "*" + unfinished + "*"}
	return store.Exclusively(printer, func() error {
		missing, err := b.Missing([]Module{module})
		if err != nil || len(missing) == 0 {
			return err
		}
		if err := b.build(ctx, module, printer); err != nil {
			return fmt.Errorf("building %s: %w", module.Name, err)
		}
		return nil
	})
}

// unfinished is part of the names of folders that hold half of a module's programs.
const unfinished = "-unfinished-"

// folder is where a module's programs are for the present state of its inputs.
func (b *Builder) folder(module Module) (string, error) {
	sum := sha256.New()
	definition, err := json.Marshal(module)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(sum, "%s\n%s/%s\n%s\n%s\n", b.version, runtime.GOOS, runtime.GOARCH, buildFlags, definition)
	source := filepath.Join(b.Source, module.Source)
	err = filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(sum, "%s %x\n", strings.TrimPrefix(path, source), sha256.Sum256(text))
		return err
	})
	return filepath.Join(b.cache, module.Name+"-"+hex.EncodeToString(sum.Sum(nil))[:12]), err
}

func (b *Builder) build(ctx context.Context, module Module, printer *progress.Printer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	folder, err := b.folder(module)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(b.cache, module.Name+unfinished)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	step := printer.Start("building %s (%s)", module.Name, module.What)
	err = b.compile(ctx, module, work, step)
	if err != nil {
		step.End("failed")
		return err
	}
	step.End("done")
	// The rename makes it all or nothing: a build that was cut off leaves no half-filled folder.
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	return os.Rename(work, folder)
}

func (b *Builder) compile(ctx context.Context, module Module, target string, step *progress.Step) error {
	source := filepath.Join(b.Source, module.Source)
	step.Detail("fetching modules")
	total, err := countPackages(ctx, source, module)
	if err != nil {
		return err
	}
	counter := &packageCounter{step: step, total: total}
	for _, build := range module.Builds {
		flags, err := linkerFlags(ctx, source, build)
		if err != nil {
			return err
		}
		arguments := slices.Concat([]string{"build"}, buildFlags, []string{"-tags", build.Tags, "-ldflags", flags, "-o", target + "/"}, build.Packages)
		if err := runGo(ctx, source, build, counter, arguments...); err != nil {
			return err
		}
	}
	for link, program := range module.Links {
		if err := os.Symlink(program, filepath.Join(target, link)); err != nil {
			return err
		}
	}
	return nil
}

func linkerFlags(ctx context.Context, source string, build Build) (string, error) {
	flags := []string{"-s", "-w"}
	for _, variable := range slices.Sorted(maps.Keys(build.Stamp)) {
		version, err := output(ctx, source, "go", "list", "-m", "-f", "{{.Version}}", build.Stamp[variable])
		if err != nil {
			return "", err
		}
		flags = append(flags, "-X", variable+"="+version)
	}
	for _, variable := range slices.Sorted(maps.Keys(build.Values)) {
		flags = append(flags, "-X", variable+"="+build.Values[variable])
	}
	return strings.Join(flags, " "), nil
}

// countPackages also fetches the modules.
func countPackages(ctx context.Context, source string, module Module) (int, error) {
	seen := map[string]bool{}
	for _, build := range module.Builds {
		listing, err := output(ctx, source, "go", append([]string{"list", "-deps", "-tags", build.Tags}, build.Packages...)...)
		if err != nil {
			return 0, err
		}
		for _, name := range strings.Fields(listing) {
			seen[name] = true
		}
	}
	return len(seen), nil
}

func runGo(ctx context.Context, source string, build Build, counter *packageCounter, arguments ...string) error {
	command := exec.CommandContext(ctx, "go", arguments...)
	command.Dir = source
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	if build.CGO {
		command.Env = append(command.Env, "CGO_ENABLED=1")
	}
	command.Stderr = counter
	if err := command.Run(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, counter.tail())
	}
	return nil
}

func output(ctx context.Context, folder, name string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir = folder
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	text, err := command.Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(arguments, " "), err, failed.Stderr)
	}
	return strings.TrimSpace(string(text)), err
}
