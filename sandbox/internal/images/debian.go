package images

import (
	"archive/tar"
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// settings are the files that the official images of Debian have beside its packages (debuerreotype's
// minimizing-config): no service is started on installation, and no layer keeps what apt can fetch again.
//
//go:embed debian
var settings embed.FS

// sourcesFile is where those images say where packages come from.
const sourcesFile = "etc/apt/sources.list.d/debian.sources"

// archiveOfSettings has the settings and the sources, without folders: those of the image keep their modes.
func (r Recipe) archiveOfSettings() ([]byte, error) {
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	add := func(name string, text []byte) error {
		header := &tar.Header{Name: name, Mode: modeOf(name), Size: int64(len(text)), ModTime: epoch}
		if err := writer.WriteHeader(header); err != nil {
			return err
		}
		_, err := writer.Write(text)
		return err
	}
	err := fs.WalkDir(settings, "debian", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := settings.ReadFile(name)
		if err != nil {
			return err
		}
		return add(strings.TrimPrefix(name, "debian/"), text)
	})
	if err != nil {
		return nil, err
	}
	if err := add(sourcesFile, []byte(r.Mirror.Stanzas(r.Suite))); err != nil {
		return nil, err
	}
	// Its end is written by this.
	err = writer.Close()
	return archive.Bytes(), err
}

func modeOf(name string) int64 {
	if path.Dir(name) == "usr/sbin" {
		return 0o755
	}
	return 0o644
}

// slimExcludes and slimIncludes are what the official slim images leave out, at every installation.
var (
	slimExcludes = []string{"doc/*", "groff/*", "info/*", "linda/*", "lintian/overrides/*", "locale/*", "man/*"}
	slimIncludes = []string{
		"doc/*/copyright", "doc/kde/HTML/C/*", "gnome/help/*/C/*", "locale/all_languages", "locale/currency/*",
		"locale/l10n/*", "locale/languages", "locale/locale.alias", "omf/*/*-C.emf",
	}
)

// slimOptions: for dpkg the last pattern that matches counts.
func slimOptions() []string {
	var options []string
	for _, pattern := range slimExcludes {
		options = append(options, "--dpkgopt=path-exclude=/usr/share/"+pattern)
	}
	for _, pattern := range slimIncludes {
		options = append(options, "--dpkgopt=path-include=/usr/share/"+pattern)
	}
	// mmdebstrap's name for the file, and theirs.
	return append(options, `--customize-hook=mv "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$1/etc/dpkg/dpkg.cfg.d/docker"`)
}

// Stanzas are the sources of a release in the format of sourcesFile.
func (m Mirror) Stanzas(suite string) string {
	stanza := func(url, suites string) string {
		return fmt.Sprintf("Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n", url, suites, Keyring)
	}
	text := stanza(m.Packages, suite+" "+suite+"-updates")
	if m.Security != "" {
		text += "\n" + stanza(m.Security, suite+"-security")
	}
	return text
}
