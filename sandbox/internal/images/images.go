// Package images makes the images that a sandbox's registry starts with.
package images

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// epoch is the time in everything that we make, so that the same input gives the same digest.
var epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Pause is the image that holds a pod's namespaces, as a docker archive: one static program.
func Pause(reference, program string) ([]byte, error) {
	tag, err := name.NewTag(reference)
	if err != nil {
		return nil, err
	}
	layer, err := programLayer(program)
	if err != nil {
		return nil, err
	}
	image, err := fromLayer(layer, v1.Config{Entrypoint: []string{"/pause"}})
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	err = tarball.Write(tag, image, &archive)
	return archive.Bytes(), err
}

func programLayer(program string) (v1.Layer, error) {
	text, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	writer := tar.NewWriter(&layer)
	if err := writer.WriteHeader(&tar.Header{Name: "pause", Mode: 0o755, Size: int64(len(text)), ModTime: epoch}); err != nil {
		return nil, err
	}
	if _, err := writer.Write(text); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
}

func fromLayer(layer v1.Layer, config v1.Config) (v1.Image, error) {
	image, err := mutate.Append(empty.Image, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "imagechain sandbox"}})
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Created, file.Config = runtime.GOARCH, "linux", v1.Time{Time: epoch}, config
	return mutate.ConfigFile(image, file)
}

// Push puts the base images under all their tags, where they are not there yet, and tells how many
// were missing.
func Push(ctx context.Context, registry string, bases []Base) (int, error) {
	// No proxy: the registry is on this machine.
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(&http.Transport{})}
	pushed := 0
	for _, base := range bases {
		image, err := base.Image()
		if err != nil {
			return pushed, err
		}
		for _, tag := range base.Tags {
			missing, err := pushTag(fmt.Sprintf("%s/library/debian:%s", registry, tag), image, options)
			if err != nil {
				return pushed, err
			}
			pushed += missing
		}
	}
	return pushed, nil
}

func pushTag(reference string, image v1.Image, options []remote.Option) (int, error) {
	tag, err := name.NewTag(reference, name.Insecure)
	if err != nil {
		return 0, err
	}
	digest, err := image.Digest()
	if err != nil {
		return 0, err
	}
	if found, err := remote.Head(tag, options...); err == nil && found.Digest == digest {
		return 0, nil
	}
	return 1, remote.Write(tag, image, options...)
}
