package host

import "testing"

func TestReachable(t *testing.T) {
	for text, want := range map[string]bool{
		"search a\nnameserver 10.0.0.1\n":             true,
		"nameserver 127.0.0.53\nnameserver 192.0.2.1": true,
		"nameserver 127.0.0.53\noptions edns0":        false,
		"nameserver ::1\n":                            false,
		"# nameserver 10.0.0.1\n":                     false,
		"":                                            false,
		"nameserver\t2001:db8::1\n":                   true,
	} {
		if got := reachable(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
