package installer

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// archive is Debian's archive, or a mirror of it, by its URL.
type archive string

// url escapes what servers take for something else in the names of packages.
func (a archive) url(name string) string {
	return string(a) + "/" + strings.ReplaceAll(name, "+", "%2B")
}

func (a archive) ask(ctx context.Context, method, name string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.url(name), nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(request)
}

func (a archive) has(ctx context.Context, name string) (bool, error) {
	answer, err := a.ask(ctx, http.MethodHead, name)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusNotFound:
		return false, nil
	default:
		return false, fmt.Errorf("%s: %s", a.url(name), answer.Status)
	}
}

func (a archive) get(ctx context.Context, name string) ([]byte, error) {
	answer, err := a.ask(ctx, http.MethodGet, name)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", a.url(name), answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// index reads an index of packages.
func (a archive) index(ctx context.Context, name string) ([]stanza, error) {
	packed, err := a.get(ctx, name)
	if err != nil {
		return nil, err
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.url(name), err)
	}
	text, err := io.ReadAll(plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.url(name), err)
	}
	return stanzas(string(text)), nil
}
