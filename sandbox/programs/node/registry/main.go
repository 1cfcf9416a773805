// registry is the CNCF distribution registry with the filesystem driver and htpasswd alone; its own main
// package would add the SDKs of three clouds.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	// cobra has printed the error.
	if registry.RootCmd.Execute() != nil {
		os.Exit(1)
	}
}
