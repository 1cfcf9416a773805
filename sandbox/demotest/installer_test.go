package demotest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"imagechain.dev/sandbox/internal/demo"
	"imagechain.dev/sandbox/internal/images"
	"imagechain.dev/sandbox/internal/installer"
	"imagechain.dev/sandbox/internal/patience"
)

// installs bounds the wait for an installation, which takes an hour without KVM where the processors have other work.
var installs = patience.Of(4 * time.Hour)

// TestInstaller lets Debian's own installer make a box. CI has no time for it.
func TestInstaller(t *testing.T) {
	runAll(t, []step{
		{"the operator", testOperator},
		{"an installer", testInstaller},
		{"each attempt had one pod", testOnePodPerAttempt},
	})
}

// testOperator installs the operator, and makes the tenant without its chain.
func testOperator(t *testing.T, c *testCluster) {
	if err := c.demonstration.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.demonstration.ApplyTenant(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// testInstaller makes a box of the image of an installer, boots it for its tests, and lets Vagrant fetch it.
func testInstaller(t *testing.T, c *testCluster) {
	c.useProfileOf(t, "machines", c.demonstration.Registry, "", "cpu: 2000m, memory: 2Gi, storage: 12Gi, requests: {cpu: 500m}", "engine: None", "hypervisor: Qemu")
	made := c.makeInstaller(t)
	url, sum := c.pushInstaller(t, made.Image)
	mirror := c.serveParts(t, made)
	written, err := os.ReadFile(filepath.Join(checkout, "examples", "takelage", "installer.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, strings.NewReplacer("https://git.example", c.demonstration.GitServer, "registry.example", c.demonstration.Registry, "ISO_URL", url, "ISO_SHA256", sum).Replace(withMirror(string(written), mirror)))
	// A box that fails is told at once: hours are for the installation.
	ended := func(chain demo.Chain) bool { return chain.Done() || chain.Failed() != "" }
	chain := c.awaitWithin(t, installs, "installer", "debian is published", ended)
	if told := chain.Failed(); told != "" {
		t.Fatal(told)
	}
	published := chain.Link("debian").Published
	box := c.build(t, published.Build).Status
	if len(box.Verification) != 1 || !box.Verification[0].Passed || box.Verification[0].Tests == 0 {
		t.Errorf("the box did not pass its tests: %+v", box.Verification)
	}
	c.fetches(t, box.Artifact.ContentDigest, published)
}

func (c *testCluster) makeInstaller(t *testing.T) installer.Installer {
	t.Helper()
	mirror, err := images.FindMirror()
	if err != nil {
		t.Fatal(err)
	}
	made, err := installer.Make(t.Context(), mirror.Packages, t.TempDir(), c.demonstration.Printer)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// serveParts serves what the installer fetches, on the host's end of the link to the node, and returns host and port.
func (c *testCluster) serveParts(t *testing.T, made installer.Installer) string {
	t.Helper()
	if c.sandbox == nil {
		t.Fatal("the installer's parts are served to a sandbox alone: leave KUBECONFIG and REGISTRY out")
	}
	handler, err := made.Handler()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(c.sandbox.HostIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: waits}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// withMirror is the chain with that mirror, whose suite of parts nobody has signed.
func withMirror(chain, mirror string) string {
	options := "mirror/udeb/suite=" + installer.Suite + " debian-installer/allow_unauthenticated=true"
	return strings.Replace(chain, "checksum: ISO_SHA256", fmt.Sprintf("checksum: ISO_SHA256, mirror: %q, options: %q", mirror, options), 1)
}

// pushInstaller puts the image of the installer into the registry, which serves files by their SHA-256.
func (c *testCluster) pushInstaller(t *testing.T, path string) (url, sum string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	repository, err := name.NewRepository(c.demonstration.Registry+"/installers/debian", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	layer := static.NewLayer(content, types.MediaType("application/octet-stream"))
	// No proxy: the registry is on this machine.
	if err := remote.WriteLayer(repository, layer, remote.WithContext(t.Context()), remote.WithTransport(&http.Transport{})); err != nil {
		t.Fatal(err)
	}
	made := sha256.Sum256(content)
	sum = hex.EncodeToString(made[:])
	return "http://" + c.demonstration.Registry + "/v2/installers/debian/blobs/sha256:" + sum, sum
}
