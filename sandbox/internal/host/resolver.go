package host

import (
	"errors"
	"os"
	"strings"

	"imagechain.dev/sandbox/internal/layout"
)

// resolverFiles are looked at in this order: where a resolver on the machine's own loopback stands in the
// first, systemd-resolved and NetworkManager keep the real ones in the others.
var resolverFiles = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"}

// Resolver is the first of the machine's resolv.conf files that is of use in another network namespace.
func Resolver() (string, error) {
	for _, file := range resolverFiles {
		text, err := os.ReadFile(file)
		if err == nil && reachable(string(text)) {
			return string(text), nil
		}
	}
	return "", errors.New("every nameserver of /etc/resolv.conf is on this machine's loopback, which the sandbox does not reach: name another one there")
}

// reachable tells whether a resolv.conf has a nameserver that is not on the loopback.
func reachable(text string) bool {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "nameserver" && !strings.HasPrefix(fields[1], "127.") && fields[1] != "::1" {
			return true
		}
	}
	return false
}

func checkResolver(layout.Sandbox) error {
	_, err := Resolver()
	return err
}
