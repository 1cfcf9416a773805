package installer

import "testing"

func TestTheNewestReleaseIsTaken(t *testing.T) {
	names := "debian-installer-9-netboot-amd64\ndebian-installer-12-netboot-amd64\ndebian-installer-13-netboot-arm64\ndebian-installer-launcher\n"
	if release, err := newest(names); err != nil || release != 12 {
		t.Errorf("it is %d, %v", release, err)
	}
	if _, err := newest("debian-installer-launcher\n"); err == nil {
		t.Error("none is no error")
	}
}
