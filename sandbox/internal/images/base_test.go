package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParseTargets(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want Mirror
	}{
		"a Debian": {
			"http://security.example/debian-security/ bookworm-security\nhttp://m.example/debian/ bookworm\nhttp://m.example/debian/ bookworm-updates\n",
			Mirror{"http://m.example/debian", "http://security.example/debian-security"},
		},
		"other repositories come first": {
			"https://tools.example/apt stable-tools\nhttp://m.example/debian trixie-updates\nhttp://m.example/debian trixie\n",
			Mirror{"http://m.example/debian", ""},
		},
		"an Ubuntu": {"http://u.example/ubuntu noble\nhttp://u.example/ubuntu noble-security\n", Mirror{}},
		"nothing":   {"", Mirror{}},
	} {
		if got := parseTargets(test.text); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

func TestARecipeHasItsOwnFolder(t *testing.T) {
	seen := map[string]Recipe{}
	for _, mirror := range []Mirror{{"http://a", ""}, {"http://a", "http://s"}, {"http://b", ""}} {
		for _, recipe := range recipes(mirror) {
			folder, err := recipe.folder("/cache")
			if err != nil {
				t.Fatal(err)
			}
			if other, taken := seen[folder]; taken {
				t.Errorf("%+v and %+v share %s", recipe, other, folder)
			}
			seen[folder] = recipe
		}
	}
}

// What debuerreotype's minimizing-config writes, as the official images of Debian have it.
func TestTheSettingsAreThoseOfTheOfficialImages(t *testing.T) {
	found := settingsOf(t, Recipe{Suite: "trixie", Mirror: Mirror{"http://m.example/debian", "http://s.example/debian-security"}})
	const cleaning = `{ "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };`
	for file, lines := range map[string][]string{
		"usr/sbin/policy-rc.d":                          {"exit 101"},
		"etc/dpkg/dpkg.cfg.d/docker-apt-speedup":        {"force-unsafe-io"},
		"etc/apt/apt.conf.d/docker-autoremove-suggests": {`Apt::AutoRemove::SuggestsImportant "false";`},
		"etc/apt/apt.conf.d/docker-gzip-indexes":        {`Acquire::GzipIndexes "true";`},
		"etc/apt/apt.conf.d/docker-no-languages":        {`Acquire::Languages "none";`},
		"etc/apt/apt.conf.d/docker-clean": {
			"DPkg::Post-Invoke " + cleaning, "APT::Update::Post-Invoke " + cleaning,
			`Dir::Cache::pkgcache "";`, `Dir::Cache::srcpkgcache "";`,
		},
		"etc/apt/sources.list.d/debian.sources": {
			"Types: deb", "URIs: http://m.example/debian", "Suites: trixie trixie-updates", "Components: main", "Signed-By: " + Keyring,
			"Types: deb", "URIs: http://s.example/debian-security", "Suites: trixie-security", "Components: main", "Signed-By: " + Keyring,
		},
	} {
		if !slices.Equal(found[file].lines, lines) {
			t.Errorf("%s says %q, not %q", file, found[file].lines, lines)
		}
		if executable := found[file].mode&0o111 != 0; executable != strings.HasPrefix(file, "usr/sbin/") {
			t.Errorf("%s has the mode %o", file, found[file].mode)
		}
		delete(found, file)
	}
	if len(found) > 0 {
		t.Errorf("these are in no official image: %v", slices.Sorted(maps.Keys(found)))
	}
}

func TestNoRecommendedPackageIsLeftOut(t *testing.T) {
	for _, recipe := range recipes(Mirror{Packages: "http://m.example/debian"}) {
		for _, argument := range recipe.arguments("") {
			if strings.HasPrefix(argument, "--aptopt") {
				t.Errorf("%s stays in the image, as 99mmdebstrap", argument)
			}
		}
	}
}

type setting struct {
	mode  int64
	lines []string
}

// settingsOf has the lines of each file that say something.
func settingsOf(t *testing.T, recipe Recipe) map[string]setting {
	t.Helper()
	archive, err := recipe.archiveOfSettings()
	if err != nil {
		t.Fatal(err)
	}
	// Go reads an archive without an end, too; tar does not.
	if !bytes.HasSuffix(archive, make([]byte, 1024)) {
		t.Error("the archive has no end")
	}
	found := map[string]setting{}
	for reader := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return line == "" || strings.HasPrefix(line, "#") })
		found[header.Name] = setting{header.Mode, lines}
	}
}
