package demotest

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// newGuard stands before a server of the sandbox and asks for one of the users with their passwords. It is on the
// machine's end of the sandbox's link, which pods reach too, until the test ends. What a user may write is what its
// prefix of paths says.
func (c *testCluster) newGuard(t *testing.T, before string, users map[string]user) string {
	t.Helper()
	target, err := url.Parse(before)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", c.sandbox.HostIP()+":0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		// The registry answers with URLs: they must lead here again.
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target)
			request.Out.Host = request.In.Host
			request.Out.Header.Del("Authorization")
		},
		Transport: &http.Transport{},
	}
	server := &http.Server{Handler: http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		name, password, _ := request.BasicAuth()
		found, known := users[name]
		if !known || found.password != password {
			response.Header().Set("WWW-Authenticate", `Basic realm="guard"`)
			http.Error(response, "who are you?", http.StatusUnauthorized)
			return
		}
		reads := request.Method == http.MethodGet || request.Method == http.MethodHead
		if !reads && !strings.HasPrefix(request.URL.Path, found.writes) {
			http.Error(response, "not here", http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(response, request)
	})}
	go func() { _ = server.Serve(listener) }() // It ends by Close.
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// user is who a guard lets in.
type user struct{ password, writes string }
