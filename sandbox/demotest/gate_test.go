package demotest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// gate is where builds wait until the test lets them go on: what happens meanwhile happens in mid-build.
type gate struct {
	listener net.Listener
	arrived  chan net.Conn

	lock sync.Mutex
	open bool
}

// newGate listens on the machine's end of the sandbox's link, until the test ends.
func (c *testCluster) newGate(t *testing.T) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", c.sandbox.HostIP()+":0")
	if err != nil {
		t.Fatal(err)
	}
	made := &gate{listener: listener, arrived: make(chan net.Conn)}
	go made.accept(t.Context())
	t.Cleanup(func() { _ = listener.Close() }) // It was open for reading alone.
	return made
}

// accept tells who has come, or lets them pass at once.
func (g *gate) accept(ctx context.Context) {
	for {
		connection, err := g.listener.Accept()
		if err != nil {
			return
		}
		if g.isOpen() {
			_ = connection.Close() // That is the word to go on.
			continue
		}
		go func() {
			select {
			case g.arrived <- connection:
			case <-ctx.Done():
				_ = connection.Close()
			}
		}()
	}
}

func (g *gate) isOpen() bool {
	g.lock.Lock()
	defer g.lock.Unlock()
	return g.open
}

func (g *gate) set(open bool) {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.open = open
}

// line is what a build runs to wait here, in bash.
func (g *gate) line() string {
	address := g.listener.Addr().(*net.TCPAddr)
	return fmt.Sprintf(`bash -c "exec 3<>/dev/tcp/%s/%d && cat <&3"`, address.IP, address.Port)
}

// builtin does the same in bash without another process.
func (g *gate) builtin() string {
	address := g.listener.Addr().(*net.TCPAddr)
	return fmt.Sprintf(`exec 3<>/dev/tcp/%s/%d; read -r -u 3`, address.IP, address.Port)
}

// await waits for a build, and returns what lets it and all later ones go on.
func (g *gate) await(t *testing.T) (release func()) {
	t.Helper()
	select {
	case connection := <-g.arrived:
		return func() {
			g.set(true)
			_ = connection.Close() // Of a build that was killed meanwhile, nobody is there to be told.
		}
	case <-time.After(waits):
		t.Fatal("no build came to the gate")
		return nil
	}
}
