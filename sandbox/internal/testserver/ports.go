package testserver

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ports are free ports of the loopback that stay ours until the programs have bound them: a socket
// that is bound, but does not listen, holds each, and the programs bind beside it with SO_REUSEPORT.
// To look for a free port, let it go and hope, is the usual race between tests that start at once.
type ports struct {
	sockets []int
	numbers []int
}

func reserve(count int) (*ports, error) {
	reserved := &ports{}
	for range count {
		if err := reserved.add(); err != nil {
			reserved.release()
			return nil, err
		}
	}
	return reserved, nil
}

func (p *ports) add() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	p.sockets = append(p.sockets, socket)
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	bound, err := unix.Getsockname(socket)
	if err != nil {
		return err
	}
	address, isInet4 := bound.(*unix.SockaddrInet4)
	if !isInet4 {
		return errors.New("the loopback gave an address that is not IPv4")
	}
	p.numbers = append(p.numbers, address.Port)
	return nil
}

func (p *ports) url(scheme string, index int) string {
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, p.numbers[index])
}

func (p *ports) release() {
	for _, socket := range p.sockets {
		unix.Close(socket)
	}
}
