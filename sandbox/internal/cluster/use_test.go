package cluster

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/supervisor"
)

func TestStatusNamesTheLogOfWhatHasEnded(t *testing.T) {
	c := Cluster{Sandbox: layout.Sandbox{State: "/state"}}
	var out bytes.Buffer
	err := c.printStatuses(&out, []supervisor.Status{
		{Name: "etcd", PID: 12, Since: time.Now()},
		{Name: "kubelet", Since: time.Now(), Restarts: 4, Ended: "exit status 1"},
		{Name: "coredns", Since: time.Now(), Ended: supervisor.Awaited},
	})
	if err == nil || !strings.Contains(err.Error(), "kubelet") || strings.Contains(err.Error(), "etcd") || strings.Contains(err.Error(), "coredns") {
		t.Errorf("the error is %v", err)
	}
	for _, want := range []string{"etcd     running", "ended: exit status 1", "coredns  it is still being built", "/state/log/kubelet.log"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
