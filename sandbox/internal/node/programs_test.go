package node

import (
	"slices"
	"strings"
	"testing"

	"imagechain.dev/sandbox/internal/layout"
)

func TestTheHostsEnvironmentDoesNotReachTheNode(t *testing.T) {
	for name, value := range map[string]string{
		"XDG_RUNTIME_DIR": "/run/user/0", "TMPDIR": "/tmp/user/0", "ETCD_NAME": "other", "PATH": "/elsewhere",
		"https_proxy": "http://proxy.example:3128", "NO_PROXY": "example.com",
	} {
		t.Setenv(name, value)
	}
	made := environment(layout.Sandbox{Number: 3})
	names := map[string]string{}
	for _, each := range made {
		name, value, _ := strings.Cut(each, "=")
		if _, twice := names[name]; twice {
			t.Errorf("%s is there twice: the first would count", name)
		}
		names[name] = value
	}
	for _, foreign := range []string{"XDG_RUNTIME_DIR", "ETCD_NAME"} {
		if _, there := names[foreign]; there {
			t.Errorf("%s reached the node", foreign)
		}
	}
	if names["TMPDIR"] != "/tmp" || !strings.HasPrefix(names["PATH"], layout.InsidePrograms) || names["https_proxy"] == "" {
		t.Errorf("%v", made)
	}
	if direct := strings.Split(names["NO_PROXY"], ","); !slices.Contains(direct, "example.com") || !slices.Contains(direct, "10.201.3.2") {
		t.Errorf("NO_PROXY is %v", direct)
	}
}

func TestEveryConfigurationFileIsFilledIn(t *testing.T) {
	sandbox := layout.Sandbox{Number: 3}
	for _, name := range configured(sandbox) {
		text, err := render(name, sandbox)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(string(text), "{{") || strings.Contains(string(text), "no value") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}
