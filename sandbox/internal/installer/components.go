package installer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// atOnce is how many files of an archive are asked for at once.
const atOnce = 12

// components is the index of the parts that an installer of these packages fetches. An archive's own index is about its
// newest point release; where it lacks a file of that, or the installer is older, the part that fits the installer is
// taken, and one that is nowhere is left out.
func (a archive) components(ctx context.Context, index, own []stanza) ([]byte, error) {
	fitting := fits(index, own)
	found := make([]stanza, len(index))
	failures := make([]error, len(index))
	var group sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i, part := range index {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			found[i], failures[i] = a.component(ctx, part, fitting)
		})
	}
	group.Wait()
	var text bytes.Buffer
	// An index may have the parts of several kernels, which become those of one.
	names := map[string]bool{}
	for i, part := range found {
		if failures[i] != nil {
			return nil, failures[i]
		}
		if part != nil && !names[part.field("Package")] {
			names[part.field("Package")] = true
			fmt.Fprintln(&text, part)
		}
	}
	return text.Bytes(), nil
}

// component is a part as the archive has it; nil where it does not.
func (a archive) component(ctx context.Context, part stanza, fitting fit) (stanza, error) {
	for _, name := range fitting.candidates(part) {
		switch there, err := a.has(ctx, name); {
		case err != nil:
			return nil, err
		case there && name == part.field("Filename"):
			return part, nil
		case there:
			return a.describe(ctx, name)
		}
	}
	return nil, nil
}

// describe makes the description of a file that no index has.
func (a archive) describe(ctx context.Context, name string) (stanza, error) {
	content, err := a.get(ctx, name)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "imagechain-component-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "part.udeb")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return nil, err
	}
	control, err := exec.CommandContext(ctx, "dpkg-deb", "--field", file).Output()
	if err != nil {
		return nil, fmt.Errorf("dpkg-deb --field %s: %w", name, err)
	}
	sum := sha256.Sum256(content)
	made := stanzas(string(control))[0]
	return append(made, "Filename: "+name, fmt.Sprintf("Size: %d", len(content)), "SHA256: "+hex.EncodeToString(sum[:])), nil
}

// fit is what an installer is made of, as far as its parts must fit it.
type fit struct {
	// kernel is what the packages of its kernel end with, such as `6.12.94+deb13-amd64-di`.
	kernel string
	// sources are the versions of the sources that it was built from.
	sources map[string]string
}

func fits(index, own []stanza) fit {
	made := fit{sources: map[string]string{}}
	versions := map[string]string{}
	for _, part := range own {
		versions[part.field("Package")] = part.field("Version")
		if kernel, found := strings.CutPrefix(part.field("Package"), "kernel-image-"); found {
			made.kernel = kernel
		}
	}
	for _, part := range index {
		if version, found := versions[part.field("Package")]; found {
			made.sources[part.source()] = version
		}
	}
	return made
}

var (
	ofKernel = regexp.MustCompile(`^(kernel-image|.*-modules)-(\d.*-di)$`)
	ofFile   = regexp.MustCompile(`^(.*/[^/_]+)_([^_]+)(_\w+\.udeb)$`)
	rebuilt  = regexp.MustCompile(`^(.*\+b)(\d+)$`)
)

// candidates are the files that a part may be in, the best one first.
func (f fit) candidates(part stanza) []string {
	name := part.field("Filename")
	if kernel := ofKernel.FindStringSubmatch(part.field("Package")); kernel != nil && f.kernel != "" {
		version, _, _ := strings.Cut(f.kernel, "+")
		file := fmt.Sprintf("%s-%s_%s-1%s", kernel[1], f.kernel, version, "_amd64.udeb")
		return []string{path.Join(path.Dir(name), file)}
	}
	all := []string{name}
	file := ofFile.FindStringSubmatch(name)
	if file == nil {
		return all
	}
	if version, found := f.sources[part.source()]; found {
		_, after, hasEpoch := strings.Cut(version, ":")
		if hasEpoch {
			version = after
		}
		all = append(all, file[1]+"_"+version+file[3])
	}
	// Packages are built again without a change of their source.
	if again := rebuilt.FindStringSubmatch(file[2]); again != nil {
		last, _ := strconv.Atoi(again[2])
		for build := last - 1; build > 0; build-- {
			all = append(all, fmt.Sprintf("%s_%s%d%s", file[1], again[1], build, file[3]))
		}
	}
	return all
}
