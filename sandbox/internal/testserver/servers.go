package testserver

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"imagechain.dev/sandbox/internal/gitserver"
	"imagechain.dev/sandbox/internal/pki"
)

// listening is what the registry logs once it has a port, which it takes itself: it cannot bind beside a
// socket that holds one for it, and to look for a free one first would be a race.
var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

func (s *Server) startRegistry(ctx context.Context, ready *Ready) error {
	configuration, err := s.registryConfiguration()
	if err != nil {
		return err
	}
	path := s.path("registry.yml")
	if err := os.WriteFile(path, []byte(configuration), 0o600); err != nil {
		return err
	}
	if err := s.run("registry", []string{"serve", path}); err != nil {
		return err
	}
	return s.until(ctx, "registry", "the registry", func() bool {
		log, err := os.ReadFile(s.path("registry.log"))
		found := listening.FindSubmatch(log)
		if err != nil || found == nil {
			return false
		}
		ready.Registry = string(found[1])
		return true
	})
}

func (s *Server) registryConfiguration() (string, error) {
	authentication, err := s.registryAuthentication()
	if err != nil {
		return "", err
	}
	encryption, err := s.registryEncryption()
	return fmt.Sprintf(`version: 0.1
log: {level: info, formatter: text}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
http: {addr: "127.0.0.1:0", secret: test%s}
%s`, s.path("registry"), encryption, authentication), err
}

func (s *Server) registryAuthentication() (string, error) {
	user, password, isNamed := strings.Cut(s.options.RegistryUser, ":")
	if !isNamed {
		return "", nil
	}
	// The cheapest: it protects a password that the test itself has written down.
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", err
	}
	path := s.path("htpasswd")
	err = os.WriteFile(path, []byte(user+":"+string(hash)+"\n"), 0o600)
	return fmt.Sprintf("auth:\n  htpasswd: {realm: test, path: %q}\n", path), err
}

func (s *Server) registryEncryption() (string, error) {
	if !s.options.RegistryTLS {
		return "", nil
	}
	authority, err := pki.Open(s.path("pki"))
	if err != nil {
		return "", err
	}
	err = authority.Issue(pki.Subject{File: "registry", User: "registry", Addresses: []string{"127.0.0.1"}})
	return fmt.Sprintf(", tls: {certificate: %q, key: %q}", s.path("pki/registry.crt"), s.path("pki/registry.key")), err
}

// startGit serves in this very process, and so ends with it.
func (s *Server) startGit(_ context.Context, ready *Ready) error {
	folder := s.path("git")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	handler, err := gitserver.New(folder)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(listener, handler) }()
	ready.Git, ready.GitFolder = "http://"+listener.Addr().String(), folder
	return s.startSSH(ready)
}

// startSSH serves the git server's repositories over ssh too. Beside them are the key that may read them and
// the known_hosts to believe.
func (s *Server) startSSH(ready *Ready) error {
	host, _, err := newKey()
	if err != nil {
		return err
	}
	user, text, err := newKey()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	line := knownhosts.Line([]string{address}, host.PublicKey()) + "\n"
	err = errors.Join(os.WriteFile(s.path("identity"), text, 0o600), os.WriteFile(s.path("known_hosts"), []byte(line), 0o600))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := gitserver.NewSSH(ready.GitFolder, host, user.PublicKey())
	go func() { _ = server.Serve(listener) }()
	ready.SSH = "ssh://git@" + address
	return nil
}

// newKey is a key, and the same as OpenSSH writes it.
func newKey() (ssh.Signer, []byte, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "test")
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	return signer, pem.EncodeToMemory(block), err
}
