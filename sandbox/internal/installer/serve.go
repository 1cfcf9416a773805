package installer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// Suite is the suite with the installer's parts, beside those of the archive. It is not signed.
const Suite = "installer-parts"

// prefix is where archives are on their servers, by custom.
const prefix = "/debian/"

// Handler serves the installer's parts as a suite of its own, and all else as the archive has it.
func (i Installer) Handler() (http.Handler, error) {
	to, err := url.Parse(string(i.archive))
	if err != nil {
		return nil, err
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(request *httputil.ProxyRequest) {
		path := strings.TrimPrefix(request.In.URL.Path, prefix)
		request.Out.URL.RawPath = ""
		request.Out.URL.Scheme, request.Out.URL.Host, request.Out.URL.Path = to.Scheme, to.Host, to.Path+"/"+path
		request.Out.Host = to.Host
	}}
	made := http.NewServeMux()
	made.Handle("/", proxy)
	files, err := i.suite()
	if err != nil {
		return nil, err
	}
	for name, content := range files {
		made.HandleFunc(prefix+"dists/"+Suite+"/"+name, func(answer http.ResponseWriter, _ *http.Request) {
			// Who has gone away has had enough.
			_, _ = answer.Write(content)
		})
	}
	return made, nil
}

// suite is the files of the suite, by their names.
func (i Installer) suite() (map[string][]byte, error) {
	const index = "main/debian-installer/binary-amd64/Packages"
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := writer.Write(i.components); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	files := map[string][]byte{index: i.components, index + ".gz": packed.Bytes()}
	var about strings.Builder
	fmt.Fprintf(&about, "Origin: Debian\nLabel: Debian\nSuite: %s\nCodename: %s\nArchitectures: amd64\nComponents: main\nSHA256:\n", Suite, release)
	for _, name := range []string{index, index + ".gz"} {
		fmt.Fprintf(&about, " %x %d %s\n", sha256.Sum256(files[name]), len(files[name]), name)
	}
	files["Release"] = []byte(about.String())
	return files, nil
}
