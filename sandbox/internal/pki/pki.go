// Package pki makes the keys, certificates and kubeconfigs of a cluster: one CA signs all.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime is generous: a sandbox that somebody finds again after a year still starts.
const lifetime = 10 * 365 * 24 * time.Hour

// Subject is whom a certificate names.
type Subject struct {
	// File is the base name of the .crt and .key.
	File string
	// User and Groups are what the API server sees.
	User   string
	Groups []string
	// Names and Addresses are those that a server is reached by.
	Names     []string
	Addresses []string
}

// Authority signs certificates and keeps all files in one folder.
type Authority struct {
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Open makes the authority in a folder, or reads the one that is there.
func Open(folder string) (*Authority, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	authority := &Authority{folder: folder}
	if _, err := os.Stat(authority.path("ca.crt")); err == nil {
		return authority, authority.read()
	}
	return authority, authority.create()
}

func (a *Authority) path(name string) string { return filepath.Join(a.folder, name) }

func (a *Authority) create() error {
	template, err := newTemplate(pkix.Name{CommonName: "imagechain-sandbox"})
	if err != nil {
		return err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		return err
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	if err := a.serviceAccountKey(); err != nil {
		return err
	}
	return a.writePair("ca", a.key, der)
}

func (a *Authority) read() error {
	der, err := readPEM(a.path("ca.crt"))
	if err != nil {
		return err
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	if der, err = readPEM(a.path("ca.key")); err != nil {
		return err
	}
	a.key, err = x509.ParseECPrivateKey(der)
	return err
}

// serviceAccountKey makes the pair that ServiceAccount tokens are signed with and checked by.
func (a *Authority) serviceAccountKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	if err := writeKey(a.path("sa.key"), key); err != nil {
		return err
	}
	return writePEM(a.path("sa.pub"), "PUBLIC KEY", public, 0o644)
}

// Issue signs a certificate for client and server use, unless it is there already.
func (a *Authority) Issue(subject Subject) error {
	if _, err := os.Stat(a.path(subject.File + ".crt")); err == nil {
		return nil
	}
	template, err := newTemplate(pkix.Name{CommonName: subject.User, Organization: subject.Groups})
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	template.DNSNames = subject.Names
	for _, address := range subject.Addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	return a.writePair(subject.File, key, der)
}

// writePair writes the certificate last: where it is, the key is too.
func (a *Authority) writePair(name string, key *ecdsa.PrivateKey, certificate []byte) error {
	if err := writeKey(a.path(name+".key"), key); err != nil {
		return err
	}
	return writePEM(a.path(name+".crt"), "CERTIFICATE", certificate, 0o644)
}

func newTemplate(name pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	// An hour back, for machines whose clock is set after the start.
	begin := time.Now().Add(-time.Hour)
	return &x509.Certificate{SerialNumber: serial, Subject: name, NotBefore: begin, NotAfter: begin.Add(lifetime)}, nil
}

// Kubeconfig writes a kubeconfig, in JSON, which is YAML too, for a certificate that Issue made.
// It is whole in itself, so it can be copied anywhere.
func (a *Authority) Kubeconfig(file, cluster, server, client string) error {
	var texts [3][]byte
	for i, name := range []string{"ca.crt", client + ".crt", client + ".key"} {
		text, err := os.ReadFile(a.path(name))
		if err != nil {
			return err
		}
		texts[i] = text
	}
	type object = map[string]any
	text, err := json.MarshalIndent(object{
		"apiVersion":      "v1",
		"kind":            "Config",
		"clusters":        []object{{"name": cluster, "cluster": object{"server": server, "certificate-authority-data": texts[0]}}},
		"users":           []object{{"name": client, "user": object{"client-certificate-data": texts[1], "client-key-data": texts[2]}}},
		"contexts":        []object{{"name": cluster, "context": object{"cluster": cluster, "user": client}}},
		"current-context": cluster,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", der, 0o600)
}

// writePEM is all or nothing: on a full disk there is no half a file.
func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	unfinished := path + ".new"
	if err := os.WriteFile(unfinished, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not a PEM file", path)
	}
	return block.Bytes, nil
}
