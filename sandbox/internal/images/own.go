package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"imagechain.dev/sandbox/internal/cache"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/progress"
)

// Own is an image of this project: a Dockerfile that BuildKit builds, once for each state of its inputs. It
// is kept in the cache, since the sandbox's BuildKit and its registry go with the sandbox.
type Own struct {
	// Name is the folder below images/, and the last part of the repository.
	Name string
	// Checkout is the folder of the repository.
	Checkout string
	// Programs are files, by their names in the image's context `program`, that are built elsewhere.
	Programs map[string]string
}

// Operator is the image of the operator's program.
func Operator(checkout, program string) Own {
	return Own{Name: "operator", Checkout: checkout, Programs: map[string]string{"imagechain": program}}
}

// Builder is the image that stages and engine run in.
func Builder(checkout string) Own { return Own{Name: "builder", Checkout: checkout} }

// base is what the Dockerfiles of this project begin with.
const base = "library/debian:trixie-slim"

// passed are the variables of the environment that decide where packages come from, as build arguments.
var passed = []string{"PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}

// Publish builds the image where the cache does not have it, pushes it where the registry does not, and
// tells its name by digest.
func (o Own) Publish(ctx context.Context, registry string, printer *progress.Printer) (string, error) {
	// Where the registry has none, BuildKit asks Docker Hub, and the image is as old as the cache.
	base, err := head(ctx, registry+"/"+base)
	if err != nil {
		base = ""
	}
	inputs, err := o.inputs(base)
	if err != nil {
		return "", err
	}
	folder, err := o.Kept(base)
	if err != nil {
		return "", err
	}
	kept := Base{folder: folder}
	if _, err := os.Stat(kept.folder); errors.Is(err, fs.ErrNotExist) {
		store := cache.Store{Folder: filepath.Dir(folder), What: "building images", Unfinished: unfinished + "*"}
		err := store.Exclusively(printer, func() error { return o.build(ctx, kept.folder, printer) })
		if err != nil {
			return "", err
		}
	}
	return o.push(ctx, fmt.Sprintf("%s/imagechain/%s", registry, o.Name), inputs, kept, printer)
}

// Kept is the folder of the cache that holds the image once it is built on a base of that digest.
func (o Own) Kept(base string) (string, error) {
	inputs, err := o.inputs(base)
	if err != nil {
		return "", err
	}
	folder, err := layout.CacheBase()
	return filepath.Join(folder, "built-images", o.Name+"-"+inputs), err
}

// OwnBase is the digest of the one among the bases that our images are built on.
func OwnBase(bases []Base) (string, error) {
	for _, each := range bases {
		if slices.Contains(each.Tags, strings.TrimPrefix(base, "library/debian:")) {
			image, err := each.Image()
			if err != nil {
				return "", err
			}
			digest, err := image.Digest()
			return digest.String(), err
		}
	}
	return "", fmt.Errorf("there is no base %s", base)
}

// inputs is a hash of all that decides the image, besides the state of the archives when it is made.
func (o Own) inputs(base string) (string, error) {
	sum := sha256.New()
	files := maps.Clone(o.Programs)
	if files == nil {
		files = map[string]string{}
	}
	recipe := filepath.Join(o.Checkout, "images", o.Name)
	err := filepath.WalkDir(recipe, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files["./"+strings.TrimPrefix(path, recipe)] = path
		}
		return err
	})
	if err != nil {
		return "", err
	}
	for _, each := range slices.Sorted(maps.Keys(files)) {
		content, err := fileSum(files[each])
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %x\n", each, content)
	}
	if base != "" {
		fmt.Fprintf(sum, "%s\n", base)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

func fileSum(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	return sum.Sum(nil), err
}

func head(ctx context.Context, reference string) (string, error) {
	tag, err := name.NewTag(reference, name.Insecure)
	if err != nil {
		return "", err
	}
	found, err := remote.Head(tag, remoteOptions(ctx)...)
	if err != nil {
		return "", err
	}
	return found.Digest.String(), nil
}

// remoteOptions: the user's own credentials, and the proxy that the environment names for the registry.
func remoteOptions(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
}

func (o Own) build(ctx context.Context, folder string, printer *progress.Printer) error {
	if _, err := os.Stat(folder); err == nil {
		return nil // Another process made it while this one waited.
	}
	work, err := os.MkdirTemp(filepath.Dir(folder), unfinished)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	programs := filepath.Join(work, "program")
	if err := o.copyPrograms(programs); err != nil {
		return err
	}
	written := filepath.Join(work, "layout")
	step := printer.Start("building the image of the %s", o.Name)
	if err := runShown(exec.CommandContext(ctx, "buildctl", o.arguments(programs, written)...), step); err != nil {
		step.End("failed")
		return err
	}
	step.End("done")
	return os.Rename(written, folder)
}

func (o Own) arguments(programs, written string) []string {
	recipe := filepath.Join(o.Checkout, "images", o.Name)
	arguments := []string{
		"build", "--progress=plain", "--frontend=dockerfile.v0",
		"--local=context=" + recipe, "--local=dockerfile=" + recipe,
		"--output=type=oci,tar=false,dest=" + written,
	}
	if len(o.Programs) > 0 {
		arguments = append(arguments, "--local=program="+programs, "--opt=context:program=local:program")
	}
	for _, variable := range passed {
		if value := os.Getenv(variable); value != "" {
			arguments = append(arguments, "--opt=build-arg:"+variable+"="+value)
		}
	}
	// Whom this machine trusts: an index may be reached through a proxy that signs by itself.
	for _, file := range []string{os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"} {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return append(arguments, "--secret=id=certificates,src="+file)
		}
	}
	return arguments
}

// copyPrograms gives BuildKit a folder with nothing else in it: it would send it all.
func (o Own) copyPrograms(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for file, path := range o.Programs {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, file), content, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (o Own) push(ctx context.Context, repository, tag string, kept Base, printer *progress.Printer) (string, error) {
	image, err := kept.Image()
	if err != nil {
		return "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	reference := repository + "@" + digest.String()
	if found, err := head(ctx, repository+":"+tag); err == nil && found == digest.String() {
		return reference, nil
	}
	step := printer.Start("pushing the image of the %s", o.Name)
	if _, err := pushTag(repository+":"+tag, image, remoteOptions(ctx)); err != nil {
		step.End("failed")
		return "", err
	}
	step.End("done")
	return reference, nil
}

// runShown runs a program whose last line says where it is.
func runShown(command *exec.Cmd, step *progress.Step) error {
	shown := &lastLine{step: step}
	command.Stdout, command.Stderr = shown, shown
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(command.Path), err, tail(shown.all.Bytes()))
	}
	return nil
}

var numbers = regexp.MustCompile(`^#\d+ (\d+\.\d+ )?`)

type lastLine struct {
	step *progress.Step
	all  bytes.Buffer
}

func (l *lastLine) Write(text []byte) (int, error) {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	// BuildKit writes the number of its step, and its seconds, before each line.
	if last := []rune(numbers.ReplaceAllString(strings.TrimSpace(lines[len(lines)-1]), "")); len(last) > 0 {
		l.step.Detail("%s", string(last[:min(len(last), 70)]))
	}
	return l.all.Write(text)
}
