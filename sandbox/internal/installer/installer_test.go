package installer

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

func TestTheNewestPointReleaseComesFirst(t *testing.T) {
	packages := stanzas("Package: other\nFilename: pool/other_1+deb13u9_all.deb\n\nPackage: " + netboot + "\nFilename: pool/d/n_2025+deb13u3_all.deb\n")
	want := []string{"pool/d/n_2025+deb13u3_all.deb", "pool/d/n_2025+deb13u2_all.deb", "pool/d/n_2025+deb13u1_all.deb"}
	if found := versions(packages); !reflect.DeepEqual(found, want) {
		t.Errorf("found %v", found)
	}
}

func TestAPartFitsTheInstallerOrIsTheOneBefore(t *testing.T) {
	own := stanzas("Package: kernel-image-6.12.94+deb13-amd64-di\nVersion: 6.12.94-1\n\nPackage: libblkid1-udeb\nVersion: 1:2.41-5\n")
	index := stanzas(`Package: libblkid1-udeb
Source: util-linux (2.42)
Filename: pool/u/libblkid1-udeb_2.42_amd64.udeb

Package: fdisk-udeb
Source: util-linux (2.42)
Filename: pool/u/fdisk-udeb_2.42_amd64.udeb

Package: e2fsprogs-udeb
Filename: pool/e/e2fsprogs-udeb_1.47-3+b3_amd64.udeb

Package: ext4-modules-6.12.107+deb13-amd64-di
Filename: pool/l/ext4-modules-6.12.107+deb13-amd64-di_6.12.107-1_amd64.udeb
`)
	fitting := fits(index, own)
	for i, want := range [][]string{
		{"pool/u/libblkid1-udeb_2.42_amd64.udeb", "pool/u/libblkid1-udeb_2.41-5_amd64.udeb"},
		{"pool/u/fdisk-udeb_2.42_amd64.udeb", "pool/u/fdisk-udeb_2.41-5_amd64.udeb"},
		{"pool/e/e2fsprogs-udeb_1.47-3+b3_amd64.udeb", "pool/e/e2fsprogs-udeb_1.47-3+b2_amd64.udeb", "pool/e/e2fsprogs-udeb_1.47-3+b1_amd64.udeb"},
		{"pool/l/ext4-modules-6.12.94+deb13-amd64-di_6.12.94-1_amd64.udeb"},
	} {
		if found := fitting.candidates(index[i]); !reflect.DeepEqual(found, want) {
			t.Errorf("%s: %v", index[i].field("Package"), found)
		}
	}
}

// packed is an archive of the form "newc" with one file after another.
func packed(files ...[2]string) []byte {
	var made bytes.Buffer
	for _, file := range append(files, [2]string{"TRAILER!!!", ""}) {
		name := file[0] + "\x00"
		numbers := make([]string, 13)
		for i := range numbers {
			numbers[i] = "00000000"
		}
		numbers[fieldSize], numbers[fieldName] = fmt.Sprintf("%08x", len(file[1])), fmt.Sprintf("%08x", len(name))
		made.WriteString(magic + strings.Join(numbers, "") + name)
		made.Write(make([]byte, padded(made.Len())-made.Len()))
		made.WriteString(file[1])
		made.Write(make([]byte, padded(made.Len())-made.Len()))
	}
	return made.Bytes()
}

func TestAFileOfAnArchiveIsFound(t *testing.T) {
	archive := packed([2]string{"a", "1"}, [2]string{statusFile, "Package: anna\n"}, [2]string{"b", "22222"})
	if found, err := entry(archive, statusFile); err != nil || string(found) != "Package: anna\n" {
		t.Errorf("found %q, %v", found, err)
	}
	for _, wrong := range [][]byte{nil, archive[:40], archive[:120], packed([2]string{"a", "1"}), []byte(magic + strings.Repeat("z", 200))} {
		if found, err := entry(wrong, statusFile); err == nil {
			t.Errorf("found %q in %q", found, wrong)
		}
	}
}

func TestPartsAreASuiteBesideTheArchive(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		fmt.Fprint(answer, request.Host, request.URL.Path)
	}))
	defer upstream.Close()
	handler, err := Installer{archive: archive(upstream.URL + "/mirror/debian"), components: []byte("Package: anna\n")}.Handler()
	if err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(handler)
	defer served.Close()
	get := func(path string) string {
		answer, err := http.Get(served.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	suite := "/debian/dists/" + Suite
	if found := get(suite + "/main/debian-installer/binary-amd64/Packages"); found != "Package: anna\n" {
		t.Errorf("the index is %q", found)
	}
	if found := get(suite + "/Release"); !strings.Contains(found, " 14 main/debian-installer/binary-amd64/Packages\n") {
		t.Errorf("the suite is %q", found)
	}
	if found, want := get("/debian/pool/a_1+b_all.udeb"), strings.TrimPrefix(upstream.URL, "http://")+"/mirror/debian/pool/a_1+b_all.udeb"; found != want {
		t.Errorf("the archive was asked for %q, not for %q", found, want)
	}
}
