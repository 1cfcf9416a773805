package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"imagechain.dev/sandbox/internal/patience"
)

// Client talks HTTPS to a server of this authority as one of its subjects.
func Client(folder, subject string) (*http.Client, error) {
	ca, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(folder, subject+".crt"), filepath.Join(folder, subject+".key"))
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout:   patience.Of(5 * time.Second),
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}},
	}, nil
}
