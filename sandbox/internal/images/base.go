package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/cache"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/progress"
)

// Base is a Debian base image, kept in the cache as an OCI layout.
type Base struct {
	// Tags of library/debian, as Docker Hub has them.
	Tags   []string
	folder string
	recipe Recipe
}

// Recipe is all that decides a base image, besides the state of the archive when it is made.
type Recipe struct {
	Suite  string
	Slim   bool
	Tags   []string
	Mirror Mirror
}

// Keyring signs the archive that Mirror serves; a machine's own may be another distribution's.
const Keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

func recipes(mirror Mirror) []Recipe {
	return []Recipe{
		{Suite: "trixie", Slim: true, Tags: []string{"13-slim", "trixie-slim"}, Mirror: mirror},
		{Suite: "trixie", Tags: []string{"13", "trixie", "latest"}, Mirror: mirror},
		{Suite: "bookworm", Slim: true, Tags: []string{"12-slim", "bookworm-slim"}, Mirror: mirror},
		{Suite: "bookworm", Tags: []string{"12", "bookworm"}, Mirror: mirror},
	}
}

// unfinished begins the names of folders that hold half an image, or the work of a killed process.
const unfinished = "unfinished-"

// Suites are the releases of Debian, the newest first.
var Suites = []string{"trixie", "bookworm"}

// EnsureBases makes the base images of some releases that the cache does not have. Two processes never do so at once.
func EnsureBases(ctx context.Context, printer *progress.Printer, suites ...string) ([]Base, error) {
	base, err := layout.CacheBase()
	if err != nil {
		return nil, err
	}
	store := cache.Store{Folder: filepath.Join(base, "images"), What: "making the base images", Unfinished: unfinished + "*"}
	bases, err := findBases(store.Folder, suites)
	if err != nil || len(absent(bases)) == 0 {
		return bases, err
	}
	return bases, store.Exclusively(printer, func() error { return makeMissing(ctx, absent(bases), printer) })
}

// findBases tells where the cache has them, or will have them.
func findBases(cache string, suites []string) ([]Base, error) {
	mirror, err := FindMirror()
	if err != nil {
		return nil, err
	}
	var bases []Base
	for _, recipe := range recipes(mirror) {
		if !slices.Contains(suites, recipe.Suite) {
			continue
		}
		folder, err := recipe.folder(cache)
		if err != nil {
			return nil, err
		}
		bases = append(bases, Base{recipe.Tags, folder, recipe})
	}
	return bases, nil
}

func absent(bases []Base) []Base {
	return slices.DeleteFunc(slices.Clone(bases), func(base Base) bool {
		_, err := os.Stat(base.folder)
		return err == nil
	})
}

func makeMissing(ctx context.Context, missing []Base, printer *progress.Printer) error {
	if len(missing) == 0 {
		return nil
	}
	step := printer.Start("making %d Debian base images with mmdebstrap (%s)", len(missing), missing[0].recipe.Suite)
	group, ctx := errgroup.WithContext(ctx)
	// Half of the time is dpkg, half the network: two at once keep two cores busy.
	group.SetLimit(2)
	for _, each := range missing {
		group.Go(func() error { return each.recipe.make(ctx, each.folder) })
	}
	if err := group.Wait(); err != nil {
		step.End("failed")
		return err
	}
	step.End("done")
	return nil
}

func (r Recipe) folder(cache string) (string, error) {
	archive, err := r.archiveOfSettings()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(struct {
		Recipe
		Arguments []string
		Settings  []byte
	}{r, r.arguments(""), archive})
	sum := sha256.Sum256(text)
	kind := ""
	if r.Slim {
		kind = "-slim"
	}
	return filepath.Join(cache, "debian-"+r.Suite+kind+"-"+hex.EncodeToString(sum[:])[:12]), err
}

// make is all or nothing: the folder gets its name when it is complete.
func (r Recipe) make(ctx context.Context, folder string) error {
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(folder), unfinished)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	image, err := r.Build(ctx, work)
	if err != nil {
		return err
	}
	written := filepath.Join(work, "layout")
	path, err := ocilayout.Write(written, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendImage(image); err != nil {
		return err
	}
	return os.Rename(written, folder)
}

// Build runs mmdebstrap; the image reads its layer from the work folder, which must outlive it.
func (r Recipe) Build(ctx context.Context, work string) (v1.Image, error) {
	rootfs := filepath.Join(work, "rootfs.tar")
	sources := filepath.Join(work, "sources.list")
	if err := os.WriteFile(sources, []byte(r.Mirror.Sources(r.Suite)), 0o644); err != nil {
		return nil, err
	}
	archive, err := r.archiveOfSettings()
	if err != nil {
		return nil, err
	}
	packed := filepath.Join(work, "settings.tar")
	if err := os.WriteFile(packed, archive, 0o644); err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, "mmdebstrap", append(r.arguments(rootfs), sources)...)
	command.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch.Unix()), "TMPDIR="+work, "SETTINGS="+packed)
	// Its mounts go with it, whatever way it ends.
	command.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if text, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mmdebstrap %s: %w\n%s", r.Suite, err, tail(text))
	}
	layer, err := tarball.LayerFromFile(rootfs)
	if err != nil {
		return nil, err
	}
	return fromLayer(layer, v1.Config{
		Cmd: []string{"bash"},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	})
}

func (r Recipe) arguments(rootfs string) []string {
	arguments := []string{
		"--mode=root", "--variant=minbase", "--format=tar", "--quiet",
		"--keyring=" + Keyring,
		// It would remove this file, which is to stay, and look for lists by the settings, whose hooks are for the image:
		// here they would empty the machine's own cache. So the settings come last.
		"--skip=chroot/policy-rc.d", "--skip=cleanup/apt/lists",
		`--customize-hook=rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin`,
		`--customize-hook=tar --extract --directory "$1" --file "$SETTINGS"`,
	}
	if r.Slim {
		arguments = append(arguments, slimOptions()...)
	}
	return append(arguments, r.Suite, rootfs)
}

// Folder is where the cache has it.
func (b Base) Folder() string { return b.folder }

// Image reads a base from the cache.
func (b Base) Image() (v1.Image, error) {
	path, err := ocilayout.FromPath(b.folder)
	if err != nil {
		return nil, err
	}
	index, err := path.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s holds %d images, not one: remove it", b.folder, len(manifest.Manifests))
	}
	return path.Image(manifest.Manifests[0].Digest)
}

func tail(text []byte) []byte {
	const most = 2000
	return bytes.TrimSpace(text[max(0, len(text)-most):])
}

// Mirror says where Debian's packages come from. It is part of the images: their apt reads it.
type Mirror struct {
	Packages string
	// Security may be empty: then there are no security updates.
	Security string
}

// Sources are the lines of apt for a release.
func (m Mirror) Sources(suite string) string {
	lines := []string{
		fmt.Sprintf("deb %s %s main", m.Packages, suite),
		fmt.Sprintf("deb %s %s-updates main", m.Packages, suite),
	}
	if m.Security != "" {
		lines = append(lines, fmt.Sprintf("deb %s %s-security main", m.Security, suite))
	}
	return strings.Join(lines, "\n") + "\n"
}

// FindMirror takes the machine's own apt sources; DEBIAN_MIRROR and DEBIAN_SECURITY override them.
func FindMirror() (Mirror, error) {
	found := Mirror{}
	if text, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)").Output(); err == nil {
		found = parseTargets(string(text))
	}
	if chosen := os.Getenv("DEBIAN_MIRROR"); chosen != "" {
		found.Packages = strings.TrimSuffix(chosen, "/")
	}
	if chosen := os.Getenv("DEBIAN_SECURITY"); chosen != "" {
		found.Security = strings.TrimSuffix(chosen, "/")
	}
	if found.Packages == "" {
		return Mirror{}, errors.New("this machine's apt sources name no Debian mirror by http or https: set DEBIAN_MIRROR to the URL of one, and DEBIAN_SECURITY to that of its security archive")
	}
	return found, nil
}

// suites of Debian: other distributions have other names.
var suites = map[string]bool{
	"bullseye": true, "bookworm": true, "trixie": true, "forky": true, "sid": true,
	"oldoldstable": true, "oldstable": true, "stable": true, "testing": true, "unstable": true,
}

// parseTargets reads lines of «URL release»; the first of each kind counts, as for apt.
func parseTargets(text string) Mirror {
	var found Mirror
	for line := range strings.Lines(text) {
		url, release, _ := strings.Cut(strings.TrimSpace(line), " ")
		suite, security := strings.CutSuffix(release, "-security")
		switch {
		case !suites[suite], !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://"):
		case security && found.Security == "":
			found.Security = strings.TrimSuffix(url, "/")
		case !security && found.Packages == "":
			found.Packages = strings.TrimSuffix(url, "/")
		}
	}
	return found
}
